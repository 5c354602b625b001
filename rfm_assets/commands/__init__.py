"""The commands of `rfm`, a module each, and what they share. `cli.py` puts them together."""
