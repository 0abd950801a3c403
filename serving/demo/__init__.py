"""The tour: what a newcomer sees first, run on real recorded payloads."""
