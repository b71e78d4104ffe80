"""Pauses Python's garbage collector while the SDKs are imported."""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def gc_paused() -> Iterator[None]:
    """Pause garbage collection in the block, and exclude the modules imported there from later collections.

    Modules live as long as the process, but the collector does not know that: it traverses those of Airflow and of
    both SDKs again and again while more are imported, and once more at exit (``docs/benchmarks.md``, scenario
    ``start``). For a process that does one thing and ends, such as a command or a task; not for a server.
    """
    known, was_enabled = len(sys.modules), gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        # Without a new module, freezing would only keep the garbage of earlier work.
        if len(sys.modules) > known:
            gc.freeze()
        if was_enabled:
            gc.enable()
