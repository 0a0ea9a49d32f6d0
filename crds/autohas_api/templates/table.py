"""The table of built-in model templates: a new one is a file next to this one and a row here."""

from __future__ import annotations

from typing import Final

from autohas_api.templates.cell import CELL
from autohas_api.templates.conv_small import CONV_SMALL
from autohas_api.templates.mlp import MLP
from autohas_api.templates.mlp_small import MLP_SMALL
from autohas_api.templates.mobilenet import MOBILENET
from autohas_api.templates.resnet import RESNET
from autohas_api.templates.template_spec import TemplateSpec
from autohas_api.templates.transformer import TRANSFORMER

__all__ = ["TEMPLATES"]

TEMPLATES: Final[dict[str, TemplateSpec]] = {
    template.name: template for template in (MLP, MLP_SMALL, CONV_SMALL, RESNET, CELL, MOBILENET, TRANSFORMER)
}
