"""Searchable models from ordinary modules: `from autohas import nn as an`.

    def net(input_shape, num_outputs):
        width = an.Choice("width", (32, 64, 128), default=64)
        return nn.Sequential(
            nn.Flatten(),
            an.ElasticLinear(math.prod(input_shape), width),
            an.OneOf("act", {"relu": nn.ReLU(), "silu": nn.SiLU()}),
            an.ElasticLinear(width, num_outputs),
        )

A search names the factory as `task.model.entrypoint`; decisions, shared weights, slices and the networks follow from it.
"""

from autohas_trainer.nn.attention import ElasticAttention
from autohas_trainer.nn.branches import OneOf, Repeat, Skippable
from autohas_trainer.nn.choices import Choice, Size
from autohas_trainer.nn.elastic import (
    ElasticBatchNorm1d,
    ElasticBatchNorm2d,
    ElasticConv2d,
    ElasticLayerNorm,
    ElasticLinear,
    ElasticMLP,
)
from autohas_trainer.nn.searchable import Searchable

__all__ = [
    "Choice",
    "ElasticAttention",
    "ElasticBatchNorm1d",
    "ElasticBatchNorm2d",
    "ElasticConv2d",
    "ElasticLayerNorm",
    "ElasticLinear",
    "ElasticMLP",
    "OneOf",
    "Repeat",
    "Searchable",
    "Size",
    "Skippable",
]
