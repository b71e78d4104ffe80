"""Progress on stderr: a bar on a terminal, a line every 10 s elsewhere, or a JSON document every second."""

import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Final

from s3_to_azure.model.formatting import count_text, duration_text, size_text
from s3_to_azure.model.progress import Progress, Totals

PROGRESS: Final = ("auto", "bar", "lines", "json", "none")
_BAR_EVERY_S: Final = 0.2
_LINE_EVERY_S: Final = 10.0
_DOCUMENT_EVERY_S: Final = 1.0


def has_bar(progress: str = "auto", *, quiet: bool) -> bool:
    """Say whether progress is shown as a bar, which other output on the terminal has to erase."""
    has_cursor = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
    return not quiet and has_cursor and progress in ("auto", "bar")


@contextmanager
def show_progress(progress: Progress, kind: str = "auto", *, quiet: bool = False) -> Iterator[None]:
    """Show the progress while the block runs, in one of the ways of ``PROGRESS``, unless ``quiet``."""
    if quiet or kind == "none":
        yield
        return
    closed = threading.Event()
    target = _print_documents if kind == "json" else _show_bar if has_bar(kind, quiet=quiet) else _print_lines
    thread = threading.Thread(target=target, args=(progress, closed), name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        closed.set()
        thread.join(timeout=2.0)


def _show_bar(progress: Progress, closed: threading.Event) -> None:
    from rich import progress as rich  # noqa: PLC0415 - its import costs CPU that a pipe need not pay
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Column  # noqa: PLC0415

    # The line of an object erases one line of the terminal, so the bar is never broken into two.
    columns = (
        rich.TextColumn("{task.description}", table_column=Column(no_wrap=True)),
        rich.BarColumn(bar_width=None),
        rich.TextColumn("{task.fields[amount]}", table_column=Column(no_wrap=True)),
        rich.TextColumn("{task.fields[rate]}", table_column=Column(no_wrap=True)),
    )
    # A redirected stdout would send the receipts to stderr.
    with rich.Progress(
        *columns,
        console=Console(stderr=True),
        transient=True,
        expand=True,
        redirect_stdout=False,
        redirect_stderr=False,
    ) as bar:
        task = bar.add_task("", total=None, amount="", rate="")
        while True:
            totals = progress.snapshot()
            # What arrives, for the rate: under a limit Azure confirms a block once in many seconds.
            moved = totals.bytes_moved + totals.bytes_resumed
            bar.update(
                task,
                description=_objects(totals),
                completed=min(moved, totals.bytes_total) if totals.bytes_total else moved,
                total=totals.bytes_total or None,
                amount=_amount(totals),
                rate=_rate(bar.tasks[0].speed, bar.tasks[0].time_remaining),
            )
            if closed.wait(_BAR_EVERY_S):
                return


def _print_lines(progress: Progress, closed: threading.Event) -> None:
    started = time.monotonic()
    while not closed.wait(_LINE_EVERY_S):
        totals = progress.snapshot()
        rate = size_text(totals.bytes_moved / max(time.monotonic() - started, 0.001))
        sent = size_text(totals.bytes_sent)
        print(f"{_objects(totals)}, {sent} sent ({rate}/s){resumed_text(totals)}", file=sys.stderr, flush=True)


def _print_documents(progress: Progress, closed: threading.Event) -> None:
    """Print the totals as JSON, the last time at the end."""
    started = time.monotonic()
    is_closed = False
    while not is_closed:
        is_closed = closed.wait(_DOCUMENT_EVERY_S)
        seconds = round(time.monotonic() - started, 1)
        print(json.dumps({"seconds": seconds, **asdict(progress.snapshot())}), file=sys.stderr, flush=True)


def resumed_text(totals: Totals) -> str:
    """Return what a line about bytes sent ends with: bytes that Azure held before, and retries, if there are any."""
    resumed = f", {size_text(totals.bytes_resumed)} already in Azure" if totals.bytes_resumed else ""
    return resumed + (f", {totals.retries_text()}" if totals.retries else "")


def _objects(totals: Totals) -> str:
    if not totals.objects_total:
        return "listing"
    done = totals.objects_done + totals.objects_failed
    failed = f", {totals.objects_failed:,} failed" if totals.objects_failed else ""
    return f"{done:,} of {count_text(totals.objects_total, 'object')}{failed}"


def _amount(totals: Totals) -> str:
    done = size_text(totals.bytes_sent + totals.bytes_resumed)
    return f"{done} of {size_text(totals.bytes_total)}" if totals.bytes_total else ""


def _rate(bytes_s: float | None, left_s: float | None) -> str:
    if not bytes_s:
        return ""
    left = "" if left_s is None else f", {duration_text(left_s)} left"
    return f"{size_text(bytes_s)}/s{left}"
