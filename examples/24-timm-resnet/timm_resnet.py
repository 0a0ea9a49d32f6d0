"""ResNet-18 of timm: two of its blocks may be left out, one activation and the pooling of its stem are searched."""

import timm
from torch import nn

from autohas import nn as an


def net(input_shape: tuple[int, ...], num_outputs: int) -> nn.Module:
    """Return a new network; a search calls this once for each one, by keyword."""
    model = timm.create_model("resnet18", in_chans=input_shape[0], num_classes=num_outputs)
    model.layer2[1] = an.Skippable("second_block_2", model.layer2[1])
    model.layer4[1] = an.Skippable("second_block_4", model.layer4[1])
    model.act1 = an.OneOf("activation", {"relu": nn.ReLU(), "silu": nn.SiLU()})
    model.maxpool = an.OneOf("stem", {"pool": model.maxpool, "whole": nn.Identity()})
    return model
