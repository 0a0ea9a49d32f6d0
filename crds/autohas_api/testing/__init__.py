"""Builders and tables of wrong searches, for tests of all packages. Not part of the images."""
