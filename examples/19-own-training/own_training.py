"""LoRA by Hugging Face's transformers and peft: a small vision transformer whose rank, scale and adapted layers are searched.

The body has random weights, so that the example needs no download; with `ViTForImageClassification.from_pretrained(folder)` in `build` the
same code adapts a pretrained one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn
from torch.nn import functional
from transformers import ViTConfig, ViTForImageClassification

from autohas_trainer.templates import Batch

TARGETS = {"attention": ["q_proj", "v_proj"], "mlp": ["fc1", "fc2"], "both": ["q_proj", "v_proj", "fc1", "fc2"]}


class Lora:
    """Trains low-rank adapters and the last layer; the rest is frozen."""

    def __init__(self, input_shape: tuple[int, ...], num_outputs: int, layers: str = "2") -> None:
        channels, height, _ = input_shape
        self.config = ViTConfig(
            image_size=height,
            patch_size=2,
            num_channels=channels,
            num_labels=num_outputs,
            hidden_size=32,
            num_hidden_layers=int(layers),
            num_attention_heads=4,
            intermediate_size=64,
        )

    def build(self, values: Mapping[str, str]) -> nn.Module:
        """The model with adapters of the searched rank."""
        rank = int(values["rank"])
        lora = LoraConfig(
            r=rank,
            lora_alpha=rank * float(values["scale"]),
            lora_dropout=0.05,
            target_modules=TARGETS[values["targets"]],
            modules_to_save=["classifier"],
        )
        return get_peft_model(ViTForImageClassification(self.config), lora)

    def optimizer(self, module: nn.Module, values: Mapping[str, str]) -> torch.optim.Optimizer:
        """AdamW with two groups: the last layer learns half as fast as the adapters."""
        rate = float(values["learning_rate"])
        adapters = [p for name, p in module.named_parameters() if p.requires_grad and "lora_" in name]
        others = [p for name, p in module.named_parameters() if p.requires_grad and "lora_" not in name]
        return torch.optim.AdamW([{"params": adapters, "lr": rate}, {"params": others, "lr": rate / 2}], weight_decay=0.01)

    def training_loss(self, module: nn.Module, batch: Batch, values: Mapping[str, str]) -> Tensor:  # noqa: ARG002 - the contract's form
        """Cross-entropy of the logits."""
        return functional.cross_entropy(module(pixel_values=batch.inputs).logits, batch.targets)

    def evaluate(self, module: nn.Module, batches: Iterable[Batch], values: Mapping[str, str]) -> dict[str, Tensor]:  # noqa: ARG002
        """Which examples are right."""
        hits = [(module(pixel_values=inputs).logits.argmax(dim=1) == targets).float() for inputs, targets in batches]
        return {"accuracy": torch.cat(hits)}
