"""What the cluster says: watches, lists and polls into the cache, keys into the work queue, and the Leases of namespaces."""
