"""`autohas dashboard`: histories of searches as studies of Optuna, as a journal or served by optuna-dashboard.

While a search runs, its history grows: each question of the page for data then reads it again. The page asks by itself.
"""

from __future__ import annotations

import errno
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from socketserver import TCPServer, ThreadingMixIn
from typing import TYPE_CHECKING, Any, Final
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import optuna

from autohas_api.base.install_hint import install_hint
from autohas_trainer.cli.exits import UsageError
from autohas_trainer.errors import DataError
from autohas_trainer.events import HISTORY_FILE
from autohas_trainer.reporting.sinks.history import read_history
from autohas_trainer.reporting.sinks.result_files import read_result
from autohas_trainer.reporting.studies.journal import open_studies, read_journal, write_journal
from autohas_trainer.reporting.studies.trials import PastSearch, StudyTrials, studies_of

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

__all__ = ["Address", "Source", "resolve_sources", "serve", "write"]

_OUT: Final = Path("autohas-out")
_DATA: Final = "/api/"
"""Prefix of the paths by which the page asks for studies and trials."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where the page is served; port 0 is any that is free."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Source:
    """The folder of a search, or a journal of Optuna."""

    path: Path
    is_growing: bool = False
    """Whether the folder had no result when the command began."""

    @property
    def stamp(self) -> tuple[int, bool]:
        """What changes when there is more to read."""
        history = self.path / HISTORY_FILE
        return (history.stat().st_size if history.is_file() else 0, (self.path / "result.json").is_file())

    def read_search(self) -> PastSearch:
        """The search of a folder; one without a result has the folder's name.

        Raises:
            DataError: history or result are damaged, or of another version.
            OSError: the files cannot be read.
        """
        try:
            history = read_history(self.path, _whole_lines(self.path / HISTORY_FILE))
        except ValueError as error:
            raise DataError(str(error)) from error
        finished = read_result(self.path)
        name = self.path.absolute().name if finished is None or self.is_growing else finished.search.metadata.name
        return PastSearch(name=name, history=history, finished=finished)


def resolve_sources(targets: Sequence[str]) -> list[Source]:
    """Find what each target names: a folder, a journal, or a search whose folder is autohas-out/NAME.

    Raises:
        UsageError: there is none of them, or the folder has no history.
    """
    sources: dict[Path, Source] = {}
    for source in map(_resolve, targets):
        sources.setdefault(source.path.resolve(), source)
    return list(sources.values())


def _resolve(target: str) -> Source:
    path = next((path for path in (Path(target), _OUT / target) if path.exists()), None)
    if path is None:
        message = f"{target} is no folder, no file and not in {_OUT}. Of a search on a cluster that has succeeded, the folder is copied by"
        raise UsageError(f"{message} autohas fetch {Path(target).name}; then give this command {_OUT / Path(target).name}")
    if path.is_file():
        return Source(path)
    if not (path / HISTORY_FILE).is_file():
        raise UsageError(
            f"{path} holds no {HISTORY_FILE}: give the folder of a search, as autohas run writes and autohas fetch copies it, or a journal"
        )
    return Source(path, is_growing=not (path / "result.json").is_file())


def write(sources: Sequence[Source], path: Path) -> list[StudyTrials]:
    """Write one journal with the studies of all sources; returns them.

    Raises:
        UsageError: a source is this file, no file can be at this path, or no source has a comparison yet.
        DataError, OSError: see `Source.read_search`; the file cannot be written.
    """
    if any(source.path.absolute() == path.absolute() for source in sources):
        raise UsageError(f"{path} is one of the journals to read: choose another file with --out FILE")
    if path.is_dir() or not path.parent.is_dir():
        problem = "is a folder" if path.is_dir() else f"cannot be written, because {path.parent} is no folder"
        raise UsageError(f"{path} {problem}: choose a file with --out FILE")
    studies = [study for study in _read_all(sources) if study.trials]
    if not studies:
        raise UsageError(f"{_list(sources)}: no candidate has been compared yet; wait for the first comparison")
    write_journal(path, studies)
    return studies


def serve(sources: Sequence[Source], address: Address, say: Callable[[str], None]) -> None:
    """Serve the page until Ctrl-C; `say` gets its URL.

    Raises:
        UsageError: optuna-dashboard is not installed, or the address cannot be used.
        DataError, OSError: see `Source.read_search`.
    """
    application = _GrowingApplication(sources)
    try:
        server = make_server(address.host, address.port, application, server_class=_Server, handler_class=_QuietHandler)
    except OSError as error:
        raise UsageError(_address_sentence(address, error)) from error
    with server:
        say(f"http://{address.host}:{server.server_port}/dashboard/")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            return


def _address_sentence(address: Address, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {address.port} of {address.host} is in use: choose another with --port N, or --port 0 for any that is free"
    if error.errno == errno.EACCES:
        return f"port {address.port} of {address.host} is not for this user: choose one above 1023 with --port N"
    return f"--host {address.host}: no page can be served at this address ({error.strerror or error})"


class _GrowingApplication:
    """The WSGI application of optuna-dashboard, made again when the history of a running search has grown."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self._sources = sources
        self._lock = threading.Lock()
        self._stamps = self._take_stamps()
        self._application = _application(_read_all(sources))

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if str(environ.get("PATH_INFO", "")).startswith(_DATA):
            self._refresh()
        return self._application(environ, start_response)

    def _refresh(self) -> None:
        """Read the sources again if one has grown; what cannot be read now is read at the next question."""
        with self._lock:
            try:
                if (stamps := self._take_stamps()) != self._stamps:
                    self._application = _application(_read_all(self._sources))
                    self._stamps = stamps
            except (DataError, OSError):
                return

    def _take_stamps(self) -> list[tuple[int, bool]]:
        return [source.stamp for source in self._sources if source.is_growing]


def _application(studies: Iterable[StudyTrials]) -> WSGIApplication:
    try:
        from optuna_dashboard import wsgi  # noqa: PLC0415 - a package of an extra
    except ModuleNotFoundError as error:
        message = f"the page needs the package {error.name}, which is not installed: {install_hint('dashboard')}"
        raise UsageError(f"{message}; --out FILE needs no more than the trainer has") from error
    application: WSGIApplication = wsgi(open_studies(studies))
    return application


def _read_all(sources: Sequence[Source]) -> list[StudyTrials]:
    """All studies; where several searches have one name, each gets its folder: a storage of Optuna has each name once.

    Raises:
        UsageError: no source has a comparison, and none is growing.
        DataError, OSError: see `Source.read_search`.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # else each study is announced
    searches = {source: source.read_search() for source in sources if source.path.is_dir()}
    counts = Counter(search.name for search in searches.values())
    folders = Counter(source.path.name for source in sources)
    studies: dict[str, StudyTrials] = {}
    for source in sources:
        if (search := searches.get(source)) is None:
            read = read_journal(source.path)
        else:
            folder = source.path.name if folders[source.path.name] == 1 else str(source.path)
            name = search.name if counts[search.name] == 1 else f"{search.name} ({folder})"
            read = studies_of(replace(search, name=name), keep_empty=source.is_growing)
        for study in read:
            name = study.name if study.name not in studies else f"{study.name} ({source.path})"
            studies[name] = replace(study, name=name)
    if not studies:
        raise UsageError(f"{_list(sources)}: no candidate was compared, so there is nothing to show")
    return list(studies.values())


def _list(sources: Sequence[Source]) -> str:
    return ", ".join(str(source.path) for source in sources)


def _whole_lines(path: Path) -> int:
    """Length in bytes of the complete lines: the last may be half written by a search that runs."""
    return path.read_bytes().rfind(b"\n") + 1


class _Server(ThreadingMixIn, WSGIServer):
    """A browser opens several connections at once."""

    daemon_threads = True
    allow_reuse_address = True

    def server_bind(self) -> None:
        """Bind without asking the name service for this machine's name, which may take seconds."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = self.socket.getsockname()[:2]
        self.setup_environ()


class _QuietHandler(WSGIRequestHandler):
    """No line for each request."""

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002, ANN401 - the base class has them
        pass
