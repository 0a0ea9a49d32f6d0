"""The pass against an API server in memory (see autohas_operator.testing.fake_cluster for what it is not)."""

from __future__ import annotations

import asyncio
import json

import pytest

from autohas_api.testing.rejections import with_change
from autohas_operator.client import CONFIG_MAPS, EVENTS, JOBS, PODS, SEARCHES
from autohas_operator.errors import ApiError, ForbiddenError, InvalidError, UnreachableError
from autohas_operator.manifests.job import build_config_map
from autohas_operator.records.observed import search_record
from autohas_operator.testing.builders import CLAIM, ended_pod, running_pod
from autohas_operator.testing.fake_cluster import FakeCluster, KilledError
from autohas_operator.testing.scenarios import KEY, SEARCH, run, run_to_success, start
from autohas_operator.wording import timestamp


def reasons(cluster: FakeCluster) -> dict[str, tuple[str, str]]:
    return {c["type"]: (c["status"], c["reason"]) for c in cluster.status["conditions"]}


def test_a_straight_life_costs_the_least_writes() -> None:
    """ConfigMap, Job, a status per change of phase, and the events."""
    cluster = FakeCluster()
    asyncio.run(run_to_success(cluster))
    num_events = len(cluster.api.all(EVENTS))

    assert cluster.events() == ["SearchAccepted", "TrainerJobCreated", "SearchStarted", "ResultStored"]
    assert cluster.api.num_writes - num_events == 2 + 4  # created, pod seen, running, succeeded


def test_a_resync_writes_nothing() -> None:
    """Every key again, at any time later: no write."""

    async def play() -> None:
        cluster = FakeCluster()
        await start(cluster)
        await run(cluster)
        before = cluster.api.num_writes
        for _ in range(5):
            cluster.operator.queue.add(KEY)
            await cluster.settle()

        assert cluster.api.num_writes == before

    asyncio.run(play())


def test_the_config_map_is_what_the_trainer_reads() -> None:
    """search.json carries identity and spec, and cannot be changed."""

    async def play() -> None:
        cluster = FakeCluster()
        await start(cluster)
        (config_map,) = cluster.api.all(CONFIG_MAPS)
        search = json.loads(config_map["data"]["search.json"])

        assert config_map["immutable"] is True
        assert search["metadata"] == {"generation": 1, "name": "fashion", "namespace": "ml", "uid": SEARCH["metadata"]["uid"]}
        assert search["spec"] == SEARCH["spec"]
        assert cluster.job["metadata"]["name"] == "fashion-5ea4c400-1"

    asyncio.run(play())


def test_a_stale_cache_makes_no_second_attempt() -> None:
    """The watch of Jobs is late: the Job is not in the cache, but a fresh read finds it."""

    async def play() -> None:
        cluster = FakeCluster()
        await start(cluster)
        cluster.operator.cache.jobs.clear()
        cluster.operator.cache.jobs.by_key.clear()
        await cluster.operator.reconciler.reconcile(KEY)

        assert cluster.api.jobs_made == ["fashion-5ea4c400-1"]
        assert cluster.status["attempt"] == 1

    asyncio.run(play())


def test_a_conflicting_status_write_is_repeated_on_what_is_there() -> None:
    """A user edits the search between read and write: the pass is repeated, nothing is lost."""

    async def play() -> None:
        cluster = FakeCluster()
        await start(cluster)
        cluster.put_pod(running_pod(cluster.job))
        cluster.operator.cache.put_pod(cluster.api.all(PODS)[0])
        cluster.api.edit(SEARCHES, "ml", "fashion", spec={**SEARCH["spec"], "failurePolicy": {"backoffLimit": 1}})
        cluster.operator.queue.add(KEY)
        await cluster.wait(1)
        await cluster.wait(1)

        assert reasons(cluster)["TrainerReady"] == ("False", "WaitingForReport")
        assert cluster.status["observedGeneration"] == 2

    asyncio.run(play())


def test_a_spec_edited_before_its_attempt_was_noted_runs_as_edited() -> None:
    """Killed after the Job was made, edited before the next start: the Job is replaced, the new spec runs."""

    async def play() -> None:
        cluster = FakeCluster()
        cluster.apply(SEARCH)
        cluster.api.kill_at = 2
        with pytest.raises(KilledError):
            await cluster.operator.settle()
        cluster.api.edit(SEARCHES, "ml", "fashion", spec={**SEARCH["spec"], "algorithm": {"seed": 7}})
        cluster.operator = type(cluster.operator)(cluster.api)
        await cluster.settle()
        for _ in range(3):
            await cluster.collect_garbage()
            await cluster.wait(6)

        assert json.loads(cluster.api.all(CONFIG_MAPS)[-1]["data"]["search.json"])["spec"]["algorithm"] == {"seed": 7}
        assert len(cluster.api.all(JOBS)) == 1

    asyncio.run(play())


def test_a_name_that_is_taken_is_never_adopted() -> None:
    """A foreign Job or ConfigMap of our name is passed over for the next number, with a Warning that names it."""

    async def play() -> FakeCluster:
        cluster = FakeCluster()
        cluster.api.add(JOBS, "ml", {"kind": "Job", "metadata": {"name": "fashion-5ea4c400-1"}, "spec": {}})
        cluster.api.add(CONFIG_MAPS, "ml", {"kind": "ConfigMap", "metadata": {"name": "fashion-5ea4c400-2"}, "data": {}})
        cluster.apply(SEARCH)
        await cluster.settle()
        return cluster

    cluster = asyncio.run(play())
    messages = [event["message"] for event in cluster.api.all(EVENTS) if event["reason"] == "NameConflict"]

    assert (cluster.status["phase"], cluster.status["attempt"]) == ("Starting", 3)
    assert cluster.status["jobUid"] == cluster.job["metadata"]["uid"]
    assert messages == [
        "Job fashion-5ea4c400-1 exists and does not belong to this search; delete or rename it; attempt 1 is passed over",
        "ConfigMap fashion-5ea4c400-2 exists and does not belong to this search; delete or rename it; attempt 2 is passed over",
    ]


def test_names_that_are_all_taken_are_shown() -> None:
    """Who takes twenty names in a row is named in TrainerReady; the search starts when they are gone."""

    async def play() -> None:
        cluster = FakeCluster()
        names = [f"fashion-5ea4c400-{number}" for number in range(1, 31)]
        for name in names:
            cluster.api.add(JOBS, "ml", {"kind": "Job", "metadata": {"name": name}, "spec": {}})
        cluster.apply(SEARCH)
        await cluster.settle()
        conflict = (cluster.status["phase"], reasons(cluster)["TrainerReady"], cluster.status.get("attempt"))
        for name in names:
            cluster.api.remove(JOBS, "ml", name)
        await cluster.wait(31)

        assert conflict == ("Pending", ("False", "NameConflict"), None)
        assert cluster.status["phase"] == "Starting"

    asyncio.run(play())


@pytest.mark.parametrize(
    ("refusal", "phase", "sentence"),
    [
        (ForbiddenError(status=403, message="exceeded quota: count/jobs.batch", request="POST"), "Pending", "exceeded quota"),
        (InvalidError(status=422, message="spec.template: Invalid value", request="POST"), "Rejected", "spec.template"),
    ],
    ids=["quota", "invalid"],
)
def test_a_refused_job_is_explained_and_tried_again(refusal: ForbiddenError, phase: str, sentence: str) -> None:
    """The API server's sentence is in a condition; when the reason is gone the search starts."""

    async def play() -> None:
        cluster = FakeCluster()
        cluster.api.refusals["jobs"] = refusal
        cluster.apply(SEARCH)
        await cluster.settle()
        refused, text = cluster.status["phase"], json.dumps(cluster.status["conditions"])
        del cluster.api.refusals["jobs"]
        await cluster.wait(600)

        assert refused == phase
        assert sentence in text
        assert cluster.status["phase"] == "Starting"
        assert cluster.api.jobs_made == ["fashion-5ea4c400-1"]

    asyncio.run(play())


def test_a_job_that_the_server_fails_to_make_is_no_secret() -> None:
    """Every create ends with 500: the condition and one warning quote it, each try is repeated, and then the search starts."""

    async def play() -> None:
        cluster = FakeCluster()
        cluster.api.refusals["jobs"] = ApiError(status=500, message="failed calling webhook", request="POST")
        cluster.apply(SEARCH)
        await cluster.settle()
        await cluster.wait(60)
        refused, text, events = reasons(cluster)["TrainerReady"], json.dumps(cluster.status["conditions"]), cluster.events()
        del cluster.api.refusals["jobs"]
        await cluster.wait(600)

        assert refused == ("False", "JobNotCreated")
        assert "the API server answered 500: failed calling webhook; repair the webhook" in text
        assert events.count("JobNotCreated") == 1
        assert cluster.status["phase"] == "Starting"
        assert cluster.api.jobs_made == ["fashion-5ea4c400-1"]

    asyncio.run(play())


def test_an_object_of_our_name_that_does_not_go_is_named() -> None:
    """A finalizer keeps the deleted ConfigMap of the first try: the condition says what is waited for, and then the search starts."""

    async def play() -> None:
        cluster = FakeCluster()
        left_over = build_config_map(search_record(SEARCH), 1)
        cluster.api.add(CONFIG_MAPS, "ml", with_change(left_over, "metadata.deletionTimestamp", timestamp(0)))
        cluster.apply(SEARCH)
        await cluster.settle()
        waiting, text = reasons(cluster)["TrainerReady"], json.dumps(cluster.status["conditions"])
        cluster.api.remove(CONFIG_MAPS, "ml", left_over["metadata"]["name"])
        await cluster.wait(31)

        assert waiting == ("False", "NameStillTerminating")
        assert "ConfigMap fashion-5ea4c400-1 is being deleted" in text
        assert cluster.status["phase"] == "Starting"

    asyncio.run(play())


def test_an_api_server_that_does_not_answer_is_waited_for() -> None:
    """Nothing is written to status; the pass comes back with back-off."""

    async def play() -> None:
        cluster = FakeCluster()
        cluster.api.refusals["configmaps"] = UnreachableError("POST: timeout")
        cluster.apply(SEARCH)
        await cluster.settle()
        before = dict(cluster.status)
        del cluster.api.refusals["configmaps"]
        await cluster.wait(600)

        assert before == {}
        assert cluster.status["phase"] == "Starting"

    asyncio.run(play())


def test_a_status_that_cannot_be_read_is_not_acted_upon() -> None:
    """A status of a later version could be that of a finished search."""

    async def play() -> None:
        cluster = FakeCluster()
        cluster.apply({**SEARCH, "status": {"phase": "Levitating"}})
        await cluster.settle()

        assert cluster.api.jobs_made == []
        assert cluster.status == {"phase": "Levitating"}

    asyncio.run(play())


def test_pods_that_are_not_created_are_explained_by_their_event() -> None:
    """Twenty seconds after the Job its newest warning is in TrainerReady."""

    async def play() -> None:
        cluster = FakeCluster()
        cluster.apply(SEARCH)
        await cluster.settle()
        for name, text in (("e1", "older"), ("e2", 'pods "x" is forbidden: violates PodSecurity')):
            involved = {"uid": cluster.job["metadata"]["uid"]}
            event = {"metadata": {"name": name}, "involvedObject": involved, "reason": "FailedCreate", "message": text}
            cluster.api.add(EVENTS, "ml", {**event, "lastTimestamp": f"2027-01-15T08:00:0{name[1]}Z"})
        await cluster.wait(25)
        ready = next(c for c in cluster.status["conditions"] if c["type"] == "TrainerReady")

        hint = "leave out in spec.trainer what it names, or allow it in the namespace's Pod Security level"
        message = f'FailedCreate: pods "x" is forbidden: violates PodSecurity; {hint}; the operator retries within 10 minutes'
        assert (ready["reason"], ready["message"]) == ("PodsNotCreated", message)

    asyncio.run(play())


def test_a_search_that_was_made_again_has_nothing_to_do_with_the_old_one() -> None:
    """The same name with another uid gets children of its own."""

    async def play() -> None:
        cluster = FakeCluster()
        await start(cluster)
        cluster.api.remove(SEARCHES, "ml", "fashion")
        cluster.apply(with_change(SEARCH, "metadata.uid", "0ther000-0000"))
        await cluster.settle()

        assert cluster.api.jobs_made == ["fashion-5ea4c400-1", "fashion-0ther000-1"]

    asyncio.run(play())


def test_a_deleted_search_is_forgotten() -> None:
    """Its key is dropped without an error; the garbage collector does the rest."""

    async def play() -> None:
        cluster = FakeCluster()
        await start(cluster)
        cluster.api.remove(SEARCHES, "ml", "fashion")
        cluster.operator.queue.add(KEY)
        await cluster.settle()

        assert list(cluster.operator.cache.all_keys()) == []

    asyncio.run(play())


def test_an_event_that_is_repeated_raises_its_count() -> None:
    """One object per text, also across operators."""

    async def play() -> None:
        cluster = FakeCluster()
        await start(cluster)
        cluster.api.edit(SEARCHES, "ml", "fashion", status={})
        cluster.api.remove(JOBS, "ml", cluster.job["metadata"]["name"])
        cluster.operator = type(cluster.operator)(cluster.api)
        await cluster.settle()
        accepted = [event for event in cluster.api.all(EVENTS) if event["reason"] == "SearchAccepted"]

        assert [event["count"] for event in accepted] == [2]

    asyncio.run(play())


def test_checkpoints_lie_under_the_uid_of_the_search() -> None:
    """A search that is made again never meets a foreign checkpoint."""

    async def play() -> None:
        cluster = FakeCluster()
        await start(cluster)
        container = cluster.job["spec"]["template"]["spec"]["containers"][0]
        env = {entry["name"]: entry.get("value") for entry in container["env"]}

        assert env["AUTOHAS_WORKDIR"] == f"/var/lib/autohas/ml/fashion/{SEARCH['metadata']['uid']}"
        assert CLAIM["storage"]["persistentVolumeClaim"] in [
            volume.get("persistentVolumeClaim") for volume in cluster.job["spec"]["template"]["spec"]["volumes"]
        ]

    asyncio.run(play())


def warn(cluster: FakeCluster, involved: str, reason: str, text: str) -> None:
    """A component gives a warning about an object, now."""
    event = {"metadata": {"name": f"{involved}.{reason}"}, "involvedObject": {"uid": involved}, "reason": reason, "message": text}
    cluster.api.add(EVENTS, "ml", {**event, "lastTimestamp": timestamp(cluster.api.now_s)})


def test_a_pod_that_its_liveness_probe_stopped_is_asked_after() -> None:
    """Exit 137 alone does not tell a stall from a crash: the events of the pod are read, and they do."""

    async def play() -> None:
        cluster = FakeCluster()
        await start(cluster)
        await run(cluster)
        warn(cluster, "pod-1", "Unhealthy", "Liveness probe failed: HTTP probe failed with statuscode: 503")
        cluster.put_pod(ended_pod(cluster.job, code=137, ended_s=cluster.api.now_s))
        await cluster.wait(1)

        assert reasons(cluster)["TrainerReady"] == ("False", "Stalled")
        assert "SearchStalled" in cluster.events()

    asyncio.run(play())


def test_a_next_pod_that_is_overdue_is_asked_after() -> None:
    """The quota was used up while the search was interrupted: 20 s after the next pod was due, the Job's events are read."""

    async def play() -> None:
        cluster = FakeCluster()
        await start(cluster)
        await run(cluster)
        cluster.put_pod(ended_pod(cluster.job, code=75, ended_s=cluster.api.now_s))
        await cluster.wait(12)
        warn(cluster, cluster.job["metadata"]["uid"], "FailedCreate", "exceeded quota: pods")
        await cluster.wait(20)

        assert reasons(cluster)["TrainerReady"] == ("False", "QuotaExceeded")
        assert "QuotaExceeded" in cluster.events()

    asyncio.run(play())
