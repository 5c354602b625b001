"""Tests of what people look at: the API, and what it shares with dashboard and report."""
