"""Charts of the dashboard and the report: a finding, a figure, the same numbers as a table."""
