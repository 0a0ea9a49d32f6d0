"""Shared weights and the operations an algorithm performs on them along one path."""

from autohas_trainer.supernet.supernet import Supernet

__all__ = ["Supernet"]
