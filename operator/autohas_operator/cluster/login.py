"""Credentials, read once for both clients: the official client, and kopf's watches.

In a pod the official client reads the service account's token again every minute; kopf asks for it every ten minutes.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

import kopf
from kubernetes.aio.client import Configuration
from kubernetes.aio.config import ConfigException, load_incluster_config, load_kube_config

from autohas_operator.errors import OperatorError

RENEWAL: Final = timedelta(minutes=10)
"""Tokens of service accounts are valid for an hour; an early renewal avoids answers with status 401."""
PARALLEL_REQUESTS: Final = 50


class LoginError(OperatorError):
    """There are no usable credentials; the message says where the operator looked."""


async def configuration(kubeconfig: str) -> Configuration:
    """Address and credentials from this file, or from the pod's service account if `kubeconfig` is empty.

    Raises:
        LoginError: there are no usable credentials.
    """
    loaded = Configuration()
    loaded.connection_pool_maxsize = PARALLEL_REQUESTS
    try:
        if kubeconfig:
            await load_kube_config(config_file=kubeconfig, client_configuration=loaded, persist_config=False)  # type: ignore[no-untyped-call]  # the generated client has no annotations here
        else:
            load_incluster_config(client_configuration=loaded)  # type: ignore[no-untyped-call]  # as above
    except (ConfigException, OSError) as error:
        where = f"kubeconfig {kubeconfig}" if kubeconfig else "the pod's service account (outside a cluster, set --kubeconfig)"
        raise LoginError(f"no credentials in {where}: {error}") from error
    return loaded


async def connection_info(loaded: Configuration) -> kopf.ConnectionInfo:
    """The same credentials in the type that kopf takes."""
    header = await loaded.get_api_key_with_prefix("BearerToken") or ""
    token = header.split(" ", 1)[-1].strip()
    return kopf.ConnectionInfo(
        server=loaded.host,
        ca_path=loaded.ssl_ca_cert or None,
        insecure=not loaded.verify_ssl,
        username=loaded.username or None,
        password=loaded.password or None,
        token=token or None,
        certificate_path=loaded.cert_file or None,
        private_key_path=loaded.key_file or None,
        expiration=datetime.now(UTC) + RENEWAL,
    )
