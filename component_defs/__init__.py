"""The choices of this deployment: one folder per component, each with a `defs.yaml`."""
