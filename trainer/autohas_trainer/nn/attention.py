"""Attention whose number of heads is a decision."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from autohas_trainer.nn.elastic import ElasticLinear, SizeLike, rotary_table

__all__ = ["ElasticAttention"]


class ElasticAttention(nn.Module):
    """Self-attention of n heads of a fixed size each; the first n heads are those of the smaller network.

        ElasticAttention(128, Choice("heads", (2, 4, 8)), head_features=32, is_causal=True)

    Query, key and value have a layer each, so that a head is a run of rows in each of them. With `rotary_length`, queries and keys are
    turned by their position, up to that many positions (Source: Su et al. 2021, "RoFormer").
    """

    cosines_TF: Tensor
    sines_TF: Tensor

    def __init__(  # noqa: PLR0913 - what an attention is
        self,
        features: SizeLike,
        heads: SizeLike,
        head_features: SizeLike,
        *,
        is_causal: bool = False,
        bias: bool = True,
        rotary_length: int | None = None,
    ) -> None:
        """Make the layers `query`, `key`, `value` (features → heads times head_features) and `output`, back.

        Raises:
            ValueError: rotary positions need an even number of features per head.
        """
        super().__init__()
        inner = heads * head_features
        self.query = ElasticLinear(features, inner, bias=bias)
        self.key = ElasticLinear(features, inner, bias=bias)
        self.value = ElasticLinear(features, inner, bias=bias)
        self.output = ElasticLinear(inner, features, bias=bias)
        self.num_heads = int(heads)
        self.is_causal = is_causal
        self.has_rotary = rotary_length is not None
        if rotary_length is not None:
            if int(head_features) % 2:
                message = f"rotary positions turn pairs of features: head_features must be even, not {int(head_features)}"
                raise ValueError(message)
            cosines_TF, sines_TF = rotary_table(rotary_length, int(head_features))
            self.register_buffer("cosines_TF", cosines_TF, persistent=False)
            self.register_buffer("sines_TF", sines_TF, persistent=False)

    def forward(self, features_BTD: Tensor) -> Tensor:
        """Return features of the same shape, (batch, positions, features)."""
        query, key, value = (self._split(layer(features_BTD)) for layer in (self.query, self.key, self.value))
        if self.has_rotary:
            query, key = self._turn(query), self._turn(key)
        mixed_BHTF = functional.scaled_dot_product_attention(query, key, value, is_causal=self.is_causal)
        outputs_BTD: Tensor = self.output(mixed_BHTF.transpose(1, 2).flatten(2))
        return outputs_BTD

    def _split(self, features_BTD: Tensor) -> Tensor:
        """Return (B, H, T, F) of (B, T, H * F)."""
        batch_size, length, _ = features_BTD.shape
        return features_BTD.view(batch_size, length, self.num_heads, -1).transpose(1, 2)

    def _turn(self, features_BHTF: Tensor) -> Tensor:
        length = features_BHTF.shape[2]
        cosines_TF, sines_TF = self.cosines_TF[:length], self.sines_TF[:length]
        one, other = features_BHTF.chunk(2, dim=-1)
        return torch.cat((one * cosines_TF - other * sines_TF, one * sines_TF + other * cosines_TF), dim=-1)
