"""What a command prints: a line or a JSON document per object on stdout, a summary on stderr."""

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

_FLUSH_EVERY_S: Final = 0.5
_MOST_WAITING_BYTES: Final = 64 * 1024


class ResultLines:
    """Prints what became of each object: at once on a terminal, elsewhere in bunches, within a second.

    A write of its own for each line would cost as much as all else that becomes of a small object's receipt.

    Args:
        json: JSON documents instead of lines for people.
        out: Where to; None: stdout.
    """

    def __init__(self, *, json: bool, out: TextIO | None = None) -> None:
        """Begin with nothing to print."""
        self._text_of = _json_line if json else _line
        self._out = out or sys.stdout
        self._at_once = self._out.isatty()
        self._waiting = bytearray()
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._failure: OSError | ValueError | None = None
        self._clock = threading.Thread(target=self._run_clock, name="output", daemon=True)

    def __enter__(self) -> Self:
        """Start the clock."""
        if not self._at_once:
            self._clock.start()
        return self

    def add(self, result: Receipt | Verification) -> None:
        """Print one object's result.

        Raises:
            BrokenPipeError: Whoever read the lines has gone.
        """
        text = self._text_of(result)
        with self._lock:
            if self._failure:
                raise self._failure
            self._waiting += text
            if self._at_once or len(self._waiting) >= _MOST_WAITING_BYTES:
                self._flush()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Print what is left, whatever ended the command."""
        self._ended.set()
        with self._lock:
            if not self._failure:
                self._flush()
            elif error is None:
                raise self._failure

    def _run_clock(self) -> None:
        while not self._ended.wait(_FLUSH_EVERY_S):
            with self._lock:
                try:
                    self._flush()
                except (OSError, ValueError) as error:
                    # The next line's caller gets it: nobody catches it here.
                    self._failure = error
                    return

    def _flush(self) -> None:
        if self._waiting:
            text = self._waiting.decode()
            # Before the write: what is broken off is not printed twice.
            self._waiting.clear()
            self._out.write(text)
            self._out.flush()


def _json_line(result: Receipt | Verification) -> bytes:
    return as_json(result) + b"\n"


def _line(result: Receipt | Verification) -> bytes:
    proof = f" [{result.verified_by}]" if result.verified_by else ""
    reason = f": {result.reason}" if result.reason else ""
    text = f"{result.status:9} {result.size_bytes:>16,}  {result.key!r}{proof}{reason}\n"
    return text.encode("utf-8", "backslashreplace")


def print_summary(counts: Counter[str], totals: Totals, seconds: float) -> None:
    """Print what became of all."""
    told = ", ".join(f"{count:,} {status}" for status, count in sorted(counts.items())) or "no object there"
    print(
        f"s3-to-azure: {told}; {totals.bytes_sent:,} bytes sent in {seconds:,.1f} s "
        f"({totals.bytes_sent / max(seconds, 0.001) / 1e6:,.1f} MB/s), {totals.bytes_resumed:,} bytes were in Azure "
        f"already, {totals.retries:,} retries.",
        file=sys.stderr,
    )
