"""The built-in model templates.

A new one is a file here with a class and a row in `BUILDERS`, next to its file and row in `autohas_api.templates`.
"""

from collections.abc import Callable, Sequence
from typing import Final

from autohas_api.templates.table import TEMPLATES
from autohas_api.templates.template_spec import InputKind
from autohas_trainer.data.preprocessing import WordBlock
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
    untied_copy,
    use_batch_statistics,
    whole_path,
)
from autohas_trainer.templates.agreement import check_agreement, check_first_step
from autohas_trainer.templates.cell import Cell
from autohas_trainer.templates.conv_small import ConvSmall
from autohas_trainer.templates.custom import CustomModel, CustomModule, build_custom
from autohas_trainer.templates.dropout import Dropout, arm_dropout, arm_layers, disarm_dropout, dropout_layers, trace_seeds
from autohas_trainer.templates.macs import CountsMacs, MacCount, count_macs, count_path, measure_macs, measure_path
from autohas_trainer.templates.mlp import Mlp
from autohas_trainer.templates.mlp_small import MlpSmall
from autohas_trainer.templates.mobilenet import Mobilenet
from autohas_trainer.templates.module_template import ModuleTemplate
from autohas_trainer.templates.own_training import TRAINING_FIELD, Batch, OwnNetworks, OwnOptimizer, OwnTrainingCode
from autohas_trainer.templates.resnet import Resnet
from autohas_trainer.templates.step_cost import CUSTOM_STEP, CountsWork, NetworkSize, StepCost
from autohas_trainer.templates.transformer import Transformer

__all__ = [
    "BUILDERS",
    "CUSTOM_STEP",
    "TRAINING_FIELD",
    "Batch",
    "Cell",
    "ConvSmall",
    "CountsMacs",
    "CountsWork",
    "CustomModel",
    "CustomModule",
    "Dropout",
    "Index",
    "MacCount",
    "Mlp",
    "MlpSmall",
    "Mobilenet",
    "ModuleTemplate",
    "NetworkSize",
    "OwnNetworks",
    "OwnOptimizer",
    "OwnTrainingCode",
    "Path",
    "Resnet",
    "Shape",
    "StepCost",
    "Template",
    "Transformer",
    "arm_dropout",
    "arm_layers",
    "build_custom",
    "build_template",
    "check_agreement",
    "check_first_step",
    "count_macs",
    "count_path",
    "default_path",
    "disarm_dropout",
    "dropout_layers",
    "export_leaves",
    "load_leaves",
    "measure_macs",
    "measure_path",
    "tied_names",
    "trace_seeds",
    "trained_parameters",
    "untied_copy",
    "use_batch_statistics",
    "whole_path",
]

BUILDERS: Final[dict[str, Callable[..., Template]]] = {
    "mlp": Mlp,
    "mlp-small": MlpSmall,
    "conv-small": ConvSmall,
    "resnet": Resnet,
    "cell": Cell,
    "mobilenet": Mobilenet,
    "transformer": Transformer,
}
"""Name of a row of the table to the class that builds its networks.

It is called with the shape of an input, the number of outputs and, where the row has `embeds_words`, the columns of words.
"""
_SHAPES: Final[dict[InputKind, str]] = {InputKind.TABLES: "(D,)", InputKind.IMAGES: "(C, H, W)", InputKind.TOKENS: "(T,)"}


def build_template(
    name: str, input_shape: tuple[int, ...], num_outputs: int, *, is_tokens: bool = False, words: Sequence[WordBlock] = ()
) -> Template:
    """Return the template `name` for inputs of `input_shape` and `num_outputs` ≥ 1 outputs; tokens have one per word of the vocabulary.

    `words` are the columns of words among the inputs of a table.

    Raises:
        ConfigurationError: There is no such template, or it cannot take these inputs.
    """
    if min(input_shape) < 1 or num_outputs < 1:
        message = f"template {name} needs non-empty inputs and at least 1 output, not inputs {input_shape} and {num_outputs} outputs"
        raise ConfigurationError(message)
    if name not in TEMPLATES:
        message = f"there is no template {name!r}; known are {', '.join(sorted(TEMPLATES))}"
        raise ConfigurationError(message)
    kind = _kind_of(input_shape, is_tokens=is_tokens)
    if kind not in TEMPLATES[name].inputs:
        wanted = " or ".join(f"{wanted} {_SHAPES[wanted]}" for wanted in InputKind if wanted in TEMPLATES[name].inputs)
        others = [other for other, row in TEMPLATES.items() if kind in row.inputs]
        message = (
            f"task.model.template {name} needs {wanted}, not {kind or 'inputs'} of shape {input_shape};"
            f" use {' or '.join(others) or 'task.model.entrypoint'}"
        )
        raise ConfigurationError(message)
    return BUILDERS[name](input_shape, num_outputs, *([words] if TEMPLATES[name].embeds_words else []))


def _kind_of(input_shape: tuple[int, ...], *, is_tokens: bool) -> InputKind | None:
    """Return what one example is; None: nothing that a built-in template takes."""
    match len(input_shape):
        case 1:
            return InputKind.TOKENS if is_tokens else InputKind.TABLES
        case 3:
            return None if is_tokens else InputKind.IMAGES
        case _:
            return None
