"""A worker that copies the object ``k`` by letting Azure fetch it, as a process of its own that dies at a given step.

usage: python -m tests.faults.fetching_worker '{"s3": …, "azure": …, "bucket": …, "container": …, "die": …, "after": …}'
"""

import json
import os
import signal
import sys
import threading
from contextlib import closing
from typing import Any, Final

from azure.core.credentials import AzureSasCredential

from local_cloud.servers import LocalAzure, LocalS3
from s3_to_azure.transfer.object import copy_object
from tests.fakes.contexts import task, transfer_context
from tests.real_stores import azure_container, public_source

STEPS: Final = ("before the fetch", "before the note", "after the note", "before the commit", "after the commit")


class Dying:
    """A container that kills this process at the n-th time of a step, when the notes before it are complete."""

    def __init__(self, real: Any, step: str, after: int) -> None:
        self._real = real
        self._step = step
        self._left = after
        self._noting = threading.Lock()
        self._has_noted = threading.Event()

    def __getattr__(self, name: str) -> Any:
        """Return whatever the container has."""
        return getattr(self._real, name)

    def _reach(self, step: str) -> None:
        if step == self._step:
            self._left -= 1
            if self._left <= 0:
                os.kill(os.getpid(), signal.SIGKILL)

    def stage_from_url(self, *arguments: Any, **named: Any) -> Any:
        """Fetch."""
        if self._step == "before the fetch" and self._left <= 1:
            self._has_noted.wait(10)
        self._reach("before the fetch")
        return self._real.stage_from_url(*arguments, **named)

    def stage_block(self, *arguments: Any) -> None:
        """Note."""
        with self._noting:
            self._reach("before the note")
            self._real.stage_block(*arguments)
            self._has_noted.set()
            self._reach("after the note")

    def commit(self, *arguments: Any) -> Any:
        """Commit."""
        self._reach("before the commit")
        found = self._real.commit(*arguments)
        self._reach("after the commit")
        return found


def main(given: dict[str, Any]) -> None:
    """Copy."""
    source = public_source(LocalS3(**given["s3"]))
    azure = LocalAzure(**given["azure"])
    real = azure_container(azure, given["container"], credential=AzureSasCredential(given["sas"]))
    with closing(source), closing(real):
        destination: Any = Dying(real, given["die"], given["after"])
        with transfer_context(source, destination, via="auto", connections=1) as context:
            copy_object(context, task("k", given["bucket"]))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
