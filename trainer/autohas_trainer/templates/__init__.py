"""The built-in model templates.

A new one is a file here with a class and a row in `BUILDERS`, next to its file and row in `autohas_api.templates`.
"""

from collections.abc import Callable
from typing import Final

from autohas_api.templates.table import TEMPLATES
from autohas_trainer.errors import ConfigurationError
from autohas_trainer.templates._base import (
    Index,
    Path,
    Shape,
    Template,
    default_path,
    export_leaves,
    load_leaves,
    tied_names,
    trained_parameters,
    use_batch_statistics,
    whole_path,
)
from autohas_trainer.templates.agreement import check_agreement, check_first_step
from autohas_trainer.templates.conv_small import ConvSmall
from autohas_trainer.templates.custom import CustomModel, CustomModule, build_custom
from autohas_trainer.templates.dropout import Dropout, arm_dropout, disarm_dropout
from autohas_trainer.templates.macs import CountsMacs, MacCount, count_macs, count_path, measure_macs, measure_path
from autohas_trainer.templates.mlp_small import MlpSmall
from autohas_trainer.templates.step_cost import CUSTOM_STEP, CountsWork, NetworkSize, StepCost

__all__ = [
    "BUILDERS",
    "CUSTOM_STEP",
    "ConvSmall",
    "CountsMacs",
    "CountsWork",
    "CustomModel",
    "CustomModule",
    "Dropout",
    "Index",
    "MacCount",
    "MlpSmall",
    "NetworkSize",
    "Path",
    "Shape",
    "StepCost",
    "Template",
    "arm_dropout",
    "build_custom",
    "build_template",
    "check_agreement",
    "check_first_step",
    "count_macs",
    "count_path",
    "default_path",
    "disarm_dropout",
    "export_leaves",
    "load_leaves",
    "measure_macs",
    "measure_path",
    "tied_names",
    "trained_parameters",
    "use_batch_statistics",
    "whole_path",
]

BUILDERS: Final[dict[str, Callable[[Shape, int], Template]]] = {"mlp-small": MlpSmall, "conv-small": ConvSmall}
"""Name of a row of the table to the class that builds its networks, from the shape of an input and the number of outputs."""
_IMAGE_DIMENSIONS: Final = 3


def build_template(name: str, input_shape: tuple[int, ...], num_outputs: int) -> Template:
    """Return the template `name` for inputs of shape (C, H, W) and `num_outputs` ≥ 1 outputs.

    Raises:
        ConfigurationError: There is no such template, or it cannot take these inputs.
    """
    if min(input_shape) < 1 or num_outputs < 1:
        message = f"template {name} needs non-empty inputs and at least 1 output, not inputs {input_shape} and {num_outputs} outputs"
        raise ConfigurationError(message)
    if name not in TEMPLATES:
        message = f"there is no template {name!r}; known are {', '.join(sorted(TEMPLATES))}"
        raise ConfigurationError(message)
    if TEMPLATES[name].needs_images and len(input_shape) != _IMAGE_DIMENSIONS:
        others = " or ".join(other for other, row in TEMPLATES.items() if not row.needs_images)
        message = f"task.model.template {name} needs images (C, H, W), not inputs of shape {input_shape}; use {others}"
        raise ConfigurationError(message)
    return BUILDERS[name](input_shape, num_outputs)
