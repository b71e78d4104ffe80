"""Which buckets Azure reads by itself, and which it is no longer asked for."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from s3_to_azure.model.errors import Cancelled, FetchRefused, TransferError

# A policy, a private endpoint or a firewall refuses every request; one that passes by refuses a few.
MOST_REFUSALS: Final = 3
_POLL_S: Final = 0.1

log = logging.getLogger(__name__)


def said(error: TransferError) -> str:
    """Return what Azure said of a fetch; the error's sentence also says what to do where nothing may be streamed."""
    told = error.attributes
    return f"{told['code']}: {told['detail']}" if isinstance(error, FetchRefused) else str(error)


class _Bucket:
    """What Azure's answers have shown of one bucket.

    Attributes:
        probe: Held by the one fetch that is sent while nothing is known.
        was_read: Azure has read the bucket.
        closed_for: The code of ``reasons.NOT_FETCHED`` why Azure is no longer asked; empty while it is.
    """

    def __init__(self) -> None:
        self.probe = threading.Lock()
        self.was_read = False
        self.closed_for = ""
        self._refusals = 0
        self._lock = threading.Lock()

    def note_read(self) -> None:
        """Note that Azure has read the bucket."""
        with self._lock:
            self.was_read, self._refusals = True, 0

    def note_refusal(self, code: str) -> bool:
        """Note that Azure could not read the bucket; return whether it is no longer asked from now on."""
        with self._lock:
            self._refusals += 1
            if self.closed_for or self._refusals < MOST_REFUSALS:
                return False
            self.closed_for = code
            return True


class Buckets:
    """Remembers, for a task, how Azure got on with each bucket."""

    def __init__(self) -> None:
        self._buckets: dict[str, _Bucket] = {}
        self._lock = threading.Lock()

    def closed_for(self, bucket: str) -> str:
        """Return the code of why Azure is no longer asked to read the bucket; empty while it is."""
        return self._of(bucket).closed_for

    @contextmanager
    def turn(self, bucket: str, stopped: threading.Event) -> Iterator[None]:
        """Let one fetch through at a time until Azure has read the bucket, or is no longer asked.

        Raises:
            Cancelled: Stopped while waiting.
        """
        state = self._of(bucket)
        is_probe = False
        while not (state.was_read or state.closed_for or is_probe):
            if stopped.is_set():
                raise Cancelled.now()
            is_probe = state.probe.acquire(timeout=_POLL_S)
        try:
            yield
        finally:
            if is_probe:
                state.probe.release()

    def note_read(self, bucket: str) -> None:
        """Note that Azure has read the bucket."""
        self._of(bucket).note_read()

    def note_refusal(self, bucket: str, error: TransferError, code: str) -> None:
        """Note that Azure could not fetch from the bucket; after three times in a row it is no longer asked.

        Args:
            bucket: The bucket.
            error: Azure's last one.
            code: One of ``reasons.NOT_FETCHED``.
        """
        if self._of(bucket).note_refusal(code):
            log.warning(
                "Azure could not fetch from bucket %r by itself %d times in a row: its objects go through the worker "
                "from now on. The last reason: %s",
                bucket,
                MOST_REFUSALS,
                said(error),
            )

    def _of(self, bucket: str) -> _Bucket:
        with self._lock:
            return self._buckets.setdefault(bucket, _Bucket())
