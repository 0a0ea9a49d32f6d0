"""Runs one peer inside its own environment, which has no AutoHAS: suggestions go out as lines of JSON, losses come in.

The first line that comes in names the peer, its seed, a folder to write to and the space: for each decision its number of choices, the
default's index and whether the choices have an order. Each line that goes out asks for the loss of one configuration, by choice indices,
at a rung (0, 1, 2: a ninth, a third and all of a training). The parent closes the pipe when the budget is spent.
"""

from __future__ import annotations

import json
import os
import random
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

_RUNGS = {1: 0, 3: 1, 9: 2}
"""By ninths of a training, the resource of all three."""
_DIVERGED = 1e6

Evaluate = Callable[[Mapping[str, Any], float], float]


def run_dehb(heading: dict[str, Any], evaluate: Evaluate) -> None:
    """DEHB: differential evolution inside Hyperband. It knows no default."""
    from dehb import DEHB  # noqa: PLC0415 - each environment has one of the three

    dehb = DEHB(
        cs=_config_space(heading, has_default=False),
        min_fidelity=1,
        max_fidelity=9,
        eta=3,
        n_workers=1,
        seed=heading["seed"],
        output_path=heading["folder"],
        save_freq="end",
    )
    while True:
        job = dehb.ask()
        loss = evaluate(dict(job["config"]), job["fidelity"])
        dehb.tell(job, {"fitness": loss, "cost": float(job["fidelity"])})


def run_smac(heading: dict[str, Any], evaluate: Evaluate) -> None:
    """SMAC: a random forest's expected improvement inside Hyperband, the default in its initial design."""
    from smac import MultiFidelityFacade, Scenario  # noqa: PLC0415 - as above
    from smac.runhistory.dataclasses import TrialValue  # noqa: PLC0415 - as above

    space = _config_space(heading, has_default=True)
    scenario = Scenario(
        space,
        min_budget=1,
        max_budget=9,
        n_trials=100_000,
        deterministic=True,
        seed=heading["seed"],
        output_directory=Path(heading["folder"]),
    )
    design = MultiFidelityFacade.get_initial_design(scenario, n_configs=10, additional_configs=[space.get_default_configuration()])
    smac = MultiFidelityFacade(scenario, _never_called, initial_design=design, overwrite=True, logging_level=40)
    while True:
        trial = smac.ask()
        smac.tell(trial, TrialValue(cost=evaluate(dict(trial.config), trial.budget)))


def _never_called(config: object, seed: int = 0, budget: float = 0.0) -> float:
    """What SMAC would run itself; it looks at the names of the arguments."""
    raise RuntimeError(f"SMAC is asked and told, it runs nothing: {config}, {seed}, {budget}")


def run_prior_band(heading: dict[str, Any], evaluate: Evaluate) -> None:
    """NePS' PriorBand: Hyperband that samples around the default, around the best and uniformly; the default is its prior."""
    import neps  # noqa: PLC0415 - as above
    import numpy as np  # noqa: PLC0415 - as above
    import torch  # noqa: PLC0415 - as above

    random.seed(heading["seed"])
    np.random.seed(heading["seed"])  # noqa: NPY002 - NePS draws from it
    torch.manual_seed(heading["seed"])
    parts: dict[str, Any] = {"resource": neps.IntegerFidelity(1, 9)}
    for decision in heading["decisions"]:
        last, prior = decision["size"] - 1, {"prior": decision["default"], "prior_confidence": "medium"}
        parts[decision["name"]] = (
            neps.Integer(0, last, **prior) if decision["is_ordered"] else neps.Categorical(tuple(range(last + 1)), **prior)
        )

    def evaluate_pipeline(resource: int, **values: int) -> float:
        return evaluate(values, resource)

    neps.run(
        evaluate_pipeline=evaluate_pipeline,
        pipeline_space=type("Space", (neps.PipelineSpace,), parts)(),
        root_directory=heading["folder"],
        overwrite_root_directory=True,
        total_evaluations_to_spend=100_000,
        optimizer=("priorband", {"sample_prior_first": "highest_fidelity"}),
    )


def _config_space(heading: dict[str, Any], *, has_default: bool) -> Any:
    """The space for DEHB and SMAC: indices of ordered choices are integers, the others categories."""
    from ConfigSpace import CategoricalHyperparameter, ConfigurationSpace, UniformIntegerHyperparameter  # noqa: PLC0415 - as above

    space = ConfigurationSpace(seed=heading["seed"])
    for decision in heading["decisions"]:
        last, default = decision["size"] - 1, {"default_value": decision["default"]} if has_default else {}
        space.add(
            UniformIntegerHyperparameter(decision["name"], 0, last, **default)
            if decision["is_ordered"]
            else CategoricalHyperparameter(decision["name"], list(range(last + 1)), **default)
        )
    return space


PEERS = {"dehb": run_dehb, "smac": run_smac, "neps": run_prior_band}


def main() -> None:
    """Speak over the pipe; what the peer prints goes to the errors."""
    outward = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    heading = json.loads(sys.stdin.readline())

    def evaluate(values: Mapping[str, Any], resource: float) -> float:
        indices = {name: int(index) for name, index in values.items()}
        outward.write(json.dumps({"indices": indices, "rung": _RUNGS[round(resource)]}) + "\n")
        outward.flush()
        answer = sys.stdin.readline()
        if not answer:
            os._exit(0)  # the budget is spent; a peer would catch an exception
        loss = json.loads(answer)["loss"]
        return _DIVERGED if loss is None else float(loss)

    PEERS[heading["peer"]](heading, evaluate)


if __name__ == "__main__":
    main()
