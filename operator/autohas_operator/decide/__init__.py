"""The decision: from the observed objects to actions and status. Pure: no network, no event loop, no clock."""
