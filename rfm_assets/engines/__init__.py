"""Engines compute tables: what they offer is in `base`, which one it is in `opening`."""
