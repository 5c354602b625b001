"""Measurements side by side with what a user would otherwise write. Run with `make bench`."""
