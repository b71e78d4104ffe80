"""How many connections this process may open beside the files that it has open already."""

import logging
from pathlib import Path
from typing import Final

from s3_to_azure.model import defaults
from s3_to_azure.model.settings import CopySettings

try:
    import resource
except ImportError:  # pragma: no cover - only Windows lacks it, and it has no such limit
    resource = None  # type: ignore[assignment]

# Temporary files, look-ups of names, the CA bundle while a connection is made, modules that are imported late.
_RESERVE: Final = 16
_FELT_BELOW: Final = 16
# Linux's, and that of macOS.
_DESCRIPTORS: Final = (Path("/proc/self/fd"), Path("/dev/fd"))

log = logging.getLogger(__name__)


def available_sockets() -> int | None:
    """Return how many sockets the limit of open files (``ulimit -n``) leaves; None without a limit."""
    if resource is None:
        return None
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit == resource.RLIM_INFINITY:
        return None
    return max(0, limit - _open_files() - _RESERVE)


def within_open_files(settings: CopySettings) -> CopySettings:
    """Return settings whose connections fit into the limit of open files, with a warning if that makes them fewer.

    Raises:
        UsageError: The limit does not allow a single copy.
    """
    sockets = available_sockets()
    if sockets is None:
        return settings
    fitting = settings.within(sockets)
    before, after = (settings.objects_at_once, settings.connections), (fitting.objects_at_once, fitting.connections)
    if after != before:
        # The defaults are bounds that few copies reach.
        is_felt = min(after) < _FELT_BELOW or before != (defaults.OBJECTS_AT_ONCE, defaults.CONNECTIONS)
        log.log(
            logging.WARNING if is_felt else logging.DEBUG,
            "This process may open so few files (ulimit -n) that at most %d objects are copied at once, and %d blocks, "
            "instead of %d and %d",
            *after,
            *before,
        )
    return fitting


def _open_files() -> int:
    for descriptors in _DESCRIPTORS:
        try:
            return sum(1 for _ in descriptors.iterdir())
        except OSError:
            continue
    return 0
