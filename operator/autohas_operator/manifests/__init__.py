"""The children of a search, rendered: ConfigMap, Job, and the pod template in it. Pure."""
