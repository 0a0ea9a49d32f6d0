"""What a person reads about the commonest mistakes in a search, whole: path, value, what is allowed, what to do."""

from __future__ import annotations

from typing import Any

import pytest

from autohas_api.accept.acceptance import accept
from autohas_api.base.spec_errors import SpecError
from autohas_api.testing.rejections import a_search, with_change

TRAINER = "spec.trainer"
SPACE = {
    "hyperparameters": [
        {"name": "optimizer", "categorical": {"choices": ["sgd", "adam"]}},
        {"name": "momentum", "continuous": {"min": "0", "max": "0.9"}, "when": {"decision": "optimizer", "values": ["sgd"]}},
    ],
    "architecture": {},
}


def sentence(path: str, value: Any) -> str:
    """The one problem of a search with this value."""
    with pytest.raises(SpecError) as caught:
        accept(with_change(a_search(), path, value))
    (problem,) = caught.value.field_errors
    return str(problem)


def mounted(path: str, **mount: str) -> dict[str, Any]:
    """A trainer with a volume at this path."""
    return {"volumes": [{"name": "data", "emptyDir": {}}], "volumeMounts": [{"name": "data", "mountPath": path, **mount}]}


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("spec.task.recipe.learning_rate", "0.5", 'spec.task.recipe.learning_rate: unknown field; did you mean "learningRate"?'),
        (
            "spec.objective.goal",
            "95",
            'spec.objective.goal: 95 is more than 1: accuracy is a share, write 95 % as "0.95"',
        ),
        ("spec.objective.goal", "0", "spec.objective.goal: 0 must be greater than 0: every candidate reaches it"),
        (
            "spec.objective",
            {"metric": "log_loss", "goal": "-1"},
            (
                "spec.objective.goal: -1 must be greater than 0: no candidate reaches it,"
                " log_loss, perplexity, bpb, rmse, mae are never less"
            ),
        ),
        (
            "spec.searchSpace",
            {**SPACE, "initialPoints": [{"values": {"optimizer": "adam", "momentum": "0.45"}}]},
            ('spec.searchSpace.initialPoints[0].values.momentum: "0.45" has no effect: momentum is searched only where optimizer is sgd'),
        ),
        (
            "spec.searchSpace.hyperparameters[0].continuous",
            {"min": "1", "max": "1.0000000001"},
            (
                'spec.searchSpace.hyperparameters[0].continuous.max: Invalid value: "1.0000000001": the range is too narrow for different'
                " bases: max must exceed min by at least a billionth of itself"
            ),
        ),
    ],
)
def test_a_search_that_cannot_be_meant_is_refused(path: str, value: Any, said: str) -> None:
    """A field that does not exist, a goal that nothing or everything reaches, a value without effect, a range without values."""
    assert sentence(path, value) == said


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (
            "spec.algorithm.autoHAS",
            {"strategy": "OneStep", "preset": "Published", "result": "Race"},
            (
                'spec.algorithm.autoHAS.preset: Invalid value: "Published": preset Published sets sharedUpdate to Sampled, temporaryBatch'
                " to Own, result to Argmax and hyperparameterWindow from 0 to 1: remove what differs, or remove preset"
            ),
        ),
        (
            "spec.algorithm.autoHAS",
            {"strategy": "Lanes", "hyperparameterWindow": {"from": "0", "to": "1"}},
            ("spec.algorithm.autoHAS.hyperparameterWindow: hyperparameterWindow must not be given unless strategy is OneStep or Paired"),
        ),
        (
            "spec.algorithm.autoHAS",
            {"strategy": "OneStep", "hyperparameterWindow": {"from": "0.3", "to": "0.2"}},
            (
                'spec.algorithm.autoHAS.hyperparameterWindow.to: Invalid value: "0.2": to must be greater than from, and both must be from'
                " 0 to 1"
            ),
        ),
        (
            "spec.algorithm.autoHAS",
            {"policyLearningRate": "0.2"},
            (
                'spec.algorithm.autoHAS.policyLearningRate: Invalid value: "0.2": policyLearningRate must not be given unless strategy is'
                " Lanes, OneStep or Paired"
            ),
        ),
        ("spec.training", {"steps": 300, "epochs": "8"}, "spec.training: exactly one of steps and epochs must be given"),
        (
            "spec.budget.earlyStopping",
            {"plateauSteps": 100},
            (
                "spec.budget.earlyStopping: judges the rewards of a controller after the warm-up, and this search has none: search an"
                " architecture with algorithm AutoHAS (strategy Lanes, OneStep or Paired), or remove earlyStopping"
            ),
        ),
    ],
)
def test_settings_that_contradict_each_other_are_refused(path: str, value: Any, said: str) -> None:
    """A preset with another value, a setting that the strategy does not read, a window without steps, two lengths of a training."""
    assert sentence(path, value) == said


@pytest.mark.parametrize(
    ("trainer", "said"),
    [
        (
            {"resources": {"limits": {"nvidia.com/gpu": 8}}},
            (
                "spec.trainer.resources.limits: nvidia.com/gpu, amd.com/gpu, gpu.intel.com/i915, gpu.intel.com/xe must be 1:"
                " one search uses one GPU, further ones would idle"
            ),
        ),
        (
            {"priorityClassName": "system-cluster-critical"},
            (
                'spec.trainer.priorityClassName: Invalid value: "system-cluster-critical": priority classes that begin with system- are the'
                " cluster's own: choose another"
            ),
        ),
        (
            {"image": "my image"},
            (
                'spec.trainer.image: Invalid value: "my image": image must be a reference such as'
                " registry.example/team/trainer:1.2: lower case"
                " after the registry, no spaces"
            ),
        ),
        (
            {"labels": {"batch.kubernetes.io/job-name": "other"}},
            (
                "spec.trainer.labels: labels under kubernetes.io, k8s.io (app.kubernetes.io is free) and autohas.dev,"
                " controller-uid, job-name"
                " and Kueue's queue are the operator's and Kubernetes' own; the queue is a label of the search itself"
            ),
        ),
        (
            {"labels": {"bad key!": "x"}},
            (
                "spec.trainer.labels: each key must be a name of at most 63 letters, digits, -, _ and . that begins and"
                " ends with a letter or"
                " digit, perhaps after a domain and /"
            ),
        ),
        (
            {"envFrom": [{"prefix": "AUTOHAS_", "secretRef": {"name": "s"}}]},
            (
                'spec.trainer.envFrom[0].prefix: Invalid value: "AUTOHAS_": a prefix that starts with AUTOHAS_ would'
                " make names that are the"
                " operator's"
            ),
        ),
        (
            mounted("/dev"),
            (
                'spec.trainer.volumeMounts[0].mountPath: Invalid value: "/dev": mountPath must not be at or below /etc/autohas,'
                " /var/lib/autohas, /scratch, /proc, /sys,"
                " /opt/autohas, /opt/venv or /dev (but /dev/shm), nor one of /, /etc, /var, /var/lib, /opt, /usr,"
                " /usr/bin, /usr/lib, /usr/local,"
                " /usr/local/bin, /usr/local/lib, /bin, /sbin, /lib, /lib64: these are the operator's or the image's own"
            ),
        ),
        (
            mounted("//etc/autohas"),
            (
                'spec.trainer.volumeMounts[0].mountPath: Invalid value: "//etc/autohas": mountPath must be a plain absolute path: without'
                " //, /. and /.."
            ),
        ),
        (
            mounted("/data", subPath="../.."),
            'spec.trainer.volumeMounts[0].subPath: Invalid value: "../..": subPath must be relative and must not contain .. as a part',
        ),
        (
            {**mounted("/dev/shm"), "shmSize": "1Gi"},
            (
                'spec.trainer.shmSize: Invalid value: "1Gi": shmSize must not be given with a volume of your own at /dev/shm: give that'
                " volume a sizeLimit"
            ),
        ),
    ],
)
def test_a_pod_that_kubernetes_or_the_operator_could_not_run_is_refused(trainer: dict[str, Any], said: str) -> None:
    """Before it becomes a Job: idle GPUs, the cluster's own classes and labels, names and paths that Kubernetes or the operator needs."""
    assert sentence(TRAINER, trainer) == said
