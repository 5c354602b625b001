"""The choices of this deployment: one folder per component, YAML alone."""
