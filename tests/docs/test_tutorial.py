"""The tutorial is followed literally: its commands run in order, as they stand, from nothing, against local servers."""

import json
import os
import re
import shlex
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import pytest

from local_cloud.processes import free_port
from tests.docs.pages import ROOT, Block, blocks, text_of

PAGE: Final = "docs/tutorial.md"
# Commands that keep a terminal busy, and the words by which the page knows that they are ready.
_SERVERS: Final = {"python -m local_cloud": "Ready.", "airflow standalone": "Airflow is ready"}
_EXPORTS: Final = re.compile(r"^export .*$", re.MULTILINE)
_NOT_YET: Final = ("AIRFLOW", "AWS_", "AZURE_", "PYTHON", "S3_", "VIRTUAL_ENV")
_END_S: Final = 300.0


class Terminal:
    """A shell that takes one command after the other and keeps variables, as a terminal does.

    Args:
        home: Its home directory.
    """

    def __init__(self, home: Path) -> None:
        port = free_port()
        self._home = home
        self._servers: list[int] = []
        self._shell = subprocess.Popen(
            ["bash"],
            cwd=ROOT,
            env={
                # A reader's terminal has proxies and certificates, but no environment and no cloud yet.
                **{name: value for name, value in os.environ.items() if not name.startswith(_NOT_YET)},
                "PATH": os.pathsep.join(path for path in os.get_exec_path() if not path.startswith(str(ROOT))),
                "HOME": str(home),
                # Other tests, and the developer's own Airflow, run beside this one.
                "AIRFLOW__API__PORT": str(port),
                "AIRFLOW__API__BASE_URL": f"http://127.0.0.1:{port}",
                "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{port}/execution/",
                "AIRFLOW__CORE__PARALLELISM": "4",
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, command: str) -> tuple[int, str]:
        """Run a command; return its exit status and what it printed."""
        assert self._shell.stdin is not None
        assert self._shell.stdout is not None
        (self._home / "command").write_text(command)
        self._shell.stdin.write('. "$HOME/command" </dev/null; printf "\\nSTATUS %s\\n" $?\n')
        self._shell.stdin.flush()
        printed: list[str] = []
        for line in self._shell.stdout:
            if line.startswith("STATUS "):
                return int(line.split()[1]), "".join(printed)
            printed.append(line)
        raise AssertionError(f"The shell ended in {command}: {printed}")

    def serve(self, command: str, ready: str) -> str:
        """Start a command that does not end; return what it has printed when it is ready."""
        log = self._home / f"{len(self._servers)}.log"
        log.touch()
        status, printed = self.run(f"set -m; {command} >{shlex.quote(str(log))} 2>&1 & set +m; echo PID $!")
        assert status == 0, printed
        self._servers.append(int(printed.rpartition("PID ")[2]))
        deadline = time.monotonic() + _END_S
        while ready not in log.read_text(errors="replace"):
            assert time.monotonic() < deadline, log.read_text(errors="replace")[-2_000:]
            time.sleep(0.2)
        return log.read_text(errors="replace")

    def close(self) -> None:
        """Stop all that was started; the last one first."""
        for group in [*reversed(self._servers), self._shell.pid]:
            try:
                os.killpg(group, signal.SIGTERM)
            except ProcessLookupError:
                continue
        assert self._shell.stdin is not None
        assert self._shell.stdout is not None
        self._shell.stdin.close()
        self._shell.stdout.close()
        self._shell.wait(timeout=30)


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    """Return a terminal whose programs are stopped at the end."""
    terminal = Terminal(tmp_path)
    yield terminal
    terminal.close()


def _file_of(block: Block, home: Path) -> Path:
    """Return where the sentence before a Python block says that it belongs."""
    before = "\n".join(text_of(PAGE).splitlines()[: block.line - 1])
    *_, path = re.finditer(r"`\$AIRFLOW_HOME/(\S+\.py)`", before)
    return home / "airflow-tutorial" / path[1]


def _lines(block: Block) -> list[str]:
    return [line for line in block.text.replace("\\\n", " ").splitlines() if line]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_tutorial_works_as_it_stands(terminal: Terminal, tmp_path: Path) -> None:
    """From no container, no connection and no Airflow to a night whose blobs are equal; the dry run copies nothing."""
    said = {}
    for block in [each for each in blocks("sh", "python") if each.page == PAGE]:
        if block.language == "python":
            _file_of(block, tmp_path).write_text(block.text, encoding="utf-8")
            continue
        for line in _lines(block):
            server = next((start for start in _SERVERS if line.startswith(start)), None)
            if server is not None:
                exports = "\n".join(_EXPORTS.findall(terminal.serve(line, _SERVERS[server])))
                assert exports.count("export ") == (5 if server == "python -m local_cloud" else 0)
                assert terminal.run(exports)[0] == 0
                continue
            if line.startswith("airflow dags list-runs"):
                _wait_for_the_runs(tmp_path / "airflow-tutorial" / "airflow.db")
            status, printed = terminal.run(line)
            # `timeout` answers so when it had to stop the command.
            assert status == (124 if line.startswith("timeout ") else 0), f"{block}: {line}\n{printed}"
            said[line] = printed

    def printed_by(*words: str) -> str:
        return next(text for line, text in said.items() if all(word in line for word in words))

    assert "customers.csv" in printed_by("ls s3://backups")
    assert _receipt(printed_by("copy", "customers.csv"))["status"] == "copied"
    assert _receipt(printed_by("copy", "backup.tar", "--json"))["blocks_resumed"] > 0
    dry = printed_by("dags test", "dry_run")
    assert "To copy:   22 objects" in dry
    assert "Dry run: nothing is copied" in dry
    runs = printed_by("dags list-runs")
    # The dry run's own, and the one that was triggered: no night was made up for.
    assert runs.count("manual__") == runs.count("success") == 2
    assert "scheduled__" not in runs
    assert printed_by("verify s3://backups/daily/ ").count("equal") == 22 + 1
    assert "Unchanged: 22 objects" in list(said.values())[-1]


def _receipt(printed: str) -> dict[str, Any]:
    return dict(json.loads(next(line for line in printed.splitlines() if line.startswith("{"))))


def _wait_for_the_runs(database: Path) -> None:
    """Wait as a reader does, without the seconds that each of Airflow's commands takes."""
    deadline = time.monotonic() + _END_S
    while True:
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
            states = [state for (state,) in connection.execute("SELECT state FROM dag_run")]
        if set(states) <= {"success", "failed"}:
            return
        assert time.monotonic() < deadline, states
        time.sleep(0.5)
