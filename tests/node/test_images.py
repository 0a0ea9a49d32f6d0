"""What a search asks of its cluster: an image with custom code, and an image, a claim and a device that are not there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from autohas_api.testing.rejections import with_change
from line import Line, durable
from testcluster.waiting import until

pytestmark = pytest.mark.node
EXAMPLE = Path(__file__).parents[2] / "examples" / "07-custom-model"
NO_IMAGE, NO_CLAIM, NO_DEVICE = "no-image", "no-claim", "no-device"
IMAGE = "registry.invalid/absent/trainer:1"


@pytest.fixture(scope="module", name="asking")
def _asking(line: Line) -> Iterator[Line]:
    """Three searches that wait, all at once."""
    line.apply(with_change(durable(NO_IMAGE), "spec.trainer.image", IMAGE))
    line.apply(durable(NO_CLAIM, claim="absent"))
    line.apply(with_change(durable(NO_DEVICE), "spec.trainer.resources", {"limits": {"amd.com/gpu": "1"}}))
    yield line
    line.clear()


def custom_model() -> dict[str, Any]:
    """The example's search with a tenth of its steps."""
    document = yaml.safe_load((EXAMPLE / "search.yaml").read_text())
    return with_change(with_change(document, "spec.training.steps", 90), "spec.budget.trainings", "4.5")


def test_custom_code_in_an_image_of_its_own_searches_as_on_a_laptop(asking: Line, tmp_path: Path) -> None:
    """examples/07-custom-model, built from its Dockerfile, ends as a restricted pod with the result of `autohas run` on the same file."""
    document = custom_model()
    (tmp_path / "search.yaml").write_text(yaml.safe_dump(document))
    command = [sys.executable, "-m", "autohas", "run", str(tmp_path / "search.yaml"), "--out", str(tmp_path / "out")]
    paths = os.pathsep.join(filter(None, [str(EXAMPLE), os.environ.get("PYTHONPATH")]))
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": paths}) as laptop:
        asking.cluster.image_on_trainer(document["spec"]["trainer"]["image"], EXAMPLE)
        asking.apply(document)
        status = asking.wait("custom-model", "Finished")["status"]
        assert laptop.wait(timeout=120) == 0
    here = json.loads((tmp_path / "out" / "result.json").read_text())["digests"]

    assert status["phase"] == "Succeeded"
    assert status["trainer"]["image"] == document["spec"]["trainer"]["image"]
    assert {v["name"] for v in status["result"]["hyperparameters"]} == {"learning_rate", "stretch"}
    assert (status["result"]["configurationDigest"], status["result"]["digest"]) == (here["configuration"], here["result"])


def test_an_image_that_is_not_there_is_named(asking: Line) -> None:
    """ImagePullFailed in the kubelet's words, in condition and event, and the search waits."""
    verdict = verdict_once(asking, NO_IMAGE, f'ImagePullBackOff: Back-off pulling image "{IMAGE}"')

    assert verdict == ("False", "ImagePullFailed", "Starting")
    assert "ImagePullFailed" in asking.events(NO_IMAGE)


def test_a_claim_that_is_not_there_is_named(asking: Line) -> None:
    """Unschedulable in the scheduler's words, in condition and event, and the search waits."""
    verdict = verdict_once(asking, NO_CLAIM, '0/1 nodes are available: persistentvolumeclaim "absent" not found')

    assert verdict == ("False", "Unschedulable", "Starting")
    assert "TrainerUnschedulable" in asking.events(NO_CLAIM)


def test_a_device_that_no_node_has_is_named(asking: Line) -> None:
    """Unschedulable in the scheduler's words, in condition and event, and the search waits."""
    verdict = verdict_once(asking, NO_DEVICE, "0/1 nodes are available: 1 Insufficient amd.com/gpu")

    assert verdict == ("False", "Unschedulable", "Starting")
    assert "TrainerUnschedulable" in asking.events(NO_DEVICE)


def verdict_once(line: Line, name: str, words: str) -> tuple[str, str, str]:
    """Status and reason of TrainerReady, and the phase, as soon as the condition's message holds these words."""

    def found() -> tuple[str, str, str] | None:
        status = line.search(name).get("status", {})
        ready = next((c for c in status.get("conditions", []) if c["type"] == "TrainerReady"), None)
        return (ready["status"], ready["reason"], status["phase"]) if ready is not None and words in ready["message"] else None

    return until(found, what=f"{name} has the condition: {words}", deadline_s=60, context=lambda: str(line.condition(name, "TrainerReady")))
