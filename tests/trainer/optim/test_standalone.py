"""The state of an optimizer, copied back from a checkpoint."""

from __future__ import annotations

import pytest
import torch

from autohas_trainer.optim.standalone import load_optimizer


@pytest.mark.parametrize(("is_fused", "place"), [(True, "meta"), (False, "cpu")])
def test_the_step_count_lies_where_the_optimizer_reads_it(is_fused: bool, place: str) -> None:  # noqa: FBT001 - a case
    """A fused optimizer reads it on the device, another one on the CPU; there is no GPU here, so meta stands for the device."""
    parameter = torch.nn.Parameter(torch.empty(3, device="meta"))
    optimizer = torch.optim.AdamW([parameter])
    optimizer.param_groups[0]["fused"] = is_fused

    load_optimizer(optimizer, {"w": parameter}, {"optimizer/step/w": torch.tensor(7.0), "optimizer/exp_avg/w": torch.ones(3)})

    assert optimizer.state[parameter]["step"].device.type == place
    assert optimizer.state[parameter]["exp_avg"].device.type == "meta"
