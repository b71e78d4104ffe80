"""Copy small objects as the command line does, and print what each step of it costs.

usage: small_profile.py SOURCE DESTINATION; prints JSON: step to [calls, CPU seconds]
"""

import functools
import json
import os
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import s3_to_azure.cli.listing
import s3_to_azure.engine.one_task
from s3_to_azure.cli.main import main
from s3_to_azure.engine import many, small_objects
from s3_to_azure.stores import small_lane

spent: dict[str, list[float]] = defaultdict(lambda: [0, 0.0])


def timed(owner: object, name: str, step: str, clock: Callable[[], float] = time.thread_time) -> None:
    """Count the calls of a function and the CPU within."""
    inner = getattr(owner, name)

    @functools.wraps(inner)
    def outer(*given: object, **named: object) -> object:
        began = clock()
        try:
            return inner(*given, **named)
        finally:
            step_spent = spent[step]
            step_spent[0] += 1
            step_spent[1] += clock() - began

    setattr(owner, name, outer)


class Multi:
    """libcurl's transfers, counted."""

    def __init__(self) -> None:
        """Make them."""
        self._inner = inner_multi()

    def perform(self) -> object:
        """Move what can be moved."""
        return self._inner.perform()

    def __getattr__(self, name: str) -> object:
        """Pass all else on."""
        return getattr(self._inner, name)


inner_multi = small_lane.pycurl.CurlMulti
small_lane.pycurl.CurlMulti = Multi
timed(Multi, "perform", "libcurl")
timed(s3_to_azure.cli.listing, "write_listing", "listing")
timed(s3_to_azure.engine.one_task, "make_plan", "plan")
timed(small_objects.SmallObjects, "begin", "begin")
timed(small_lane.SmallLane, "_collect", "answers")
timed(small_objects.SmallObjects, "_go_on", "prove")
timed(many._Crew, "_share_out", "lane")  # noqa: SLF001 - what runs in the lane's thread has no other name

sys.argv = ["s3-to-azure", "copy", *sys.argv[1:], "--json", "--quiet"]
stdout, sys.stdout = sys.stdout, Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - ends with the process
began = time.process_time()
status = main()
spent["process"] = [1, time.process_time() - began]
print(json.dumps(spent), file=stdout)
sys.exit(status)
