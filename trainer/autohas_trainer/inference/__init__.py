"""A finished search as a model that answers: loads the files of its folder, encodes raw examples, predicts, exports."""

from autohas_trainer.inference.folder import load
from autohas_trainer.inference.trained_model import TrainedModel

__all__ = ["TrainedModel", "load"]
