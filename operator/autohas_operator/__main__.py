"""`python -m autohas_operator`: settings, logs, and the operator until a signal ends it."""

from __future__ import annotations

import asyncio
import logging
import os
import sys

from autohas_api.base.install_hint import install_hint
from autohas_api.base.text_encoding import use_utf8

try:
    import structlog

    from autohas_operator.errors import OperatorError
    from autohas_operator.process.application import run
    from autohas_operator.settings import read_settings
except ModuleNotFoundError as error:
    if (error.name or "autohas").startswith("autohas"):
        raise
    sys.exit(f"the package {error.name} is not installed; the operator needs it: {install_hint('operator')}")


def configure_logs(level: str) -> None:
    """One JSON object per line on standard error, kopf's lines included."""
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, structlog.processors.JSONRenderer()],
        )
    )
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.getLogger("kopf.objects").setLevel(logging.WARNING)  # a line per event of each object


def main() -> int:
    """The process: 0 after a signal, 1 when the operator cannot go on."""
    use_utf8(always=True)
    log = structlog.get_logger(__name__)
    try:
        settings = read_settings(sys.argv[1:], os.environ)
        configure_logs(settings.log_level)
        while asyncio.run(run(settings)):
            log.info("restarting: the readable namespaces have changed")
    except OperatorError as error:
        log.error("operator failed", error=str(error))  # noqa: TRY400 - the sentence says it all
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
