"""A real API server with strict field validation and the models accept the same documents."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import pytest
from kubernetes.client.exceptions import ApiException

from autohas_api.base.names import GROUP, PLURAL, VERSION
from autohas_api.base.spec_errors import SpecError
from autohas_api.spec.search import parse
from autohas_api.testing.documents import EVERY_FIELD, Mutation, mutations
from autohas_api.testing.rejections import a_search, with_change
from crd_fixtures import install_crd
from kubernetes import client, config
from testcluster.cluster import Cluster

pytestmark = pytest.mark.control_plane
STRIDE = 17
"""Every 17th of some ten thousand mutations: a prime, so that no kind of mutation is always left out."""
METADATA: tuple[dict[str, Any], ...] = (
    {"labels": {"bad key!": "x"}},
    {"labels": {"team": "a b"}},
    {"labels": {"team": 1}},
    {"labels": {"team": None}},
    {"labels": []},
    {"annotations": {"bad key!": "x"}},
    {"annotations": {"team": True}},
    {"annotations": {"Example.com/team": "x"}},
    {"label": {"team": "x"}},
    {"name": "A"},
    {"name": "a_b"},
    {"name": 7},
    {"name": None},
    {"name": ""},
    {"labels": {"app.kubernetes.io/name": "é"}},
)

Create = Callable[[dict[str, Any]], str]


@pytest.fixture(scope="module", name="create")
def _create(control_plane: Cluster) -> Iterator[Create]:
    """Sends a document for a dry run; gives what the server says against it, empty when it accepts."""
    install_crd(control_plane)
    with config.new_client_from_config(str(control_plane.kubeconfig)) as connection:
        api = client.CustomObjectsApi(connection)

        def create(document: dict[str, Any]) -> str:
            try:
                api.create_namespaced_custom_object(
                    GROUP, VERSION, "default", PLURAL, document, dry_run="All", field_validation="Strict", _request_timeout=30
                )
            except ApiException as error:
                return str(json.loads(error.body or "{}")["message"])
            return ""

        yield create


def offline(document: dict[str, Any]) -> str:
    """What the models say against a document; empty when they accept it."""
    try:
        parse(document)
    except SpecError as error:
        return str(error)
    return ""


def _chosen() -> Iterator[Mutation]:
    every = (mutation for document in EVERY_FIELD for mutation in mutations(document))
    return islice(every, 0, None, STRIDE)


def test_every_field_is_accepted_by_the_server(create: Create) -> None:
    """What is mutated is valid as it stands."""
    assert [create(document) for document in EVERY_FIELD] == [""] * len(EVERY_FIELD)


def test_server_and_models_accept_the_same(create: Create) -> None:
    """Some six hundred documents, schema and rules together."""
    differing = [
        (mutation.name, server, models)
        for mutation in _chosen()
        if bool(server := create(mutation.document)) != bool(models := offline(mutation.document))
    ]

    assert differing == []


@pytest.mark.parametrize("metadata", METADATA, ids=json.dumps)
def test_metadata_is_read_alike(create: Create, metadata: dict[str, Any]) -> None:
    """Names, labels and annotations: Kubernetes' own rules, which the resource's schema does not hold."""
    document = with_change(a_search(), "metadata", {"name": "example", **metadata})

    assert bool(create(document)) == bool(offline(document))
