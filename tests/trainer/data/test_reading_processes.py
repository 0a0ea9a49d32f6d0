"""Processes that read: they answer, they say how they ended, and none is left behind."""

import os
import signal
from collections.abc import Iterator

import pytest

from autohas_api.base.exit_codes import ExitCode
from autohas_trainer.cli.exits import exit_of
from autohas_trainer.data.examples.reading_processes import ReadingProcesses
from autohas_trainer.errors import DataError
from reading_fixtures import Squares


@pytest.fixture
def processes() -> Iterator[ReadingProcesses]:
    """One process, ended after the test."""
    made = ReadingProcesses(Squares(), 1)
    yield made
    made.close()


def test_they_answer_in_another_process_and_raise_what_the_reader_raises(processes: ReadingProcesses) -> None:
    """Signals to the whole group do not end them, an error of one request leaves the next one alone, and closing ends them in order."""
    square, pid = processes.submit(7).result()
    assert square == 49
    assert pid != os.getpid()
    for number in (signal.SIGTERM, signal.SIGINT):  # Ctrl-C and `timeout` signal the whole group; the parent decides
        os.kill(pid, number)
        os.kill(processes._process.pid, number)
    with pytest.raises(DataError, match="row -1 cannot be read"):
        processes.submit(-1).result()
    assert processes.submit(3).result() == (9, pid)
    processes.close()
    assert processes._process.returncode == 0  # it saw the end of its socket, as it does when the parent is killed


_KILLED = r"a process that reads the data was killed \(signal 9\), probably because memory was full: lower task\.data\.workers"


def test_a_killed_process_is_a_sentence_with_exit_code_1(processes: ReadingProcesses) -> None:
    """The kernel kills what takes too much memory: no hang and no traceback, and the Job may try again from the checkpoint."""
    with pytest.raises(ChildProcessError, match=_KILLED) as error:
        processes.submit("kill").result()
    end = exit_of(error.value)
    assert (end.code, end.is_bug) == (ExitCode.BUG, False)
    assert "continues from its last checkpoint" in end.sentence
