"""Tests of the packaged YAML and its loading."""
