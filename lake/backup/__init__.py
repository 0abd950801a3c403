"""Backup, restore at a moment, replica and recovery drill: see README.md."""
