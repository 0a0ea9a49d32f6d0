"""Which kernels a stand-alone optimizer takes, and its state, copied back from a checkpoint."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from autohas_trainer.optim import UpdateRule
from autohas_trainer.optim.standalone import load_optimizer, standalone_optimizer

RULE = UpdateRule(optimizer="adamw", learning_rate=0.1, momentum=0.9, weight_decay=0.01)


class _Model(nn.Module):
    """One matrix in a layout of its own."""

    def __init__(self, lay_out: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.weight = nn.Parameter(lay_out(torch.arange(48.0).reshape(6, 8)))


@pytest.mark.parametrize(
    "lay_out", [lambda weight: weight, lambda weight: weight.t(), lambda weight: weight[:, :3]], ids=["in order", "transposed", "narrow"]
)
def test_adamw_moves_weights_of_every_layout_by_gradients_of_every_layout(lay_out: Callable[[Tensor], Tensor]) -> None:
    """As torch's plain loop does, where torch's fused kernel of a CPU would take elements in the order of memory."""
    module, plain = _Model(lay_out), _Model(lambda weight: lay_out(weight).contiguous())
    ours = standalone_optimizer(module, RULE)
    theirs = torch.optim.AdamW(plain.parameters(), lr=0.1, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01, foreach=False)
    rows, columns = module.weight.shape
    for step in range(3):
        gradient = (torch.arange(float(rows * columns)).reshape(columns, rows) - 7 * step).t()
        module.weight.grad, plain.weight.grad = gradient.clone(), gradient.contiguous()
        ours.step()
        theirs.step()

    torch.testing.assert_close(module.weight, plain.weight)


@pytest.mark.parametrize(("is_fused", "place"), [(True, "meta"), (False, "cpu")])
def test_the_step_count_lies_where_the_optimizer_reads_it(is_fused: bool, place: str) -> None:  # noqa: FBT001 - a case
    """A fused optimizer reads it on the device, another one on the CPU; there is no GPU here, so meta stands for the device."""
    parameter = torch.nn.Parameter(torch.empty(3, device="meta"))
    optimizer = torch.optim.AdamW([parameter])
    optimizer.param_groups[0]["fused"] = is_fused

    load_optimizer(optimizer, {"w": parameter}, {"optimizer/step/w": torch.tensor(7.0), "optimizer/exp_avg/w": torch.ones(3)})

    assert optimizer.state[parameter]["step"].device.type == place
    assert optimizer.state[parameter]["exp_avg"].device.type == "meta"
