"""Reconciliation: workers, the reconciler's pass over one search, and its changes in the cluster: children, status and events."""
