"""Builders and stand-ins for tests of the operator. Not used by any product code."""
