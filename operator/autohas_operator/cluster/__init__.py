"""The state of the cluster: watches, lists and polls fill the cache and the work queue; Leases decide who serves a namespace."""
