"""Python's garbage collector, at rest while the SDKs are imported."""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collector_at_rest() -> Iterator[None]:
    """Import inside the block: nothing is looked through for garbage meanwhile, nor later for what was imported.

    Modules live as long as the process, but the collector does not know: it looks through those of Airflow and of both
    SDKs again and again while more are imported, and once more at the end (``docs/benchmarks.md``, scenario
    ``start``). For a process that does one thing and ends, a command or a task; not for a server.
    """
    known, was_on = len(sys.modules), gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        # Where all was imported before, whatever lies there now is not modules but somebody's work.
        if len(sys.modules) > known:
            gc.freeze()
        if was_on:
            gc.enable()
