"""Updates of weights: the sliced rule of the supernet, its stand-alone equal, and the schedule both follow."""

from autohas_trainer.optim.clipping import MAX_NORM, clip, norm_of
from autohas_trainer.optim.masking import keep_gradients
from autohas_trainer.optim.rule import STATE_KEYS, OptimizerName, UpdateRule, clamp_factor, counts_updates, decays
from autohas_trainer.optim.schedule import Schedule, schedule
from autohas_trainer.optim.sliced import Slices, apply_update, look_ahead, temporary_update
from autohas_trainer.optim.standalone import load_optimizer, optimizer_tensors, set_rate, standalone_optimizer

__all__ = [
    "MAX_NORM",
    "STATE_KEYS",
    "OptimizerName",
    "Schedule",
    "Slices",
    "UpdateRule",
    "apply_update",
    "clamp_factor",
    "clip",
    "counts_updates",
    "decays",
    "keep_gradients",
    "load_optimizer",
    "look_ahead",
    "norm_of",
    "optimizer_tensors",
    "schedule",
    "set_rate",
    "standalone_optimizer",
    "temporary_update",
]
