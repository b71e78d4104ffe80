"""The lines of a command: complete, soon, and without one write per line."""

import io
import json
import os
import select
import sys
import threading
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TextIO

import pytest

from s3_to_azure.cli.output import (
    ERASE_LINE,
    ResultPrinter,
    open_closed_streams,
    print_copy_summary,
    print_failure_groups,
    print_message,
    print_verify_summary,
)
from s3_to_azure.model.errors import Cancelled, TransferError
from s3_to_azure.model.objects import Receipt
from s3_to_azure.model.progress import Totals
from s3_to_azure.model.reasons import STATUSES, FailureGroups, Status

RECEIPT = Receipt(
    "bucket", "p/\u00fc \U0001f600\n", "etag", 3, "container", "b", "copied", verified_by="crc64nvme", seconds=0.125
)


class Output(io.StringIO):
    """A stream that keeps each write."""

    def __init__(self, *, terminal: bool = False) -> None:
        """Make an empty stream."""
        super().__init__()
        self.writes: list[str] = []
        self._terminal = terminal

    def isatty(self) -> bool:
        """Say whether it is a terminal."""
        return self._terminal

    def write(self, text: str) -> int:
        """Keep the write."""
        self.writes.append(text)
        return super().write(text)


def test_json_line_is_the_receipt() -> None:
    """One document per line, with the receipt's fields in their order, whatever the key."""
    out = Output()
    odd = replace(RECEIPT, key="half a pair: \udcff", status="failed", reason='"quoted"')
    with ResultPrinter(json=True, out=out) as printer:
        printer.print(RECEIPT)
        printer.print(odd)
    first, second = out.getvalue().splitlines()
    assert first == json.dumps(RECEIPT.as_dict(), ensure_ascii=False, separators=(",", ":"))
    assert json.loads(second) == odd.as_dict()


def test_lines_for_people() -> None:
    """Status, size, key, and the proof or the reason."""
    out = Output()
    with ResultPrinter(json=False, out=out) as printer:
        printer.print(replace(RECEIPT, size_bytes=12_345))
        printer.print(replace(RECEIPT, key="half a pair: \udcff", status="failed", reason="why \udcff", verified_by=""))
    first, second = out.getvalue().splitlines()
    assert first.split() == ["copied", "12,345", "'p/\u00fc", "\U0001f600\\n'", "[crc64nvme]"]
    assert second.startswith("failed ")
    assert second.endswith(r"why \udcff")


def test_lines_to_a_pipe_are_written_in_groups() -> None:
    """A thousand lines are a few writes, in order and none twice."""
    out = Output()
    with ResultPrinter(json=True, out=out) as printer:
        for number in range(1_000):
            printer.print(replace(RECEIPT, key=str(number)))
    assert len(out.writes) < 50
    assert [json.loads(line)["key"] for line in out.getvalue().splitlines()] == [str(n) for n in range(1_000)]


def test_line_to_a_terminal_is_written_at_once() -> None:
    """A person sees each object as it is done."""
    out = Output(terminal=True)
    with ResultPrinter(json=False, out=out) as printer:
        printer.print(RECEIPT)
        assert len(out.writes) == 1


def test_single_line_reaches_a_pipe_soon() -> None:
    """The reader gets it while the command goes on, although no other line follows."""
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as out, ResultPrinter(json=True, out=out) as printer:
        printer.print(RECEIPT)
        assert select.select([reading], [], [], 60)[0], "no line came"
        assert os.read(reading, 10_000).endswith(b"\n")
    os.close(reading)


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_buffered_lines_are_printed_after_an_error(error: type[BaseException]) -> None:
    """Nothing is lost when the command is stopped or fails."""
    out = Output()

    def run() -> None:
        with ResultPrinter(json=True, out=out) as printer:
            printer.print(RECEIPT)
            raise error

    with pytest.raises(error):
        run()
    assert len(out.getvalue().splitlines()) == 1


def print_without_reader(count: int, *, wait_for_timer: bool = False) -> None:
    """Print ``count`` lines into a pipe without a reader."""
    reading, writing = os.pipe()
    os.close(reading)
    out = os.fdopen(writing, "w")
    try:
        with ResultPrinter(json=True, out=out) as printer:
            for _ in range(count):
                printer.print(RECEIPT)
                if wait_for_timer:
                    printer._timer.join(60)
    finally:
        with suppress(BrokenPipeError):
            out.close()


@pytest.mark.parametrize("count", [1, 10_000])
def test_missing_reader_is_an_error(count: int) -> None:
    """The command ends with a broken pipe, whether a full group or the last one found it."""
    with pytest.raises(BrokenPipeError):
        print_without_reader(count)


@pytest.mark.parametrize("count", [1, 2])
def test_missing_reader_found_by_the_timer_is_an_error(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """The timer's thread hands the error to the command."""
    monkeypatch.setattr("s3_to_azure.cli.output._FLUSH_EVERY_S", 0.01)
    with pytest.raises(BrokenPipeError):
        print_without_reader(count, wait_for_timer=True)


def print_with_spare(count: int, out: TextIO) -> tuple[ResultPrinter, str]:
    """Print ``count`` receipts into a stream, with a spare one; return the printer, and what the spare one got."""
    spare = io.StringIO()
    with ResultPrinter(json=True, out=out, spare=spare) as printer:
        for number in range(count):
            printer.print(replace(RECEIPT, key=str(number)))
    return printer, spare.getvalue()


@pytest.mark.parametrize("count", [1, 3, 10_000])
def test_receipts_are_not_lost_with_the_pipe(capsys: pytest.CaptureFixture[str], count: int) -> None:
    """Where the reader has gone, a sentence says so, and every receipt goes to the spare stream."""
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as out:
        printer, spared = print_with_spare(count, out)
    assert printer.has_failed
    assert [json.loads(line)["key"] for line in spared.splitlines()] == [str(number) for number in range(count)]
    assert capsys.readouterr().err == (
        "s3-to-azure: The output cannot be written: Broken pipe. "
        "The results follow on standard error, some perhaps twice.\n"
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full is Linux's")
def test_full_disk_below_stdout_is_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    """The receipts go to the spare stream, and nothing is raised when the stream is closed."""
    with Path("/dev/full").open("w", encoding="utf-8") as out:
        printer, spared = print_with_spare(2, out)
    assert printer.has_failed
    assert len(spared.splitlines()) == 2
    assert "The output cannot be written: No space left on device." in capsys.readouterr().err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full is Linux's")
def test_full_disk_is_an_error_without_a_spare_stream() -> None:
    """A command that only prints ends with it."""
    out = Path("/dev/full").open("w", encoding="utf-8")  # noqa: SIM115 - closed below
    full = pytest.raises(TransferError, match=r"cannot be written: No space left on device\.")
    with out, full, ResultPrinter(json=True, out=out) as printer:
        printer.print(RECEIPT)


def test_results_after_a_failure_of_both_streams_are_no_error() -> None:
    """The copy goes on, and its exit status tells."""
    streams = []
    for _ in range(2):
        reading, writing = os.pipe()
        os.close(reading)
        streams.append(os.fdopen(writing, "w"))
    with streams[0], streams[1], ResultPrinter(json=True, out=streams[0], spare=streams[1]) as printer:
        printer.print(RECEIPT)
    assert printer.has_failed


def test_slow_reader_does_not_hold_a_command_that_was_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    """The printer is closed although another thread is still writing."""
    monkeypatch.setattr("s3_to_azure.cli.output._LAST_FLUSH_S", 0.01)
    out = Output()
    printer = ResultPrinter(json=True, out=out)
    printer.print(RECEIPT)
    with printer._lock:
        printer.__exit__(Cancelled, Cancelled.now(), None)
    assert out.writes == []


@pytest.mark.parametrize("error", [None, RuntimeError("a worker process ended")])
def test_slow_reader_gets_all_lines(monkeypatch: pytest.MonkeyPatch, error: Exception | None) -> None:
    """The command ends after the reader has taken what another thread is writing, and what is buffered."""
    monkeypatch.setattr("s3_to_azure.cli.output._FLUSH_EVERY_S", 0.01)
    monkeypatch.setattr("s3_to_azure.cli.output._LAST_FLUSH_S", 0.01)
    writing, reads = threading.Event(), threading.Event()

    class Slow(Output):
        def write(self, text: str) -> int:
            writing.set()
            reads.wait()
            return super().write(text)

    out = Slow()
    printer = ResultPrinter(json=True, out=out).__enter__()
    printer.print(RECEIPT)
    writing.wait()
    reader = threading.Timer(0.1, reads.set)
    reader.start()
    printer.__exit__(type(error) if error else None, error, None)
    assert len(out.writes) == 1
    reader.join()


ENCODINGS = ["ascii", "latin-1", "utf-8", "utf-16"]
ODD_KEYS = ["k/\u65e5\u672c", "k/\U0001f600", "k/\u00fc", "k/\n", 'k/"\\', "half a pair: \udcff"]


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("as_json", [True, False])
def test_any_key_can_be_printed_in_any_encoding(encoding: str, as_json: bool) -> None:
    """A character that the encoding does not have is escaped; a JSON document stays the same document."""
    written = io.BytesIO()
    out = io.TextIOWrapper(written, encoding=encoding)
    receipts = [replace(RECEIPT, key=key) for key in ODD_KEYS]
    with ResultPrinter(json=as_json, out=out) as printer:
        for receipt in receipts:
            printer.print(receipt)
    lines = written.getvalue().decode(encoding).splitlines()
    assert len(lines) == len(receipts)
    if as_json:
        assert [json.loads(line) for line in lines] == [receipt.as_dict() for receipt in receipts]
    else:
        assert all(line.startswith("copied ") for line in lines)


def test_closed_streams_are_opened_onto_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that was started with closed streams runs, and prints nowhere."""
    names = ("stdin", "stdout", "stderr")
    for name in names:
        monkeypatch.setattr(sys, name, None)
    open_closed_streams()
    opened = [getattr(sys, name) for name in names]
    assert opened[1].write("nowhere")
    assert opened[0].read() == ""
    for stream in opened:
        stream.close()


@pytest.mark.parametrize(("terminal", "beside_bar", "erased"), [(True, True, 1), (True, False, 0), (False, True, 0)])
def test_bar_is_erased_before_a_line(
    monkeypatch: pytest.MonkeyPatch, terminal: bool, beside_bar: bool, erased: int
) -> None:
    """On one terminal a line would go on where the bar ends; a file or a pipe gets no control characters."""
    monkeypatch.setenv("NO_COLOR", "1")
    out = Output(terminal=terminal)
    with ResultPrinter(json=False, beside_bar=beside_bar, out=out) as printer:
        printer.print(RECEIPT)
    assert out.getvalue().count(ERASE_LINE) == erased
    assert out.getvalue().startswith(ERASE_LINE * erased + ("\u2713 " if terminal else "") + "copied")


@pytest.mark.parametrize(
    ("status", "encoding", "variables", "begins"),
    [
        ("copied", "utf-8", {}, "\x1b[32m\u2713 copied   \x1b[0m "),
        ("failed", "utf-8", {}, "\x1b[31m\u2717 failed   \x1b[0m "),
        ("failed", "ascii", {}, "\x1b[31mfailed   \x1b[0m "),
        ("failed", "utf-8", {"NO_COLOR": "1"}, "\u2717 failed    "),
        ("failed", "utf-8", {"TERM": "dumb"}, "\u2717 failed    "),
        ("unchanged", "utf-8", {}, "\x1b[2m= unchanged\x1b[0m "),
        ("skipped", "utf-8", {}, "\x1b[33m- skipped  \x1b[0m "),
    ],
)
def test_colours_and_symbols(
    monkeypatch: pytest.MonkeyPatch, status: Status, encoding: str, variables: dict[str, str], begins: str
) -> None:
    """A terminal shows them, as far as it can and the user wants."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    for name, value in ({"TERM": "xterm"} | variables).items():
        monkeypatch.setenv(name, value)

    class Terminal(io.TextIOWrapper):
        def isatty(self) -> bool:
            return True

    written = io.BytesIO()
    with ResultPrinter(json=False, out=Terminal(written, encoding=encoding)) as printer:
        printer.print(replace(RECEIPT, key="k", status=status))
    assert written.getvalue().decode(encoding).startswith(begins)


@pytest.mark.parametrize("as_json", [True, False])
def test_quiet_prints_failures_only(as_json: bool) -> None:
    """JSON is for a program, which gets every document."""
    out = Output()
    with ResultPrinter(json=as_json, out=out, quiet=True) as printer:
        for status in STATUSES:
            printer.print(replace(RECEIPT, status=status))
    lines = out.getvalue().splitlines()
    assert len(lines) == (len(STATUSES) if as_json else 1)
    assert as_json or lines[0].startswith("failed")


def test_failures_are_grouped_by_reason(capsys: pytest.CaptureFixture[str]) -> None:
    """The largest group comes first, each with its first object; one reason alone is in the error already."""
    groups = FailureGroups()
    for number in range(3):
        groups.add(f"a{number}", "access_denied: Grant it.")
    print_failure_groups(groups)
    assert capsys.readouterr().err == ""
    groups.add("b", f"integrity_error: {'x' * 1_000}")
    print_failure_groups(groups)
    title, first, second = capsys.readouterr().err.splitlines()
    assert title == "s3-to-azure: 4 failures, by reason:"
    assert first == "        3  such as 'a0': access_denied: Grant it."
    assert second.startswith("        1  such as 'b': integrity_error: xxx")
    assert len(second) < 450
    assert groups.count == 4


@pytest.mark.parametrize(
    ("terminal", "columns", "ends"),
    [
        (True, 60, "'k': access_denied: Grant ...\n"),
        (True, 20, "'k': access_denied ...\n"),
        (True, 200, "'k': access_denied: Grant the role this permission.\n"),
        (False, 60, "'k': access_denied: Grant the role this permission.\n"),
    ],
)
def test_a_failure_takes_one_line_of_a_terminal(
    monkeypatch: pytest.MonkeyPatch, terminal: bool, columns: int, ends: str
) -> None:
    """Its reason is cut off after the code at the earliest; the key never is, and a file gets all of it."""
    monkeypatch.setenv("COLUMNS", str(columns))
    out = Output(terminal=terminal)
    failed = replace(RECEIPT, key="k", status="failed", verified_by="")
    with ResultPrinter(json=False, out=out) as printer:
        printer.print(replace(failed, reason="access_denied: Grant the role this permission."))
    assert out.getvalue().endswith(ends)


def test_groups_are_indented_on_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The counts stand alone in their column."""
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    groups = FailureGroups()
    groups.add("a", f"access_denied: {'Grant it. ' * 9}")
    groups.add("b", "integrity_error")
    print_failure_groups(groups)
    lines = capsys.readouterr().err.splitlines()[1:]
    assert len(lines) > 3
    assert max(map(len, lines)) <= 60
    assert {line[:11] for line in lines} == {"        1  ", " " * 11}
    assert not any(line[11] == " " for line in lines)


@pytest.mark.parametrize(
    ("counts", "totals", "says"),
    [
        ({}, Totals(), "no objects found; 0 bytes sent in 2.0 s."),
        (
            {"unchanged": 1, "copied": 1_200},
            Totals(bytes_sent=5_000_000),
            "1,200 copied, 1 unchanged; 4.8 MiB sent in 2.0 s (2.4 MiB/s).",
        ),
        (
            {"failed": 1},
            Totals(bytes_sent=10_000, bytes_resumed=20_000, retries=3),
            "1 failed; 9.8 KiB sent in 2.0 s (4.9 KiB/s), 19.5 KiB already in Azure, 3 retries.",
        ),
    ],
)
def test_copy_summary(counts: dict[str, int], totals: Totals, says: str, capsys: pytest.CaptureFixture[str]) -> None:
    """It is one sentence on stderr, and mentions resumed bytes and retries where there are any."""
    print_copy_summary(Counter(counts), totals, 2.0)
    assert capsys.readouterr() == ("", f"s3-to-azure: {says}\n")


def test_verify_summary(capsys: pytest.CaptureFixture[str]) -> None:
    """Each status is counted, so that a skipped object does not pass as equal."""
    print_verify_summary(Counter({"skipped": 2, "equal": 41}))
    assert capsys.readouterr() == ("", "s3-to-azure: 41 equal, 2 skipped.\n")


def test_messages_go_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    """With --json, stdout holds documents only."""
    print_message("Stopped.")
    assert capsys.readouterr() == ("", "s3-to-azure: Stopped.\n")
