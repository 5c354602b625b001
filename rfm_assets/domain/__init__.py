"""Tables in, tables out. No Dagster, no files, no environment and no clock in here."""
