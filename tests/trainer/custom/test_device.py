"""Custom code is tried where the search will run, and under its rules.

No GPU is needed: device meta, which refuses the tensors of other devices, stands for one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from autohas_api.testing.rejections import with_change
from autohas_trainer.engine.training.training import Training
from autohas_trainer.errors import ConfigurationError
from autohas_trainer.templates import build_custom, check_first_step
from custom_search_fixtures import NOISE, OWN, custom_search, loaded, searched
from engine_fixtures import MemorySink, search


@pytest.fixture
def _fresh_process() -> Iterator[None]:
    """Torch as a process finds it: deterministic algorithms are not yet on."""
    torch.set_deterministic_debug_mode("default")
    yield
    torch.set_deterministic_debug_mode("error")


def test_a_constant_that_is_no_buffer_is_refused_where_the_search_runs() -> None:
    """It stays on the CPU while inputs and leaves lie on the device: 78 before the first step, not exit 1 in it."""
    template, inputs = build_custom(f"{OWN}:Constant", None, (8,), 2), torch.zeros(2, 8)
    check_first_step(template, "the model", inputs, (2,))
    with pytest.raises(ConfigurationError, match=r"the model: forward\(\) of the default path on inputs \(2, 8\) on meta raised .*device"):
        check_first_step(template, "the model", inputs.to("meta"), (2,))


@pytest.mark.usefixtures("_fresh_process")
@pytest.mark.parametrize(("model", "where"), [("Scattering", "forward"), ("ScatteringLoss", "the gradient of loss")])
def test_a_gradient_that_is_not_deterministic_is_refused_before_the_first_step(model: str, where: str, tmp_path: Path) -> None:
    """Deterministic algorithms are asked for before custom code is tried; no file of a search is begun."""
    document = with_change(custom_search(model), "spec.searchSpace.architecture")
    with pytest.raises(ConfigurationError, match=rf"{where}.* raised RuntimeError: put_ does not have a deterministic implementation"):
        search(document, tmp_path, MemorySink())
    assert not list(tmp_path.glob("checkpoints"))


def test_an_augmentation_that_leaves_the_device_is_refused() -> None:
    """Shape and type are right, the device is another."""
    with pytest.raises(
        ConfigurationError, match=r"augment gave inputs on meta, it got them on cpu; make tensors with device=inputs\.device"
    ):
        loaded(searched("Plain", NOISE, defect="augment device"))


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_moments_are_restored_beside_their_parameters(optimizer: str) -> None:
    """Moments of a parameter of no dimension lie on its device after a resume; only torch's own step count stays on the CPU."""
    document = with_change(custom_search("Scalar"), "spec.searchSpace.architecture")
    search_task = loaded(with_change(document, "spec.task.recipe.optimizer", optimizer))
    saved = Training(search_task, search_task.space.default)
    saved.step()
    elsewhere = Training(replace(search_task, device=torch.device("meta")), search_task.space.default)
    elsewhere.load(saved.state_dict(), saved.tensors())
    moments = {name: tensor for name, tensor in elsewhere.tensors().items() if name.endswith("/temperature") and "optimizer/" in name}

    assert {name.split("/")[1] for name in moments} == ({"momentum_buffer"} if optimizer == "sgd" else {"step", "exp_avg", "exp_avg_sq"})
    assert {name: tensor.device.type for name, tensor in moments.items()} == {
        name: "cpu" if "/step/" in name else "meta" for name in moments
    }
