"""Generators of the CRD, docs/api.md, dashboards and alerts from the models. Not part of the images."""
