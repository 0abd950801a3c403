"""Supervising processes on one machine."""
