"""The output of a command: one line or JSON document per object on stdout, a summary on stderr."""

import sys
import threading
from collections import Counter
from types import TracebackType
from typing import Final, Self, TextIO

from s3_to_azure.model.objects import Receipt
from s3_to_azure.model.progress import Totals
from s3_to_azure.state.lines import as_json
from s3_to_azure.transfer.verify import Verification

OK: Final = 0
FAILED: Final = 1
USAGE_ERROR: Final = 2

ERASE_LINE: Final = "\r\x1b[2K"
"""Removes the progress bar, which has no end of line, before other text is printed; the bar is drawn again below."""

_FLUSH_EVERY_S: Final = 0.5
_MAX_BUFFERED_BYTES: Final = 64 * 1024


class ResultPrinter:
    """Prints the result of each object: at once on a terminal, elsewhere in groups, within a second.

    One write per line would cost as much as all other work on a small object's receipt.

    Args:
        json: Print JSON documents instead of lines for people.
        beside_bar: A progress bar is on the same terminal.
        out: The stream; None for stdout.
    """

    def __init__(self, *, json: bool, beside_bar: bool = False, out: TextIO | None = None) -> None:
        self._text_of = _json_line if json else _line
        self._out = out or sys.stdout
        self._unbuffered = self._out.isatty()
        self._before = ERASE_LINE if beside_bar and self._unbuffered else ""
        self._buffer = bytearray()
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._failure: OSError | ValueError | None = None
        self._timer = threading.Thread(target=self._run_timer, name="output", daemon=True)

    def __enter__(self) -> Self:
        """Start the timer."""
        if not self._unbuffered:
            self._timer.start()
        return self

    def print(self, result: Receipt | Verification) -> None:
        """Print the result of one object.

        Raises:
            BrokenPipeError: The reader of the lines has gone.
        """
        text = self._text_of(result)
        with self._lock:
            if self._failure:
                raise self._failure
            self._buffer += text
            if self._unbuffered or len(self._buffer) >= _MAX_BUFFERED_BYTES:
                self._flush()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Print the buffered lines, also after an error."""
        self._closed.set()
        with self._lock:
            if not self._failure:
                self._flush()
            elif error is None:
                raise self._failure

    def _run_timer(self) -> None:
        while not self._closed.wait(_FLUSH_EVERY_S):
            with self._lock:
                try:
                    self._flush()
                except (OSError, ValueError) as error:
                    # Raised to the caller who prints the next line: nothing catches it in this thread.
                    self._failure = error
                    return

    def _flush(self) -> None:
        if self._buffer:
            text = self._before + self._buffer.decode()
            # Cleared before the write, so that a write that fails halfway is not repeated.
            self._buffer.clear()
            self._out.write(text)
            self._out.flush()


def _json_line(result: Receipt | Verification) -> bytes:
    return as_json(result) + b"\n"


def _line(result: Receipt | Verification) -> bytes:
    proof = f" [{result.verified_by}]" if result.verified_by else ""
    reason = f": {result.reason}" if result.reason else ""
    text = f"{result.status:9} {result.size_bytes:>16,}  {result.key!r}{proof}{reason}\n"
    return text.encode("utf-8", "backslashreplace")


def print_message(text: str) -> None:
    """Print a sentence to the user on stderr."""
    print(f"s3-to-azure: {text}", file=sys.stderr)


def print_copy_summary(counts: Counter[str], totals: Totals, seconds: float) -> None:
    """Print how many objects have which status, and what was sent in which time."""
    rate = f" ({totals.bytes_sent / max(seconds, 0.001) / 1e6:,.1f} MB/s)" if totals.bytes_sent else ""
    resumed = f", {totals.bytes_resumed:,} bytes already in Azure" if totals.bytes_resumed else ""
    retries = f", {totals.retries:,} retries" if totals.retries else ""
    print_message(f"{_statuses(counts)}; {totals.bytes_sent:,} bytes sent in {seconds:,.1f} s{rate}{resumed}{retries}.")


def print_verify_summary(counts: Counter[str]) -> None:
    """Print how many objects have which status."""
    print_message(f"{_statuses(counts)}.")


def _statuses(counts: Counter[str]) -> str:
    return ", ".join(f"{count:,} {status}" for status, count in sorted(counts.items())) or "no objects found"
