"""The two entry points: the command `autohas` (app) and the container (container). Both import torch late."""
