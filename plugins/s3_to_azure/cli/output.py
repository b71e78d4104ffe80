"""The output of a command: one line or JSON document per object on stdout, a summary on stderr."""

import logging
import os
import re
import shutil
import sys
import textwrap
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from json import dumps
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self, TextIO

from s3_to_azure.cli.progress_bar import resumed_text
from s3_to_azure.model.errors import Cancelled, TransferError
from s3_to_azure.model.formatting import duration_text, size_text
from s3_to_azure.model.objects import Receipt
from s3_to_azure.model.options import VIA_WORKER
from s3_to_azure.model.progress import Totals
from s3_to_azure.model.reasons import FailureGroups, code_of
from s3_to_azure.state.lines import as_json

if TYPE_CHECKING:
    from s3_to_azure.cli.plan_output import PlannedObject
    from s3_to_azure.transfer.verify import Verification

    Result = Receipt | Verification | PlannedObject

OK: Final = 0
FAILED: Final = 1
USAGE_ERROR: Final = 2
NOTHING_MATCHED: Final = 3

NO_MATCH: Final = "No object below SRC passes the filters."

ERASE_LINE: Final = "\r\x1b[2K"
"""Removes the progress bar, which has no end of line, before other text is printed; the bar is drawn again below."""

_FLUSH_EVERY_S: Final = 0.5
_MAX_BUFFERED_BYTES: Final = 64 * 1024
_LAST_FLUSH_S: Final = 0.2
_NOT_ASCII: Final = re.compile(r"[^\x00-\x7f]+")

_GREEN, _RED, _YELLOW, _DIM, _PLAIN = "\x1b[32m", "\x1b[31m", "\x1b[33m", "\x1b[2m", "\x1b[0m"
_LOOKS: Final = {
    "copied": ("\u2713", _GREEN),
    "equal": ("\u2713", _GREEN),
    "unchanged": ("=", _DIM),
    "skipped": ("-", _YELLOW),
    "staged": ("+", _DIM),
    "copy": ("+", _GREEN),
    "update": ("~", _GREEN),
}
_PROBLEM: Final = ("\u2717", _RED)


class ResultPrinter:
    """Prints the result of each object: at once on a terminal, elsewhere in groups, within a second.

    One write per line would cost as much as all other work on a small object's receipt.

    Args:
        json: Print JSON documents instead of lines for people.
        beside_bar: A progress bar is on the same terminal.
        out: The stream; None for stdout.
        spare: Takes over when ``out`` cannot be written, so that no result is lost; None: that is an error.
        quiet: Print lines for people of failures only.
    """

    def __init__(
        self,
        *,
        json: bool,
        beside_bar: bool = False,
        out: TextIO | None = None,
        spare: TextIO | None = None,
        quiet: bool = False,
    ) -> None:
        self._json = json
        self._failures_only = quiet and not json
        self._out = out or sys.stdout
        self._spare = spare
        self._unbuffered = self._out.isatty()
        self._before = ERASE_LINE if beside_bar and self._unbuffered else ""
        self._looks = _looks_for(self._out)
        self._buffer = bytearray()
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._failure: OSError | TransferError | None = None
        self._timer = threading.Thread(target=self._run_timer, name="output", daemon=True)

    @property
    def has_failed(self) -> bool:
        """Whether results could not be written to ``out``."""
        return self._failure is not None

    def __enter__(self) -> Self:
        """Start the timer."""
        if not self._unbuffered:
            self._timer.start()
        return self

    def print(self, result: "Result") -> None:
        """Print the result of one object.

        Raises:
            BrokenPipeError: The reader of the lines has gone, and there is no spare stream.
            TransferError: The lines cannot be written for another reason, and there is no spare stream.
        """
        if self._failures_only and result.status in _LOOKS:
            return
        text = _json_line(result) if self._json else self._line(result)
        with self._lock:
            if self._failure and not self._spare:
                raise self._failure
            self._buffer += text
            if self._unbuffered or len(self._buffer) >= _MAX_BUFFERED_BYTES:
                self._flush()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Print the buffered lines, also after an error."""
        self._closed.set()
        # Another thread may still be writing, to a reader that is slow: at the end of this process its lines would be
        # lost. Only a command that was stopped does not wait for a reader that may never read.
        is_stopped = isinstance(error, (Cancelled, KeyboardInterrupt))
        if self._lock.acquire(timeout=_LAST_FLUSH_S if is_stopped else -1):
            try:
                self._flush()
            finally:
                self._lock.release()
        if self._failure and not self._spare and error is None:
            raise self._failure

    def _line(self, result: "Result") -> bytes:
        symbol, colour, plain = self._looks(result.status)
        proof = f" [{result.verified_by}]" if result.verified_by else ""
        text = f" {result.size_bytes:>16,}  {result.key!r}{proof}{_way(result)}"
        if result.reason:
            room = _columns() - len(f"{symbol}{result.status:9}{text}: ") if self._unbuffered else None
            text = f"{text}: {_cut(result.reason, room)}"
        return f"{colour}{symbol}{result.status:9}{plain}{text}\n".encode("utf-8", "backslashreplace")

    def _run_timer(self) -> None:
        while not self._closed.wait(_FLUSH_EVERY_S):
            with self._lock:
                self._flush()
                if self._failure and not self._spare:
                    return

    def _flush(self) -> None:
        """Write the buffered lines; a failure is kept for the caller who prints the next line."""
        text = self._buffer.decode()
        self._buffer.clear()
        if not text:
            return
        if not self._failure:
            try:
                write_text(self._out, self._before + text, json=self._json)
            except (OSError, TransferError) as error:
                self._failure = error
                if self._spare:
                    print_message(f"{output_error(error)} The results follow on standard error, some perhaps twice.")
            else:
                return
        if self._spare:
            with suppress(OSError, TransferError):
                write_text(self._spare, text, json=self._json)


def write_text(out: TextIO, text: str, *, json: bool = False) -> None:
    """Write a text, with escapes for the characters that the stream's encoding does not have, and flush it.

    Args:
        out: The stream.
        text: Whole lines.
        json: They are JSON, in which the escapes are JSON's own.

    Raises:
        BrokenPipeError: The reader has gone.
        TransferError: The text cannot be written for another reason, such as a full disk.
    """
    try:
        try:
            out.write(text)
        except UnicodeEncodeError:
            out.write(_ascii_json(text) if json else text.encode(out.encoding, "backslashreplace").decode(out.encoding))
        out.flush()
    except (OSError, ValueError) as error:
        _discard(out)
        if isinstance(error, BrokenPipeError):
            raise
        raise output_error(error) from None


def output_error(error: Exception) -> TransferError:
    """Return the error of a stream that cannot be written, as a sentence."""
    if isinstance(error, TransferError):
        return error
    return TransferError(detail=f"The output cannot be written: {getattr(error, 'strerror', None) or error}.")


def print_text(text: str, *, json: bool = False) -> None:
    """Write lines to stdout as ``write_text`` does."""
    write_text(sys.stdout, text, json=json)


def can_encode(text: str) -> bool:
    """Return whether the encoding of stdout has all characters of the text."""
    return _can_encode(text, sys.stdout)


def _can_encode(text: str, out: TextIO) -> bool:
    try:
        text.encode(out.encoding or "utf-8")
    except UnicodeEncodeError:
        return False
    return True


def open_closed_streams() -> None:
    """Open standard streams that the caller has closed, onto nothing.

    Otherwise a connection could get the number of a closed one, and Python has None in its place.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: PTH123, SIM115 - open to the end


def _discard(out: TextIO) -> None:
    """Send what is left in the stream's buffers nowhere: at its end Python flushes them, and would fail again."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(nowhere, out.fileno())
        finally:
            os.close(nowhere)


def _ascii_json(text: str) -> str:
    """Return JSON lines in ASCII; outside of strings they are."""
    return _NOT_ASCII.sub(lambda found: dumps(found[0])[1:-1], text)


def _json_line(result: "Result") -> bytes:
    return as_json(result) + b"\n"


MESSAGES: Final = logging.getLogger(f"{__name__}.messages")
"""Brings the messages into ``--log-file``; stderr has them already."""


def print_message(text: str) -> None:
    """Print a sentence to the user on stderr; where nobody reads it, it is lost."""
    MESSAGES.info("%s", text)
    with suppress(OSError, TransferError):
        write_text(sys.stderr, f"s3-to-azure: {text}\n")


def print_copy_summary(counts: Counter[str], totals: Totals, seconds: float, ways: Iterable[str] = ()) -> None:
    """Print how many objects have which status, what was sent in which time, and lines on the way of the bytes."""
    rate = f" ({size_text(totals.bytes_sent / max(seconds, 0.001))}/s)" if totals.bytes_sent else ""
    sent = size_text(totals.bytes_sent)
    print_message(f"{_statuses(counts)}; {sent} sent in {duration_text(seconds)}{rate}{resumed_text(totals)}.")
    for line in ways:
        print_message(line)


def print_verify_summary(counts: Counter[str]) -> None:
    """Print how many objects have which status."""
    print_message(f"{_statuses(counts)}.")


def print_failure_groups(groups: FailureGroups) -> None:
    """Print the groups, the largest first; one alone is in the error already."""
    if len(groups) > 1:
        lines = [_indented(line) if sys.stderr.isatty() else line for line in groups.lines()]
        print_message("\n".join([groups.title(), *lines]))


def _way(result: "Result") -> str:
    """Return who fetches the object where that is not this worker, or why nobody else does; a copy says it in sum."""
    if getattr(result, "via", VIA_WORKER) != VIA_WORKER:
        return " by Azure"
    code = getattr(result, "not_fetched", "")
    return f" not by Azure: {code}" if code and not isinstance(result, Receipt) else ""


def _columns() -> int:
    return shutil.get_terminal_size().columns


def _cut(reason: str, room: int | None) -> str:
    """Return a reason in one line of a terminal, its code at least: the groups at the end have the sentences."""
    if room is None or len(reason) <= room:
        return reason
    return f"{reason[: max(room - 4, len(code_of(reason)))].rstrip()} ..."


def _indented(line: str) -> str:
    """Return a group's line with its further lines below its text, not below its count."""
    text = line.lstrip()
    below = " " * (len(line) - len(text) + len(text.split("  ")[0]) + 2)
    return textwrap.fill(line, _columns(), subsequent_indent=below, break_long_words=False, break_on_hyphens=False)


def _statuses(counts: Counter[str]) -> str:
    return ", ".join(f"{count:,} {status}" for status, count in sorted(counts.items())) or "no objects found"


def _looks_for(out: TextIO) -> Callable[[str], tuple[str, str, str]]:
    """Return what gives a status its symbol, its colour and the end of the colour; without a terminal, nothing."""
    has_colours = out.isatty() and os.environ.get("TERM") != "dumb" and not os.environ.get("NO_COLOR")
    has_symbols = out.isatty() and _can_encode(_PROBLEM[0] + _LOOKS["copied"][0], out)

    def looks(status: str) -> tuple[str, str, str]:
        symbol, colour = _LOOKS.get(status, _PROBLEM)
        return f"{symbol} " if has_symbols else "", colour if has_colours else "", _PLAIN if has_colours else ""

    return looks
