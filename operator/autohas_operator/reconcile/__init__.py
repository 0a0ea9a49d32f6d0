"""One pass over one search: workers, the reconciler, and what it changes in the cluster: children, status, events."""
