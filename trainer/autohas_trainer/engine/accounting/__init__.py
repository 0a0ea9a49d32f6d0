"""What a search costs and may still spend: the ledger, costs of networks, the size of the race."""
