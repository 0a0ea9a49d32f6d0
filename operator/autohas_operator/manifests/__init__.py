"""Manifests of a search's children: ConfigMap, Job and pod template. Pure."""
