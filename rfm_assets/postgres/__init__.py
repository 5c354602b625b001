"""Stored tables in a Postgres schema, for applications. Nothing here knows of Dagster."""
