"""Wrong algorithms and their settings: rows of the tables in `autohas_api.testing.rejections`."""

from __future__ import annotations

from typing import Any, Final

from autohas_api.testing.builders import Rejection, a_search, with_change

__all__ = ["ALGORITHM_REJECTED_BY_RULE", "ALGORITHM_REJECTED_BY_SCHEMA", "ALGORITHM_UNACCEPTABLE"]

_CONTROL: Final = with_change(with_change(a_search(), "spec.algorithm", {"name": "RandomSharing"}), "spec.searchSpace.hyperparameters[1]")
_DEFAULT_ONLY: Final = {"name": "DefaultOnly"}
_LANES: Final = with_change(a_search(), "spec.algorithm", {"name": "AutoHAS", "autoHAS": {"strategy": "Lanes"}})


def _with_dropout(algorithm: dict[str, Any]) -> dict[str, Any]:
    """The spec of a search over a hyperparameter that acts over many steps."""
    dropout = {"name": "dropout", "continuous": {"min": "0", "max": "0.5"}}
    document = with_change(a_search(), "spec.searchSpace.hyperparameters[1]", dropout)
    return dict(with_change(document, "spec.algorithm", algorithm)["spec"])


def _cut(name: str, **rungs: int) -> dict[str, Any]:
    """The spec of a search with rungs of its own."""
    document = with_change(with_change(a_search(), "spec.algorithm", {"name": name}), "spec.budget.rungs", rungs)
    return dict(with_change(document, "spec.training.steps", 27)["spec"])


def _with_trainings(trainings: str, algorithm: dict[str, Any]) -> dict[str, Any]:
    """The spec of a search by some algorithm with some budget."""
    document = with_change(a_search(), "spec.algorithm", algorithm)
    return dict(with_change(document, "spec.budget.trainings", trainings)["spec"])


def _publish(**space: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON values
    """The spec of a search in the published form."""
    document = with_change(a_search(), "spec.algorithm", {"autoHAS": {"strategy": "OneStep", "preset": "Published"}})
    return {**document["spec"], "searchSpace": document["spec"]["searchSpace"] | space}


ALGORITHM_REJECTED_BY_SCHEMA: Final = (
    Rejection(path="spec.algorithm.name", value="DARTS", field="spec.algorithm.name", words='"AutoHAS", "RandomSharing", "RandomSearch"'),
    Rejection(
        path="spec.algorithm.autoHAS",
        value={"strategy": "Paired", "pairedSamples": 1},
        field="spec.algorithm.autoHAS.pairedSamples",
        words="greater than or equal to 2",
    ),
    Rejection(
        path="spec.algorithm.autoHAS",
        value={"strategy": "OneStep", "preset": "Paper"},
        field="spec.algorithm.autoHAS.preset",
        words='"Published"',
    ),
    Rejection(
        path="spec.algorithm.autoHAS",
        value={"strategy": "OneStep", "hyperparameterWindow": {"from": "0"}},
        field="spec.algorithm.autoHAS.hyperparameterWindow.to",
        words="Required value",
    ),
    Rejection(path="spec.budget.rungs", value={"eta": 1}, field="spec.budget.rungs.eta", words="greater than or equal to 2"),
    Rejection(path="spec.budget.rungs", value={"count": 1}, field="spec.budget.rungs.count", words="greater than or equal to 2"),
    Rejection(path="spec.algorithm.seed", value=-1, field="spec.algorithm.seed", words="greater than or equal to 0"),
)

ALGORITHM_REJECTED_BY_RULE: Final = (
    Rejection(
        path="spec.algorithm",
        value={"name": "RandomSearch", "autoHAS": {}},
        field="spec.algorithm.autoHAS",
        words="autoHAS must not be given unless name is AutoHAS",
    ),
    Rejection(
        path="spec.algorithm.autoHAS.warmupFraction",
        value="0.91",
        field="spec.algorithm.autoHAS.warmupFraction",
        words="between 0 and 0.9",
    ),
    Rejection(
        path="spec",
        value=_with_dropout({"name": "RandomSharing"}),
        field="spec.searchSpace.hyperparameters",
        words="schedule_floor, warmup_fraction and custom hyperparameters cannot be seen by a one-step reward",
    ),
    Rejection(
        path="spec",
        value=_with_dropout({"autoHAS": {"strategy": "OneStep"}}),
        field="spec.searchSpace.hyperparameters",
        words="schedule_floor, warmup_fraction and custom hyperparameters cannot be seen by a one-step reward",
    ),
    Rejection(
        path="spec.algorithm.randomSharing",
        value={"numSamples": 5},
        field="spec.algorithm.randomSharing",
        words="must not be given unless name is RandomSharing",
    ),
    *(
        Rejection(
            path="spec.algorithm.autoHAS",
            value={"strategy": "OneStep", "hyperparameterWindow": {"from": begin, "to": end}},
            field="spec.algorithm.autoHAS.hyperparameterWindow.to",
            words="to must be greater than from, and both must be from 0 to 1",
        )
        for begin, end in (("0.2", "0.2"), ("0.3", "0.2"), ("-0.1", "0.2"), ("0", "1.1"))
    ),
    Rejection(
        path="spec.algorithm.autoHAS",
        value={"strategy": "OneStep", "hyperparameterWindow": {"from": "0.5", "to": "0.505"}},
        field="spec.algorithm.autoHAS.hyperparameterWindow.to",
        words="to must be at least from + 0.01",
    ),
    *(
        Rejection(
            path="spec.algorithm.autoHAS",
            value={"strategy": "Lanes", name: value},
            field=f"spec.algorithm.autoHAS.{name}",
            words=f"{name} must not be given unless strategy is OneStep",
        )
        for name, value in (
            ("hyperparameterWindow", {"from": "0", "to": "1"}),
            ("result", "Argmax"),
            ("preset", "Published"),
        )
    ),
    *(
        Rejection(
            path="spec.algorithm.autoHAS",
            value={"strategy": "OneStep", "preset": "Published", name: value},
            field="spec.algorithm.autoHAS.preset",
            words="preset Published sets sharedUpdate to Sampled, temporaryBatch to Own, result to Argmax",
        )
        for name, value in (
            ("sharedUpdate", "Reference"),
            ("temporaryBatch", "Shared"),
            ("result", "Race"),
            ("hyperparameterWindow", {"from": "0.05", "to": "1"}),
            ("hyperparameterWindow", {"from": "0", "to": "0.2"}),
        )
    ),
    Rejection(
        path="spec.algorithm.autoHAS",
        value={"strategy": "Lanes", "policyLearningRate": "0"},
        field="spec.algorithm.autoHAS.policyLearningRate",
        words="greater than 0",
    ),
    *(
        Rejection(
            path="spec.algorithm.autoHAS",
            value={name: "0.2"},
            field=f"spec.algorithm.autoHAS.{name}",
            words="must not be given unless strategy is Lanes, OneStep or Paired",
        )
        for name in ("policyLearningRate", "warmupFraction")
    ),
    Rejection(
        path="spec.algorithm.autoHAS",
        value={"sharedUpdate": "Sampled"},
        field="spec.algorithm.autoHAS.sharedUpdate",
        words="must not be given unless strategy is OneStep",
    ),
    Rejection(
        path="spec.algorithm.autoHAS",
        value={"temporaryBatch": "Own"},
        field="spec.algorithm.autoHAS.temporaryBatch",
        words="must not be given unless strategy is OneStep or Paired",
    ),
    Rejection(
        path="spec.algorithm.autoHAS",
        value={"pairedSamples": 4},
        field="spec.algorithm.autoHAS.pairedSamples",
        words="must not be given unless strategy is Paired",
    ),
    Rejection(
        path="spec.algorithm",
        value={"name": "RegularizedEvolution", "regularizedEvolution": {"population": 4, "sample": 5}},
        field="spec.algorithm.regularizedEvolution.sample",
        words="sample must be at most population",
    ),
    *(
        Rejection(
            path="spec.algorithm",
            value={"name": "RandomSearch", block: {}},
            field=f"spec.algorithm.{block}",
            words=f"{block} must not be given unless name is {name}",
        )
        for block, name in (("tpe", "TPE"), ("bohb", "BOHB"), ("regularizedEvolution", "RegularizedEvolution"))
    ),
)


def _for_model(path: str = "spec.budget.for", value: object = "Model", *, trainings: str = "40") -> dict[str, Any]:
    """The spec of a search for a model, with one change."""
    document = with_change(a_search(), "spec.budget", {"trainings": trainings, "for": "Model"})
    document = with_change(document, "spec.task.recipe", {"schedule": "WSD"})
    return dict(with_change(document, path, value)["spec"])


_MODEL_UNACCEPTABLE: Final = (
    *(
        Rejection(
            path="spec",
            value=_for_model("spec.task.recipe.schedule", schedule),
            field="spec.task.recipe.schedule",
            words=f'"{schedule}": every rate of it depends on the length of the training, which with budget.for Model is not known before'
            " the search has ended: take WSD or Constant",
        )
        for schedule in ("Cosine", "Linear", "OneCycle", "Step")
    ),
    Rejection(
        path="spec",
        value=_for_model(
            "spec.searchSpace.hyperparameters", [{"name": "schedule", "categorical": {"choices": ["WSD", "Cosine", "Constant"]}}]
        ),
        field="spec.searchSpace.hyperparameters[0]",
        words='"schedule": every rate of Cosine depends on the length of the training',
    ),
    *(
        Rejection(
            path="spec",
            value=_for_model("spec.algorithm", algorithm),
            field="spec.budget.for",
            words=f'Invalid value: "Model": {label} trains every candidate to an end that is known before: remove for, or take algorithm'
            " AutoHAS (strategy OneFactor)",
        )
        for algorithm, label in (
            ({"name": "AutoHAS", "autoHAS": {"strategy": "Lanes"}}, "AutoHAS (strategy Lanes)"),
            ({"name": "RandomSearch"}, "RandomSearch"),
            ({"name": "TPE"}, "TPE"),
            (_DEFAULT_ONLY, "DefaultOnly"),
        )
    ),
    Rejection(
        path="spec",
        value=_for_model("spec.training.seeds", 3),
        field="spec.training.seeds",
        words="Invalid value: 3: must be 1 with budget.for Model, whose one training takes the whole budget",
    ),
    Rejection(
        path="spec",
        value=_for_model("spec.objective", {"goal": "0.9"}),
        field="spec.objective.goal",
        words="must not be given with budget.for Model, which spends the whole budget on the model",
    ),
    Rejection(
        path="spec",
        value=_for_model("spec.budget.maxActiveSeconds", 60),
        field="spec.budget.maxActiveSeconds",
        words="must not be given with budget.for Model: a clock would decide where the rate begins to fall",
    ),
    Rejection(
        path="spec",
        value=_for_model("spec.objective", {"cost": {"metric": "parameters", "target": "1000", "weight": "-0.1", "form": "Soft"}}),
        field="spec.objective.cost.form",
        words="with budget.for Model take Hard or Absolute",
    ),
    Rejection(
        path="spec",
        value=_for_model("spec.task.recipe.warmupFraction", "0.2", trainings="3"),
        field="spec.task.recipe.warmupFraction",
        words='Invalid value: "0.2": the warm-up takes this share of training.steps, and with budget.for Model the search may leave a ninth'
        " of budget.trainings for the model: must be at most 0.167, or budget.trainings at least 3.6",
    ),
    Rejection(
        path="spec",
        value=_for_model(
            "spec.searchSpace.hyperparameters", [{"name": "warmup_fraction", "continuous": {"min": "0", "max": "0.5"}}], trainings="4"
        ),
        field="spec.searchSpace.hyperparameters[0].continuous.max",
        words="must be at most 0.222, or budget.trainings at least 9",
    ),
    Rejection(
        path="spec",
        value=_for_model(trainings="29"),
        field="spec.budget.trainings",
        words='Invalid value: "29": 29 trainings of 27 steps are 783 steps, and with budget.for Model they must be 810 to 100,000,000:'
        " raise trainings or training.steps",
    ),
)


ALGORITHM_UNACCEPTABLE: Final = (
    *_MODEL_UNACCEPTABLE,
    Rejection(
        path="spec",
        value=_cut("AutoHAS", eta=3, count=4),
        field="spec.budget.rungs",
        words="has no effect: AutoHAS compares candidates at rungs of its own; remove rungs, or take algorithm SuccessiveHalving",
    ),
    Rejection(
        path="spec",
        value=_cut("RandomSearch", eta=2),
        field="spec.budget.rungs",
        words="has no effect: RandomSearch trains every trial to the end",
    ),
    Rejection(
        path="spec",
        value=_cut("Hyperband", eta=2, count=6),
        field="spec.budget.rungs",
        words="6 rungs with eta 2 begin at 1/32 of a training, which has 27 steps: lower count or eta, or train longer",
    ),
    Rejection(
        path="spec",
        value=with_change(_LANES, "spec.budget.earlyStopping", {"plateauSteps": 100_000, "normalizedEntropyBelow": "0.2"})["spec"],
        field="spec.budget.earlyStopping.plateauSteps",
        words="could never come true: 15 steps are rewarded after the warm-up",
    ),
    Rejection(
        path="spec",
        value=with_change(_CONTROL, "spec.objective", {"goal": "0.9"})["spec"],
        field="spec.objective.goal",
        words="RandomSharing compares none",
    ),
    Rejection(
        path="spec",
        value=with_change(with_change(a_search(), "spec.algorithm", _DEFAULT_ONLY), "spec.objective", {"goal": "0.9"})["spec"],
        field="spec.objective.goal",
        words="DefaultOnly compares none before its final training: remove goal",
    ),
    Rejection(
        path="spec",
        value=with_change(
            with_change(a_search(), "spec.algorithm", _DEFAULT_ONLY),
            "spec.searchSpace.initialPoints",
            [{"values": {"learning_rate": "1"}}],
        )["spec"],
        field="spec.searchSpace.initialPoints",
        words="DefaultOnly trains nothing but the default, so initialPoints would have no effect",
    ),
    Rejection(
        path="spec",
        value=with_change(with_change(a_search(), "spec.algorithm", _DEFAULT_ONLY), "spec.training.seeds", 5)["spec"],
        field="spec.budget.trainings",
        words="must be at least 5 for this space and algorithm: 4 does not pay for the 5 trainings of training.seeds",
    ),
    Rejection(
        path="spec",
        value=_publish() | {"objective": {"goal": "0.9"}},
        field="spec.objective.goal",
        words="AutoHAS with result Argmax compares none",
    ),
    Rejection(
        path="spec",
        value=_publish() | {"budget": {"trainings": "1.9"}},
        field="spec.budget.trainings",
        words="must be at least 2 for this space and algorithm: 1.9 does not pay for the supernet and the final training",
    ),
    Rejection(
        path="spec",
        value=_publish(initialPoints=[{"values": {"learning_rate": "1"}}]),
        field="spec.algorithm.autoHAS.preset",
        words="Argmax compares nothing, so initialPoints would have no effect",
    ),
    Rejection(
        path="spec",
        value=_with_trainings("4.2", {"name": "TPE"}),
        field="spec.budget.trainings",
        words="must be at least 4.33 for this space and algorithm: 4.2 does not pay for the default and 9 other trials"
        " (tpe.startupTrials: 10), and one trial that the estimator proposes",
    ),
    Rejection(
        path="spec",
        value=_with_trainings("10.9", {"name": "TPE", "tpe": {"halving": False}}),
        field="spec.budget.trainings",
        words="must be at least 11 for",
    ),
    Rejection(
        path="spec",
        value=_with_trainings("6", {"name": "TPE", "tpe": {"startupTrials": 2, "parallelTrials": 500}}),
        field="spec.budget.trainings",
        words="6 does not pay for the default and 1 other trial (tpe.startupTrials: 2), and one trial that the estimator proposes without"
        " the results of the 499 trials before it (tpe.parallelTrials)",
    ),
    Rejection(
        path="spec",
        value=_with_trainings("1.9", {"name": "TPE", "tpe": {"startupTrials": 1}}),
        field="spec.budget.trainings",
        words="1.9 does not pay for the default (tpe.startupTrials: 1), and one trial that the estimator proposes",
    ),
    Rejection(
        path="spec",
        value=_with_trainings("3", {"name": "BOHB"}),
        field="spec.budget.trainings",
        words="does not pay for",
    ),
    Rejection(
        path="spec",
        value=_with_trainings("30", {"name": "RegularizedEvolution"}),
        field="spec.budget.trainings",
        words="must be at least 101 for this space and algorithm: 30 does not pay for a population of 100"
        " (regularizedEvolution.population) and one child of it",
    ),
    Rejection(
        path="spec",
        value=_cut("TPE", eta=3, count=3) | {"algorithm": {"name": "TPE", "tpe": {"halving": False}}},
        field="spec.budget.rungs",
        words="has no effect: TPE trains every trial to the end",
    ),
)
