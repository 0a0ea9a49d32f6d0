"""The built-in model templates; their decisions are data in `autohas_api.space.templates`."""

from autohas_api.space.templates import TEMPLATES
from autohas_trainer.errors import ConfigurationError
from autohas_trainer.templates._base import (
    Index,
    Path,
    Shape,
    Template,
    default_path,
    export_leaves,
    load_leaves,
    use_batch_statistics,
    whole_path,
)
from autohas_trainer.templates.agreement import check_agreement, check_first_step
from autohas_trainer.templates.conv_small import ConvSmall
from autohas_trainer.templates.custom import CustomModel, CustomModule, build_custom
from autohas_trainer.templates.dropout import Dropout, arm_dropout, disarm_dropout
from autohas_trainer.templates.macs import CountsMacs, count_macs
from autohas_trainer.templates.mlp import Mlp

__all__ = [
    "ConvSmall",
    "CountsMacs",
    "CustomModel",
    "CustomModule",
    "Dropout",
    "Index",
    "Mlp",
    "Path",
    "Shape",
    "Template",
    "arm_dropout",
    "build_custom",
    "build_template",
    "check_agreement",
    "check_first_step",
    "count_macs",
    "default_path",
    "disarm_dropout",
    "export_leaves",
    "load_leaves",
    "use_batch_statistics",
    "whole_path",
]


def build_template(name: str, input_shape: tuple[int, ...], num_outputs: int) -> Template:
    """Return the template `name` for inputs of shape (C, H, W) and `num_outputs` ≥ 1 outputs.

    Raises:
        ConfigurationError: There is no such template, or it cannot take these inputs.
    """
    if min(input_shape) < 1 or num_outputs < 1:
        message = f"template {name} needs non-empty inputs and at least 1 output, not inputs {input_shape} and {num_outputs} outputs"
        raise ConfigurationError(message)
    match name:
        case "mlp":
            return Mlp(input_shape, num_outputs)
        case "conv-small":
            if len(input_shape) != 3:  # noqa: PLR2004 - channels, height, width
                message = f"task.model.template conv-small needs images (C, H, W), not inputs of shape {input_shape}; use mlp"
                raise ConfigurationError(message)
            return ConvSmall((input_shape[0], input_shape[1], input_shape[2]), num_outputs)
        case _:
            message = f"there is no template {name!r}; known are {', '.join(sorted(TEMPLATES))}"
            raise ConfigurationError(message)
