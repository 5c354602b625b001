"""Tests of the deployments in `examples/`, run as they stand."""
