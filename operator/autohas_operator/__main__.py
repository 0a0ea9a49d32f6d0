"""`python -m autohas_operator`: read the settings, configure the logs, and run the operator until a signal stops it."""

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
    """Write one JSON object per line to standard error, also for kopf's lines."""
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
    logging.getLogger("kopf.objects").setLevel(logging.WARNING)  # at INFO kopf writes a line for every watch event


def main() -> int:
    """Run the operator; returns exit code 0 after a signal and 1 after an error."""
    use_utf8(always=True)
    log = structlog.get_logger(__name__)
    try:
        settings = read_settings(sys.argv[1:], os.environ)
        configure_logs(settings.log_level)
        while asyncio.run(run(settings)):
            log.info("operator restarted", message="the set of readable namespaces has changed")
    except OperatorError as error:
        log.error("operator failed", error=str(error))  # noqa: TRY400 - the error's sentence needs no traceback
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
