"""The pass against an API server in memory (see autohas_operator.testing.world for what it is not)."""

from __future__ import annotations

import asyncio
import json

import pytest

from autohas_api.testing.rejections import changed
from autohas_operator.client import CONFIG_MAPS, EVENTS, JOBS, PODS, SEARCHES
from autohas_operator.errors import ApiError, ForbiddenError, InvalidError, UnreachableError
from autohas_operator.manifests.job import build_config_map
from autohas_operator.records.observed import search_record
from autohas_operator.testing.builders import CLAIM, ended_pod, running_pod
from autohas_operator.testing.lives import KEY, SEARCH, run, start, straight
from autohas_operator.testing.world import KilledError, World
from autohas_operator.wording import timestamp


def reasons(world: World) -> dict[str, tuple[str, str]]:
    return {c["type"]: (c["status"], c["reason"]) for c in world.status["conditions"]}


def test_a_straight_life_costs_the_least_writes() -> None:
    """ConfigMap, Job, a status per change of phase, and the events."""
    world = World()
    asyncio.run(straight(world))
    num_events = len(world.api.all(EVENTS))

    assert world.events() == ["SearchAccepted", "TrainerJobCreated", "SearchStarted", "ResultStored"]
    assert world.api.num_writes - num_events == 2 + 4  # created, pod seen, running, succeeded


def test_a_resync_writes_nothing() -> None:
    """Every key again, at any time later: no write."""

    async def whole() -> None:
        world = World()
        await start(world)
        await run(world)
        before = world.api.num_writes
        for _ in range(5):
            world.operator.queue.add(KEY)
            await world.settle()

        assert world.api.num_writes == before

    asyncio.run(whole())


def test_the_config_map_is_what_the_trainer_reads() -> None:
    """search.json carries identity and spec, and cannot be changed."""

    async def whole() -> None:
        world = World()
        await start(world)
        (config_map,) = world.api.all(CONFIG_MAPS)
        search = json.loads(config_map["data"]["search.json"])

        assert config_map["immutable"] is True
        assert search["metadata"] == {"generation": 1, "name": "fashion", "namespace": "ml", "uid": SEARCH["metadata"]["uid"]}
        assert search["spec"] == SEARCH["spec"]
        assert world.job["metadata"]["name"] == "fashion-5ea4c400-1"

    asyncio.run(whole())


def test_a_stale_cache_makes_no_second_attempt() -> None:
    """The watch of Jobs is late: the Job is not in the cache, but a fresh read finds it."""

    async def whole() -> None:
        world = World()
        await start(world)
        world.operator.cache.jobs.clear()
        world.operator.cache.jobs.by_key.clear()
        await world.operator.reconciler.reconcile(KEY)

        assert world.api.jobs_made == ["fashion-5ea4c400-1"]
        assert world.status["attempt"] == 1

    asyncio.run(whole())


def test_a_conflicting_status_write_is_repeated_on_what_is_there() -> None:
    """Somebody edits between read and write: the pass is repeated, nothing is lost."""

    async def whole() -> None:
        world = World()
        await start(world)
        world.put_pod(running_pod(world.job))
        world.operator.cache.put_pod(world.api.all(PODS)[0])
        world.api.edit(SEARCHES, "ml", "fashion", spec={**SEARCH["spec"], "failurePolicy": {"backoffLimit": 1}})
        world.operator.queue.add(KEY)
        await world.wait(1)
        await world.wait(1)

        assert reasons(world)["TrainerReady"] == ("False", "WaitingForReport")
        assert world.status["observedGeneration"] == 2

    asyncio.run(whole())


def test_a_spec_edited_before_its_attempt_was_noted_runs_as_edited() -> None:
    """Killed after the Job was made, edited before the next start: the Job is replaced, the new spec runs."""

    async def whole() -> None:
        world = World()
        world.apply(SEARCH)
        world.api.kill_at = 2
        with pytest.raises(KilledError):
            await world.operator.settle()
        world.api.edit(SEARCHES, "ml", "fashion", spec={**SEARCH["spec"], "algorithm": {"seed": 7}})
        world.operator = type(world.operator)(world.api)
        await world.settle()
        for _ in range(3):
            await world.collect_garbage()
            await world.wait(6)

        assert json.loads(world.api.all(CONFIG_MAPS)[-1]["data"]["search.json"])["spec"]["algorithm"] == {"seed": 7}
        assert len(world.api.all(JOBS)) == 1

    asyncio.run(whole())


def test_a_name_that_is_taken_is_never_adopted() -> None:
    """A foreign Job or ConfigMap of our name is passed over for the next number, with a Warning that names it."""

    async def whole() -> World:
        world = World()
        world.api.add(JOBS, "ml", {"kind": "Job", "metadata": {"name": "fashion-5ea4c400-1"}, "spec": {}})
        world.api.add(CONFIG_MAPS, "ml", {"kind": "ConfigMap", "metadata": {"name": "fashion-5ea4c400-2"}, "data": {}})
        world.apply(SEARCH)
        await world.settle()
        return world

    world = asyncio.run(whole())
    told = [event["message"] for event in world.api.all(EVENTS) if event["reason"] == "NameConflict"]

    assert (world.status["phase"], world.status["attempt"]) == ("Starting", 3)
    assert world.status["jobUid"] == world.job["metadata"]["uid"]
    assert told == [
        "Job fashion-5ea4c400-1 exists and does not belong to this search; delete or rename it; attempt 1 is passed over",
        "ConfigMap fashion-5ea4c400-2 exists and does not belong to this search; delete or rename it; attempt 2 is passed over",
    ]


def test_names_that_are_all_taken_are_shown() -> None:
    """Who takes twenty names in a row is named in TrainerReady; the search starts when they are gone."""

    async def whole() -> None:
        world = World()
        names = [f"fashion-5ea4c400-{number}" for number in range(1, 31)]
        for name in names:
            world.api.add(JOBS, "ml", {"kind": "Job", "metadata": {"name": name}, "spec": {}})
        world.apply(SEARCH)
        await world.settle()
        conflict = (world.status["phase"], reasons(world)["TrainerReady"], world.status.get("attempt"))
        for name in names:
            world.api.remove(JOBS, "ml", name)
        await world.wait(31)

        assert conflict == ("Pending", ("False", "NameConflict"), None)
        assert world.status["phase"] == "Starting"

    asyncio.run(whole())


@pytest.mark.parametrize(
    ("refusal", "phase", "said"),
    [
        (ForbiddenError(status=403, message="exceeded quota: count/jobs.batch", request="POST"), "Pending", "exceeded quota"),
        (InvalidError(status=422, message="spec.template: Invalid value", request="POST"), "Rejected", "spec.template"),
    ],
    ids=["quota", "invalid"],
)
def test_a_refused_job_is_explained_and_tried_again(refusal: ForbiddenError, phase: str, said: str) -> None:
    """The API server's sentence is in a condition; when the reason is gone the search starts."""

    async def whole() -> None:
        world = World()
        world.api.refusals["jobs"] = refusal
        world.apply(SEARCH)
        await world.settle()
        refused, text = world.status["phase"], json.dumps(world.status["conditions"])
        del world.api.refusals["jobs"]
        await world.wait(600)

        assert refused == phase
        assert said in text
        assert world.status["phase"] == "Starting"
        assert world.api.jobs_made == ["fashion-5ea4c400-1"]

    asyncio.run(whole())


def test_a_job_that_the_server_fails_to_make_is_no_secret() -> None:
    """Every create ends with 500: the condition and one warning quote it, each try is repeated, and then the search starts."""

    async def whole() -> None:
        world = World()
        world.api.refusals["jobs"] = ApiError(status=500, message="failed calling webhook", request="POST")
        world.apply(SEARCH)
        await world.settle()
        await world.wait(60)
        refused, text, told = reasons(world)["TrainerReady"], json.dumps(world.status["conditions"]), world.events()
        del world.api.refusals["jobs"]
        await world.wait(600)

        assert refused == ("False", "JobNotCreated")
        assert "the API server answered 500: failed calling webhook; repair the webhook" in text
        assert told.count("JobNotCreated") == 1
        assert world.status["phase"] == "Starting"
        assert world.api.jobs_made == ["fashion-5ea4c400-1"]

    asyncio.run(whole())


def test_an_object_of_our_name_that_does_not_go_is_named() -> None:
    """A finalizer keeps the deleted ConfigMap of the first try: the condition says what is waited for, and then the search starts."""

    async def whole() -> None:
        world = World()
        left_over = build_config_map(search_record(SEARCH), 1)
        world.api.add(CONFIG_MAPS, "ml", changed(left_over, "metadata.deletionTimestamp", timestamp(0)))
        world.apply(SEARCH)
        await world.settle()
        waiting, text = reasons(world)["TrainerReady"], json.dumps(world.status["conditions"])
        world.api.remove(CONFIG_MAPS, "ml", left_over["metadata"]["name"])
        await world.wait(31)

        assert waiting == ("False", "NameStillTerminating")
        assert "ConfigMap fashion-5ea4c400-1 is being deleted" in text
        assert world.status["phase"] == "Starting"

    asyncio.run(whole())


def test_an_api_server_that_does_not_answer_is_waited_for() -> None:
    """Nothing is written to status; the pass comes back with back-off."""

    async def whole() -> None:
        world = World()
        world.api.refusals["configmaps"] = UnreachableError("POST: timeout")
        world.apply(SEARCH)
        await world.settle()
        before = dict(world.status)
        del world.api.refusals["configmaps"]
        await world.wait(600)

        assert before == {}
        assert world.status["phase"] == "Starting"

    asyncio.run(whole())


def test_a_status_that_cannot_be_read_is_not_acted_upon() -> None:
    """A status of a later version could be that of a finished search."""

    async def whole() -> None:
        world = World()
        world.apply({**SEARCH, "status": {"phase": "Levitating"}})
        await world.settle()

        assert world.api.jobs_made == []
        assert world.status == {"phase": "Levitating"}

    asyncio.run(whole())


def test_pods_that_are_not_created_are_explained_by_their_event() -> None:
    """Twenty seconds after the Job its newest warning is in TrainerReady."""

    async def whole() -> None:
        world = World()
        world.apply(SEARCH)
        await world.settle()
        for name, text in (("e1", "older"), ("e2", 'pods "x" is forbidden: violates PodSecurity')):
            involved = {"uid": world.job["metadata"]["uid"]}
            event = {"metadata": {"name": name}, "involvedObject": involved, "reason": "FailedCreate", "message": text}
            world.api.add(EVENTS, "ml", {**event, "lastTimestamp": f"2027-01-15T08:00:0{name[1]}Z"})
        await world.wait(25)
        ready = next(c for c in world.status["conditions"] if c["type"] == "TrainerReady")

        cure = "leave out in spec.trainer what it names, or allow it in the namespace's Pod Security level; tried again within 10 minutes"
        said = f'FailedCreate: pods "x" is forbidden: violates PodSecurity; {cure}'
        assert (ready["reason"], ready["message"]) == ("PodsNotCreated", said)

    asyncio.run(whole())


def test_a_search_that_was_made_again_has_nothing_to_do_with_the_old_one() -> None:
    """The same name with another uid gets children of its own."""

    async def whole() -> None:
        world = World()
        await start(world)
        world.api.remove(SEARCHES, "ml", "fashion")
        world.apply(changed(SEARCH, "metadata.uid", "0ther000-0000"))
        await world.settle()

        assert world.api.jobs_made == ["fashion-5ea4c400-1", "fashion-0ther000-1"]

    asyncio.run(whole())


def test_a_deleted_search_is_forgotten() -> None:
    """Its key is dropped without an error; the garbage collector does the rest."""

    async def whole() -> None:
        world = World()
        await start(world)
        world.api.remove(SEARCHES, "ml", "fashion")
        world.operator.queue.add(KEY)
        await world.settle()

        assert list(world.operator.cache.all_keys()) == []

    asyncio.run(whole())


def test_an_event_that_is_repeated_raises_its_count() -> None:
    """One object per text, also across operators."""

    async def whole() -> None:
        world = World()
        await start(world)
        world.api.edit(SEARCHES, "ml", "fashion", status={})
        world.api.remove(JOBS, "ml", world.job["metadata"]["name"])
        world.operator = type(world.operator)(world.api)
        await world.settle()
        accepted = [event for event in world.api.all(EVENTS) if event["reason"] == "SearchAccepted"]

        assert [event["count"] for event in accepted] == [2]

    asyncio.run(whole())


def test_checkpoints_lie_under_the_uid_of_the_search() -> None:
    """A search that is made again never meets a foreign checkpoint."""

    async def whole() -> None:
        world = World()
        await start(world)
        container = world.job["spec"]["template"]["spec"]["containers"][0]
        env = {entry["name"]: entry.get("value") for entry in container["env"]}

        assert env["AUTOHAS_WORKDIR"] == f"/var/lib/autohas/ml/fashion/{SEARCH['metadata']['uid']}"
        assert CLAIM["storage"]["persistentVolumeClaim"] in [
            volume.get("persistentVolumeClaim") for volume in world.job["spec"]["template"]["spec"]["volumes"]
        ]

    asyncio.run(whole())


def warn(world: World, involved: str, reason: str, text: str) -> None:
    """A component gives a warning about an object, now."""
    event = {"metadata": {"name": f"{involved}.{reason}"}, "involvedObject": {"uid": involved}, "reason": reason, "message": text}
    world.api.add(EVENTS, "ml", {**event, "lastTimestamp": timestamp(world.api.now_s)})


def test_a_pod_that_its_liveness_probe_stopped_is_asked_after() -> None:
    """Exit 137 alone does not tell a stall from a crash: the events of the pod are read, and they do."""

    async def whole() -> None:
        world = World()
        await start(world)
        await run(world)
        warn(world, "pod-1", "Unhealthy", "Liveness probe failed: HTTP probe failed with statuscode: 503")
        world.put_pod(ended_pod(world.job, code=137, ended_s=world.api.now_s))
        await world.wait(1)

        assert reasons(world)["TrainerReady"] == ("False", "Stalled")
        assert "SearchStalled" in world.events()

    asyncio.run(whole())


def test_a_next_pod_that_is_overdue_is_asked_after() -> None:
    """The quota was used up while the search was interrupted: 20 s after the next pod was due, the Job's events are read."""

    async def whole() -> None:
        world = World()
        await start(world)
        await run(world)
        world.put_pod(ended_pod(world.job, code=75, ended_s=world.api.now_s))
        await world.wait(12)
        warn(world, world.job["metadata"]["uid"], "FailedCreate", "exceeded quota: pods")
        await world.wait(20)

        assert reasons(world)["TrainerReady"] == ("False", "QuotaExceeded")
        assert "QuotaExceeded" in world.events()

    asyncio.run(whole())
