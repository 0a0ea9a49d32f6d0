"""Searchable models from ordinary torch modules: `from autohas import nn as an`. `import autohas` alone loads no torch."""

from autohas_trainer.nn import (
    Choice,
    ElasticAttention,
    ElasticBatchNorm1d,
    ElasticBatchNorm2d,
    ElasticConv2d,
    ElasticLayerNorm,
    ElasticLinear,
    ElasticMLP,
    OneOf,
    Repeat,
    Searchable,
    Size,
    Skippable,
)

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
