"""Acceptance of a spec: judged once for each text, and not by newer rules once its search has begun."""

from __future__ import annotations

import pytest

from autohas_api.base.model import Rule
from autohas_api.base.spec_errors import FieldError, SpecError
from autohas_api.spec.search import Search, Spec
from autohas_api.wire.status import ConditionType, Phase
from autohas_operator.decide import plan as module
from autohas_operator.decide.conditions import verdict_of
from autohas_operator.testing.builders import NOW_S, ended_pod, observe, report, result_text, stored_search
from autohas_operator.testing.decisions import JOB, POD, RUNNING, SEARCH, decide, verdict

_LATER = Rule(expression="false", message="is not taken any more", field_path=".budget", holds=lambda _: False)


def test_a_rule_of_a_later_version_is_for_searches_that_have_not_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    """After an upgrade, a new search is rejected; the running one continues, and its result is stored."""
    module._judge.cache_clear()
    monkeypatch.setattr(Spec, "rules", (*Spec.rules, _LATER))
    over = ended_pod(JOB, code=0, message=result_text_before(monkeypatch))

    fresh = decide(observe(SEARCH)).status
    running = decide(observe(SEARCH, JOB, POD, report=report(SEARCH)), RUNNING).status
    ended = decide(observe(SEARCH, JOB, over), RUNNING).status
    module._judge.cache_clear()

    assert (fresh.phase, verdict(fresh, ConditionType.ACCEPTED)) == (Phase.REJECTED, ("False", "InvalidSpec"))
    assert (running.phase, verdict(running, ConditionType.ACCEPTED)) == (Phase.RUNNING, ("True", "Valid"))
    assert ended.phase is Phase.SUCCEEDED
    assert ended.result is not None


def test_a_comparison_says_what_it_costs_when_it_is_accepted() -> None:
    """Methods, seeds, runs and trainings stand in the condition Accepted, and so in its event."""
    search = stored_search(algorithm={"name": "AutoHAS", "compare": {"seeds": 5}}, budget={"trainings": "6"})
    decided = decide(observe(search))
    accepted = verdict_of(decided.status, ConditionType.ACCEPTED)

    assert accepted is not None
    assert accepted.status == "True"
    assert "compare: 4 methods with 5 seeds are 20 runs of 6 trainings each, 120 in all" in accepted.message
    assert any(a.reason == "SearchAccepted" and "120 in all" in a.message for a in decided.announcements)


def result_text_before(monkeypatch: pytest.MonkeyPatch) -> str:
    """Messages of a trainer of the earlier version."""
    with monkeypatch.context() as earlier:
        earlier.setattr(Spec, "rules", Spec.rules[:-1])
        return result_text(SEARCH)


def test_a_search_that_is_wrong_is_judged_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred passes over the same text cost one judgement; a long refusal is cut to the length of a condition."""
    judged: list[str] = []

    def refuse(document: dict[str, object]) -> Search:
        judged.append(str(document["kind"]))
        raise SpecError([FieldError(path="spec", message="m" * 10**6)])

    monkeypatch.setattr(module, "accept", refuse)
    wrong = stored_search(budget={"trainings": "1.25"})
    status = decide(observe(wrong)).status
    for second in range(99):
        status = decide(observe(wrong), status, at_s=NOW_S + second).status
    kept = module._judge(observe(wrong).search.document, has_begun=False)
    module._judge.cache_clear()

    assert judged == ["AutoHASSearch"]
    assert verdict(status, ConditionType.ACCEPTED) == ("False", "InvalidSpec")
    assert len(str(kept)) < 2000


def test_a_rate_that_sgd_and_adam_share_is_warned_of_in_the_condition() -> None:
    """Accepted stays true, its message has the warning, and so has the event; with factors there is none."""
    optimizers = {"name": "optimizer", "categorical": {"choices": ["sgd", "adam"]}}
    rates = {"name": "learning_rate", "continuous": {"min": "0.01", "max": "1"}}
    shared = decide(observe(stored_search(searchSpace={"hyperparameters": [optimizers, rates]})))
    scaled = decide(observe(stored_search(searchSpace={"hyperparameters": [optimizers, {**rates, "rateFactors": {"adam": "0.01"}}]})))
    messages = [next(c.message for c in plan.status.conditions if c.type == ConditionType.ACCEPTED) for plan in (shared, scaled)]

    assert verdict(shared.status, ConditionType.ACCEPTED) == verdict(scaled.status, ConditionType.ACCEPTED) == ("True", "Valid")
    assert "; warning: one range of learning_rate serves sgd and adam, whose usual rates are" in messages[0]
    assert "warning" not in messages[1]
    assert [a.message for a in shared.announcements if a.reason == "SearchAccepted"] == [messages[0]]


def test_a_volume_that_no_container_mounts_is_warned_of_in_the_condition() -> None:
    """A container that a webhook adds may mount it, so the search is accepted; one that an init container mounts is in use."""
    volumes = [{"name": name, "persistentVolumeClaim": {"claimName": name}} for name in ("data", "cache")]
    fetch = {"name": "fetch", "image": "busybox", "volumeMounts": [{"name": "cache", "mountPath": "/cache"}]}
    idle = decide(observe(stored_search(trainer={"volumes": volumes, "initContainers": [fetch]})))
    used = decide(
        observe(
            stored_search(
                trainer={"volumes": volumes, "initContainers": [fetch], "volumeMounts": [{"name": "data", "mountPath": "/data"}]},
            )
        )
    )
    messages = [next(c.message for c in plan.status.conditions if c.type == ConditionType.ACCEPTED) for plan in (idle, used)]

    assert verdict(idle.status, ConditionType.ACCEPTED) == ("True", "Valid")
    assert messages[0].endswith(
        "; warning: no container mounts the volume data of spec.trainer.volumes: add it to spec.trainer.volumeMounts, or remove it"
    )
    assert "warning" not in messages[1]


def test_decisions_that_only_the_trainer_knows_are_left_to_it() -> None:
    """A model by entrypoint with all of its decisions is accepted, and the condition says who checks them; a list is checked here."""
    own = {"data": {"name": "digits"}, "model": {"entrypoint": "mine.digits:net"}}
    unseen = decide(observe(stored_search(task=own, searchSpace={"architecture": {}})))
    listed = decide(observe(stored_search(task=own, searchSpace={"architecture": {"decisions": [{"name": "width"}]}})))
    messages = [next(c.message for c in plan.status.conditions if c.type == ConditionType.ACCEPTED) for plan in (unseen, listed)]

    assert verdict(unseen.status, ConditionType.ACCEPTED) == ("True", "Valid")
    assert messages[0].endswith("; the decisions of the model are checked by the trainer, which reads them from its code")
    assert verdict(listed.status, ConditionType.ACCEPTED) == ("False", "InvalidSpec")
