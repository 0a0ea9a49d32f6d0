"""The whole line on a real cluster: from `kubectl apply` to `status.result`, through kills of everything."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from autohas_api.testing.rejections import with_change
from autohas_api.wire.messages import Stage
from line import HALF_A_CORE, NAMESPACE, OPERATOR_NAMESPACE, Line, durable
from recording import History, followed
from testcluster.waiting import until

pytestmark = pytest.mark.node
ROOT = Path(__file__).parents[2]
FASHION_MNIST = Path(os.environ.get("AUTOHAS_FASHION_MNIST") or ROOT.parent / "shared" / "data" / "fashion-mnist")


@pytest.fixture(scope="module", name="history")
def _history(line: Line, tmp_path_factory: pytest.TempPathFactory) -> Iterator[History]:
    with followed(line, "undisturbed", tmp_path_factory.mktemp("history")) as history:
        yield history


@pytest.fixture(scope="module", name="undisturbed")
def _undisturbed(line: Line, history: History) -> Iterator[dict[str, Any]]:
    line.apply(durable("undisturbed"))
    yield line.wait("undisturbed", "Finished")
    line.clear()


def test_a_search_succeeds_and_says_everything(line: Line, undisturbed: dict[str, Any]) -> None:
    """Succeeded with a configuration, a test score next to the default's, and every condition at the current generation."""
    status = undisturbed["status"]

    assert (status["phase"], status["stage"], status["progress"]) == ("Succeeded", "Evaluate", "100%")
    assert {v["name"] for v in status["result"]["hyperparameters"]} == {"learning_rate", "weight_decay"}
    assert "stage1_width" in {v["name"] for v in status["result"]["architecture"]}
    assert 0 < float(status["result"]["scores"]["test"]) <= 1
    assert 0 < float(status["result"]["scores"]["defaultTest"]) <= 1
    assert status["result"]["modelPath"] == f"{NAMESPACE}/undisturbed/{undisturbed['metadata']['uid']}/"
    assert {c["type"] for c in status["conditions"]} >= {"Accepted", "TrainerReady", "CheckpointReady", "Succeeded", "Finished"}
    assert {c["observedGeneration"] for c in status["conditions"]} == {undisturbed["metadata"]["generation"]}


@pytest.mark.usefixtures("undisturbed")
def test_an_ordinary_start_is_never_unreachable(history: History) -> None:
    """Starting until the first report, never ProgressUnreachable; from then on Running, and reporting."""
    statuses = history.until_phase("Succeeded")
    before = [one for one in statuses if not one.has_reported]
    running = [one for one in statuses if one.phase == "Running"]

    assert [one for one in statuses if one.reason == "ProgressUnreachable"] == []
    assert {one.phase for one in before} <= {"", "Pending", "Starting"}
    assert {one.reason for one in before} <= {"", "WaitingForPod", "PodStarting", "WaitingForReport"}
    assert [one for one in running if (one.has_reported, one.status, one.reason) != (True, "True", "Reporting")] == []
    assert running != []


def test_the_trainer_has_no_api_token(line: Line, undisturbed: dict[str, Any]) -> None:
    """No service account token is mounted in the trainer pod, and its container runs as a numeric user without privileges."""
    (pod,) = line.objects("pods", "undisturbed")
    (container,) = pod["spec"]["containers"]

    assert pod["spec"]["automountServiceAccountToken"] is False
    assert not any("serviceaccount" in mount["mountPath"] for mount in container["volumeMounts"])
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["securityContext"]["capabilities"]["drop"] == ["ALL"]


def test_printer_columns_and_describe_tell_the_story(line: Line, undisturbed: dict[str, Any]) -> None:
    """`kubectl get ahs` prints phase and score; `describe` prints conditions and the events of the life."""
    table = line.cluster.kubectl("get", "-n", NAMESPACE, "ahs", "undisturbed")
    description = line.cluster.kubectl("describe", "-n", NAMESPACE, "ahs", "undisturbed")

    assert table.split()[:6] == ["NAME", "PHASE", "STAGE", "PROGRESS", "BEST", "ETA"]
    assert "Succeeded" in table
    assert undisturbed["status"]["result"]["scores"]["test"] in table
    assert all(reason in description for reason in ("SearchAccepted", "TrainerJobCreated", "ResultStored"))


@pytest.mark.parametrize("stage", [Stage.LANES, Stage.SUPERNET, Stage.RACE])
def test_a_killed_trainer_changes_nothing(line: Line, undisturbed: dict[str, Any], stage: Stage) -> None:
    """SIGKILL in lanes, supernet or race: the next pod continues from the claim and ends with the undisturbed digest."""
    name = f"killed-in-{stage.lower()}"
    line.apply(durable(name))
    line.kill_trainer_in(name, stage)
    search = line.wait(name, "Finished")

    assert search["status"]["phase"] == "Succeeded"
    assert search["status"]["result"]["digest"] == undisturbed["status"]["result"]["digest"]
    assert len(line.objects("jobs", name)) == 1
    assert line.exit_codes(name) == [0, 137]


def test_the_operator_killed_while_starting_and_while_running(line: Line, undisturbed: dict[str, Any]) -> None:
    """Neither kill changes the outcome or makes a second Job, pod or attempt."""
    line.apply(durable("operator-killed", HALF_A_CORE))
    until(lambda: line.objects("jobs", "operator-killed"), what="a Job is made", deadline_s=60)
    assert line.search("operator-killed").get("status", {}).get("phase") in (None, "Pending", "Starting")
    line.kill_operator()
    line.wait_for_phase("operator-killed", "Running", 180)
    line.kill_operator()
    search = line.wait("operator-killed", "Finished")

    assert search["status"]["phase"] == "Succeeded"
    assert search["status"]["result"]["digest"] == undisturbed["status"]["result"]["digest"]
    assert search["status"]["attempt"] == 1
    assert len(line.objects("jobs", "operator-killed")) == 1
    assert len(line.objects("pods", "operator-killed")) == 1


def test_a_pod_stopped_on_request_is_an_interruption_not_a_failure(line: Line, undisturbed: dict[str, Any]) -> None:
    """A pod deleted while it runs writes a checkpoint (exit 75); the next one continues and no failure is counted."""
    line.apply(durable("pod-deleted", {"spec.failurePolicy": {"backoffLimit": 0}}))
    until(lambda: (p := line.progress("pod-deleted")) and p.step > 0, what="the trainer works", deadline_s=180)
    (pod,) = line.objects("pods", "pod-deleted")
    line.cluster.kubectl("delete", "-n", NAMESPACE, "pod", pod["metadata"]["name"])
    search = line.wait("pod-deleted", "Finished")

    assert search["status"]["phase"] == "Succeeded"
    assert search["status"]["result"]["digest"] == undisturbed["status"]["result"]["digest"]


def test_a_deleted_job_is_replaced_by_the_next_attempt(line: Line, undisturbed: dict[str, Any]) -> None:
    """A Job deleted by hand counts as an interruption: attempt 2 continues from the claim."""
    line.apply(durable("job-deleted"))
    until(lambda: (p := line.progress("job-deleted")) and p.step > 0, what="the trainer works", deadline_s=180)
    (job,) = line.objects("jobs", "job-deleted")
    line.cluster.kubectl("delete", "-n", NAMESPACE, "job", job["metadata"]["name"], "--cascade=foreground", timeout_s=180)
    search = line.wait("job-deleted", "Finished")

    assert search["status"]["attempt"] == 2
    assert search["status"]["result"]["digest"] == undisturbed["status"]["result"]["digest"]


def test_a_comparison_stopped_half_way_gives_the_result_of_the_search(line: Line, undisturbed: dict[str, Any]) -> None:
    """The pod is deleted in the second run; the next one finishes all three, and the winner is that of the search alone, bit for bit."""
    line.apply(durable("compared", {"spec.algorithm.compare": {"seeds": 1}}))
    until(lambda: (p := line.progress("compared")) and p.run == 2, what="the second run works", deadline_s=300)
    (pod,) = line.objects("pods", "compared")
    line.cluster.kubectl("delete", "-n", NAMESPACE, "pod", pod["metadata"]["name"])
    search = line.wait("compared", "Finished", 600)
    result = search["status"]["result"]

    assert (search["status"]["phase"], search["status"]["run"], search["status"]["interruptions"]) == ("Succeeded", "3/3", 1)
    assert result["digest"] == undisturbed["status"]["result"]["digest"]
    assert [row["name"] for row in result["comparison"]] == ["search", "random-halving", "default-as-long"]
    assert [row["runs"] for row in result["comparison"]] == [1, 1, 1]
    folder = line.folder(search)
    assert (folder / "model.safetensors").read_bytes() == (folder / "search" / "seed-0" / "model.safetensors").read_bytes()
    assert (folder / "compare.html").is_file()


def test_wrong_data_fails_at_once_with_the_trainers_sentence(line: Line) -> None:
    """A data path that is not there ends with exit 65: Failed/DataError with the file, and no second pod."""
    line.apply(with_change(durable("wrong-data"), "spec.task.data", {"name": "idx", "path": "/nowhere"}))
    search = line.wait("wrong-data", "Finished")
    succeeded = line.condition("wrong-data", "Succeeded")

    assert search["status"]["phase"] == "Failed"
    assert (succeeded["status"], succeeded["reason"]) == ("False", "DataError")
    assert "/nowhere" in succeeded["message"]
    assert len(line.objects("pods", "wrong-data")) == 1


def test_an_unacceptable_search_is_rejected_and_can_be_corrected(line: Line) -> None:
    """Accepted=False names the field and starts nothing; mending the spec starts it."""
    line.apply(durable("corrected", {"spec.searchSpace.architecture": {"decisions": [{"name": "kernel"}]}}))
    line.wait_for_phase("corrected", "Rejected")
    accepted = line.condition("corrected", "Accepted")
    assert accepted["status"] == "False"
    assert "spec.searchSpace.architecture.decisions[0].name" in accepted["message"]
    assert line.objects("jobs", "corrected") == []

    line.apply(durable("corrected"))
    assert line.wait("corrected", "Finished")["status"]["phase"] == "Succeeded"


def test_deleting_a_search_leaves_nothing_behind(line: Line) -> None:
    """Owner references clean up Job, pod and ConfigMap; no finalizer holds the search."""
    line.apply(durable("deleted"))
    until(lambda: line.objects("pods", "deleted"), what="a pod is made", deadline_s=60)
    line.cluster.kubectl("delete", "-n", NAMESPACE, "ahs", "deleted", "--timeout=60s")

    def gone() -> bool:
        return not any(line.objects(kind, "deleted") for kind in ("jobs", "pods", "configmaps"))

    until(gone, what="nothing of the search is left", deadline_s=180)


def test_the_quickstart_runs_as_it_stands(line: Line) -> None:
    """examples/01-quickstart.yaml, with a shorter training, succeeds on emptyDir and an event says it is not durable."""
    document = with_change(yaml.safe_load((ROOT / "examples" / "01-quickstart.yaml").read_text()), "spec.training.steps", 27)
    line.apply(document)
    search = line.wait("quickstart", "Finished")

    assert search["status"]["phase"] == "Succeeded"
    assert "modelPath" not in search["status"]["result"]
    assert "CheckpointNotDurable" in line.cluster.kubectl("describe", "-n", NAMESPACE, "ahs", "quickstart")


def test_fashion_mnist_from_apply_to_result(line: Line, tmp_path: Path) -> None:
    """examples/02-fashion-mnist.yaml on the real data, with a reduced budget, succeeds by `kubectl wait`."""
    if not FASHION_MNIST.is_dir():
        pytest.skip(f"the real data is absent: {FASHION_MNIST}")
    shutil.copytree(FASHION_MNIST, tmp_path / "fashion-mnist")
    line.cluster.local_volume("fashion-mnist", tmp_path / "fashion-mnist", namespace=NAMESPACE)
    document = yaml.safe_load((ROOT / "examples" / "02-fashion-mnist.yaml").read_text())
    document["metadata"].pop("namespace", None)
    document = with_change(with_change(document, "spec.training.steps", 90), "spec.budget.trainings", "4.5")
    line.apply(document)
    search = line.wait(document["metadata"]["name"], "Succeeded", 400)

    assert search["status"]["phase"] == "Succeeded"
    assert float(search["status"]["result"]["scores"]["test"]) > 0.5
    print(line.cluster.kubectl("get", "-n", NAMESPACE, "ahs"))  # noqa: T201 - shown in the closing note
    print(line.cluster.kubectl("describe", "-n", NAMESPACE, "ahs", document["metadata"]["name"]))  # noqa: T201 - as above


def test_the_operator_logged_no_error(line: Line) -> None:
    """After all this the running operator has logged no error and no traceback."""
    log = line.cluster.kubectl("logs", "-n", OPERATOR_NAMESPACE, line.operator_pod())

    assert "Traceback" not in log
    assert '"level": "error"' not in log
