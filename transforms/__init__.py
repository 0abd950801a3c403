"""Pure functions, rows in, rows out."""
