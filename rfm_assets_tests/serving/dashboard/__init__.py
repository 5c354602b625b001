"""Tests of the dashboard, most of them in a real browser."""
