"""What is generated from the models: the CRD, docs/api.md, dashboards and alerts. Not part of the images."""
