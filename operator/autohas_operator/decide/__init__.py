"""The decisions: from what is observed to what is done and what status says. Pure: no network, no loop, no clock."""
