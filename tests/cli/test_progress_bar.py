"""Progress on stderr: when it is a bar, what it says, and that it takes nothing from stdout."""

import json
import os
import pty
import subprocess
import sys
import threading
from dataclasses import asdict
from pathlib import Path

import pytest

from s3_to_azure.cli import progress_bar
from s3_to_azure.cli.progress_bar import _amount, _objects, _rate, has_bar, show_progress
from s3_to_azure.model.progress import Progress, Totals

_PLUGINS = Path(__file__).resolve().parents[2] / "plugins"
# Receipts go to a pipe while the bar is on a terminal.
_PROGRAM = """
import sys, time
from s3_to_azure.cli.progress_bar import show_progress
from s3_to_azure.model.progress import Progress
progress = Progress(objects_total=3, bytes_total=4_000_000)
with show_progress(progress):
    for _ in range(8):
        time.sleep(0.15)
        progress.add(bytes_sent=500_000)
        print("receipt", flush=True)
"""


@pytest.mark.parametrize(
    ("terminal", "quiet", "term", "expected"),
    [
        (True, False, "xterm", True),
        (True, True, "xterm", False),
        (True, False, "dumb", False),
        (False, False, "xterm", False),
    ],
)
def test_bar_needs_a_terminal(
    monkeypatch: pytest.MonkeyPatch, terminal: bool, quiet: bool, term: str, expected: bool
) -> None:
    """A file, a pipe and a terminal without cursor movement get no bar."""
    monkeypatch.setattr("sys.stderr.isatty", lambda: terminal)
    monkeypatch.setenv("TERM", term)
    assert has_bar(quiet=quiet) is expected


@pytest.mark.parametrize(
    ("totals", "says"),
    [
        (Totals(), "listing"),
        (Totals(objects_total=1), "0 of 1 object"),
        (Totals(objects_total=1_200, objects_done=7), "7 of 1,200 objects"),
        (Totals(objects_total=10, objects_done=7, objects_failed=2), "9 of 10 objects, 2 failed"),
    ],
)
def test_objects(totals: Totals, says: str) -> None:
    """Failed objects count as finished, and are named."""
    assert _objects(totals) == says


def test_bytes_and_rate() -> None:
    """Bytes already in Azure count as done; what is not known yet is left out."""
    assert _amount(Totals()) == ""
    assert _amount(Totals(bytes_total=3 << 20, bytes_sent=1 << 20, bytes_resumed=1 << 20)) == "2.0 MiB of 3.0 MiB"
    assert _rate(None, None) == ""
    assert _rate(5 * 2**20, None) == "5.0 MiB/s"
    assert _rate(5 * 2**20, 125.0) == "5.0 MiB/s, 2 min 5 s left"


def test_lines_where_there_is_no_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A log gets a line now and then, on stderr."""
    printed = threading.Event()
    monkeypatch.setattr(progress_bar, "_LINE_EVERY_S", 0.01)

    def objects(totals: Totals) -> str:
        printed.set()
        return _objects(totals)

    monkeypatch.setattr(progress_bar, "_objects", objects)
    progress = Progress(objects_total=5)
    progress.add(objects_done=2, bytes_sent=1_000, bytes_resumed=2_000, retries=1)
    with show_progress(progress):
        assert printed.wait(60)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("2 of 5 objects, 1,000 bytes sent (")
    assert "/s), 2.0 KiB already in Azure, 1 retry\n" in err


def test_the_rate_counts_what_arrives(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Under a limit a block arrives over many seconds before Azure confirms it at once."""
    monkeypatch.setattr(progress_bar, "_LINE_EVERY_S", 0.01)
    progress = Progress(objects_total=1)
    progress.add(bytes_read=10**15)
    printed = threading.Event()

    def end_of_line(_: Totals) -> str:
        printed.set()
        return ""

    monkeypatch.setattr(progress_bar, "resumed_text", end_of_line)
    with show_progress(progress):
        assert printed.wait(60)
    assert "0 of 1 object, 0 bytes sent (" in (err := capsys.readouterr().err)
    assert "(0 bytes/s)" not in err


def test_documents_for_a_program(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Each line is JSON, and the last one has the totals of the end."""
    monkeypatch.setattr(progress_bar, "_DOCUMENT_EVERY_S", 0.01)
    progress = Progress(objects_total=5)
    with show_progress(progress, "json"):
        progress.add(objects_done=2, bytes_sent=1_000)
    out, err = capsys.readouterr()
    assert out == ""
    last = [json.loads(line) for line in err.splitlines()][-1]
    assert last.pop("seconds") >= 0
    assert last == asdict(progress.snapshot())
    assert last["bytes_sent"] == 1_000


@pytest.mark.parametrize(("kind", "quiet"), [("none", False), ("json", True), ("lines", True)])
def test_no_progress(monkeypatch: pytest.MonkeyPatch, kind: str, quiet: bool) -> None:
    """Nothing runs where nothing is wanted."""
    monkeypatch.setattr(threading, "Thread", None)
    with show_progress(Progress(), kind, quiet=quiet) as shown:
        assert shown is None


def test_bar_is_never_broken_into_two_lines() -> None:
    """The line of an object erases one line above which the next bar is drawn: on a narrow terminal too."""
    shown, _ = run_on_terminal(_PROGRAM, columns=40)
    assert b"0 of 3 o" in shown
    # At the end the bar's own line is removed.
    assert shown.count(b"\x1b[1A") == 1


def test_quiet_shows_nothing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """No thread is started."""
    monkeypatch.setattr(threading, "Thread", None)
    with show_progress(Progress(), quiet=True):
        pass
    assert capsys.readouterr() == ("", "")


def run_on_terminal(program: str, *, columns: int) -> tuple[bytes, bytes]:
    """Run a program whose stderr is a terminal; return what the terminal shows, and its stdout."""
    terminal, stderr = pty.openpty()
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(_PLUGINS), "TERM": "xterm", "COLUMNS": str(columns)}
    shown = bytearray()

    def read() -> None:
        # Linux answers with an error once the other side is closed.
        try:
            while piece := os.read(terminal, 10_000):
                shown.extend(piece)
        except OSError:
            pass

    reader = threading.Thread(target=read)
    reader.start()
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, stdout=subprocess.PIPE, stderr=stderr, check=True
    )
    os.close(stderr)
    reader.join()
    os.close(terminal)
    return bytes(shown), done.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals")
def test_bar_leaves_stdout_alone() -> None:
    """The receipts go to stdout and not to the bar's terminal."""
    shown, out = run_on_terminal(_PROGRAM, columns=100)
    assert out == b"receipt\n" * 8
    assert b"receipt" not in shown
    assert b"0 of 3 objects" in shown
    assert b"of 3.8 MiB" in shown
