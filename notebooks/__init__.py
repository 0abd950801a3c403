"""Notebooks that explain the lake and let one look into it: marimo apps, scripts and modules at once."""
