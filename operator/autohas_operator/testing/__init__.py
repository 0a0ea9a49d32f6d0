"""Builders, fakes and scenarios for tests of the operator. No product code imports this package."""
