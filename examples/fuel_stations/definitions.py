"""The code location: what the YAML files in `fuel_stations/` define."""

from pathlib import Path

from rfm_assets.definitions import load_project

defs = load_project(Path(__file__).parent)
