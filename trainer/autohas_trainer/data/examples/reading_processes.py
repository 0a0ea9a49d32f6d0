"""Processes that read examples meanwhile: each gets requests and returns what a reader makes of them.

One child with its own interpreter loads the reader and forks the others, so that they share its memory; each is joined to
this process by a socket. They are not torch's DataLoader, because

- a supernet takes three streams of batches in turns, and a DataLoader has one;
- its forks of a process with threads may lock up, and its spawned workers import the user's script a second time;
- its tensors lie in /dev/shm, which is 64 MiB in a pod;
- a process that reads from a socket ends when the other end does, even by kill -9.

Which process reads what, and when, does not change a result: a reader is a function of its request.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import subprocess
import sys
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from multiprocessing.connection import Connection, Pipe
from queue import SimpleQueue
from typing import Any, Final, NoReturn, Protocol, TypeAlias

__all__ = ["Reader", "ReadingProcesses", "main"]

_SECONDS_TO_END: Final = 5
_SIGNALLED: Final = 128
"""Added to the number of a signal: the exit code of a shell whose command was killed."""
_MEMORY_IS_FULL: Final = "a process that reads the data ran out of memory; lower task.data.workers, or give the trainer more memory"

Free: TypeAlias = "SimpleQueue[Connection[Any, Any]]"
"""Connections to the processes that have nothing to do."""


class Reader(Protocol):
    """What is sent to the processes; it and its requests can be pickled."""

    def prepare(self) -> None:
        """Load what every process needs."""

    def read(self, request: Any) -> Any:  # noqa: ANN401 - its own
        """Return what the request asks for."""


class ReadingProcesses:
    """A fixed number of processes, each with a thread that hands it one request after another; they start with the first request.

    Of 0 processes, requests are answered at once in this one.
    """

    def __init__(self, reader: Reader, number: int) -> None:
        """`reader` answers in each process."""
        self.number = number
        self._reader = reader
        self._threads: ThreadPoolExecutor | None = None
        self._end: Callable[[], Any] = _do_nothing

    def submit(self, request: Any) -> Future[Any]:  # noqa: ANN401 - the reader's
        """Have the next free process answer.

        The future raises what the reader raised, and ChildProcessError when a process was killed.
        """
        if not self.number:
            return _answer_here(self._reader, request)
        if self._threads is None:
            self._start()
        assert self._threads is not None  # noqa: S101 - just started
        return self._threads.submit(_ask, self._free, self._process, request)

    def close(self) -> None:
        """End the processes; a later request starts them again."""
        self._end()
        self._threads = None

    def _start(self) -> None:
        here, there = zip(*(Pipe() for _ in range(self.number)), strict=True)
        self._free: Free = SimpleQueue()
        for connection in here:
            self._free.put(connection)
        files = [connection.fileno() for connection in there]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-c", f"from {__name__} import main; main()", *map(str, files)]
        self._process = subprocess.Popen(command, pass_fds=files, stdin=subprocess.DEVNULL, env=environment)  # noqa: S603 - our own module
        for connection in there:
            connection.close()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the first request then says how the process ended
            here[0].send(self._reader)
        self._threads = ThreadPoolExecutor(self.number, thread_name_prefix="read")
        self._end = weakref.finalize(self, _end, self._threads, self._process, here)


def _do_nothing() -> None:
    """Nothing has been started yet."""


def _answer_here(reader: Reader, request: Any) -> Future[Any]:  # noqa: ANN401 - the reader's
    answer: Future[Any] = Future()
    try:
        answer.set_result(reader.read(request))
    except Exception as error:  # noqa: BLE001 - the caller raises it
        answer.set_exception(error)
    return answer


def _ask(free: Free, process: subprocess.Popen[bytes], request: Any) -> Any:  # noqa: ANN401 - the reader's
    """Let a free process answer."""
    connection = free.get()
    try:
        connection.send(request)
        is_sound, answer = connection.recv()
    except (EOFError, OSError) as error:
        raise ChildProcessError(_describe_end(process)) from error
    finally:
        free.put(connection)
    if not is_sound:
        raise answer
    return answer


def _describe_end(process: subprocess.Popen[bytes]) -> str:
    """Say how a process ended that should not have, and what to do."""
    try:
        code = process.wait(_SECONDS_TO_END)
    except subprocess.TimeoutExpired:
        code = 0
    if code in {-signal.SIGKILL, _SIGNALLED + signal.SIGKILL}:
        return (
            "a process that reads the data was killed (signal 9), probably because memory was full: lower task.data.workers, or give the"
            " trainer more memory; the search continues from its last checkpoint"
        )
    return f"a process that reads the data ended (exit code {code}); start the search again, it continues from its last checkpoint"


def _end(threads: ThreadPoolExecutor, process: subprocess.Popen[bytes], connections: Sequence[Connection[Any, Any]]) -> None:
    """End the processes: they see the end of their sockets."""
    threads.shutdown(wait=True, cancel_futures=True)
    for connection in connections:
        connection.close()
    try:
        process.wait(_SECONDS_TO_END)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _serve(reader: Reader, connection: Connection[Any, Any]) -> None:
    """Answer requests until the other end is closed."""
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):  # the parent has closed the socket, or is no more
        while True:
            request = connection.recv()
            try:
                answer = (True, reader.read(request))
            except MemoryError:
                answer = (False, ChildProcessError(_MEMORY_IS_FULL))
            except Exception as error:  # noqa: BLE001 - the parent raises it
                answer = (False, _portable(error))
            connection.send(answer)


def _portable(error: Exception) -> Exception:
    """Return the error, or its text where it cannot be sent."""
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    except Exception:  # noqa: BLE001 - whatever its class does
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


def main() -> NoReturn:
    """Serve the sockets whose numbers are the arguments."""
    os._exit(_serve_all([int(file) for file in sys.argv[1:]]))


def _serve_all(files: Sequence[int]) -> int:
    """Fork a process for each socket and wait for their ends; return the exit code, that of the first that did not end in order."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the parent alone decides when to stop, also when a signal goes to the whole group
    connections = [Connection(file) for file in files]
    try:
        reader: Reader = connections[0].recv()
    except EOFError:
        return 0
    reader.prepare()
    for own in connections:
        if os.fork() == 0:
            for connection in connections:
                if connection is not own:
                    connection.close()
            _serve(reader, own)
            os._exit(0)  # at once, without the seconds in which torch takes itself apart
    for connection in connections:
        connection.close()
    with contextlib.suppress(ChildProcessError):  # all have ended
        while True:
            _, status = os.wait()
            code = os.waitstatus_to_exitcode(status)
            if code != 0:
                return code if code > 0 else _SIGNALLED - code
    return 0
