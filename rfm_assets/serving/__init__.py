"""What people look at and call: API, dashboard, report, all over `queries.py`."""
