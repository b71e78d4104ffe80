"""Progress on stderr: a bar on a terminal, a line now and then elsewhere."""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from s3_to_azure.model.progress import Progress, Totals

_BAR_EVERY_S: Final = 0.2
_LINE_EVERY_S: Final = 10.0


@contextmanager
def shown(progress: Progress, *, quiet: bool = False) -> Iterator[None]:
    """Show the progress while the block runs.

    Args:
        progress: What to show.
        quiet: Show nothing.
    """
    if quiet:
        yield
        return
    ended = threading.Event()
    on_terminal = sys.stderr.isatty()
    thread = threading.Thread(target=_bar if on_terminal else _lines, args=(progress, ended), daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(timeout=2.0)


def _bar(progress: Progress, ended: threading.Event) -> None:
    from rich import progress as rich  # noqa: PLC0415 - costs CPU that a pipe need not pay
    from rich.console import Console  # noqa: PLC0415

    columns = (
        rich.TextColumn("{task.description}"),
        rich.BarColumn(),
        rich.DownloadColumn(binary_units=True),
        rich.TransferSpeedColumn(),
        rich.TimeRemainingColumn(),
    )
    with rich.Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None)
        while True:
            now = progress.snapshot()
            bar.update(
                task,
                description=_objects(now),
                completed=now.bytes_sent + now.bytes_resumed,
                total=now.bytes_total or None,
            )
            if ended.wait(_BAR_EVERY_S):
                return


def _lines(progress: Progress, ended: threading.Event) -> None:
    started = time.monotonic()
    while not ended.wait(_LINE_EVERY_S):
        now = progress.snapshot()
        rate = now.bytes_sent / max(time.monotonic() - started, 0.001)
        print(
            f"{_objects(now)}, {now.bytes_sent:,} bytes sent ({rate / 1e6:,.1f} MB/s), "
            f"{now.bytes_resumed:,} were there already, {now.retries:,} retries",
            file=sys.stderr,
            flush=True,
        )


def _objects(now: Totals) -> str:
    done = now.objects_done + now.objects_failed
    failed = f", {now.objects_failed:,} failed" if now.objects_failed else ""
    return f"{done:,} of {now.objects_total:,} objects{failed}"
