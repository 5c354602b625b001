"""The dashboard: pages over stored snapshots, each one address."""
