"""Copy as the command line does, and print the CPU time of each step.

usage: cpu_profile.py (small|large) SOURCE DESTINATION; prints JSON: step to [calls, CPU seconds]
"""

import functools
import json
import os
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import s3_to_azure.cli.copy_prefix
import s3_to_azure.runs.prefix
from s3_to_azure.cli.main import main
from s3_to_azure.stores.azure import client as azure_client
from s3_to_azure.stores.event_loop import loop
from s3_to_azure.stores.http import connections
from s3_to_azure.stores.s3 import body, signing
from s3_to_azure.transfer import pipeline, pool, small_objects

Step = str | Callable[..., str]

WRAPPED: Final[dict[str, tuple[tuple[Any, str, Step], ...]]] = {
    "small": (
        (s3_to_azure.cli.copy_prefix, "write_listing", "listing"),
        (s3_to_azure.runs.prefix, "make_plan", "plan"),
        (small_objects.SmallObjects, "begin", "begin"),
        (loop.LoopSmallObjectClient, "_advance", "sockets"),
        (loop.LoopSmallObjectClient, "_result", "answers"),
        (small_objects.SmallObjects, "_verify_and_store", "verify"),
        (pool._WorkerPool, "_distribute", "client"),  # noqa: SLF001 - the whole loop of the small objects' thread
    ),
    "large": (
        (body.S3Body, "readinto", "receive"),
        (connections, "_exchange", lambda _connection, method, *_: "send" if method == "PUT" else "ask"),
        (signing.SigV4, "sign_get", "sign"),
        (azure_client.SignedRequests, "_signed", "sign"),
        (pipeline.BlockPipeline, "_stage", "stage"),
    ),
}
"""Owner, name and step of each function that is measured; ``tests/project/test_benchmarks.py`` checks the names."""

_spent: dict[str, list[float]] = defaultdict(lambda: [0, 0.0])


def measured(function: Callable[..., Any], step: Step) -> Callable[..., Any]:
    """Add up a function's calls and the CPU time of its thread within them; the step may depend on the arguments."""

    @functools.wraps(function)
    def outer(*given: object, **named: object) -> object:
        began = time.thread_time()
        try:
            return function(*given, **named)
        finally:
            of_step = _spent[step if isinstance(step, str) else step(*given, **named)]
            of_step[0] += 1
            of_step[1] += time.thread_time() - began

    return outer


def measure(kind: str) -> None:
    """Wrap the steps of a copy of small objects, or of one large object."""
    for owner, name, step in WRAPPED[kind]:
        setattr(owner, name, measured(getattr(owner, name), step))
    if kind == "large":
        module: Any = pipeline
        module.CRC64NVME = replace(module.CRC64NVME, digest=measured(module.CRC64NVME.digest, "checksum"))


if __name__ == "__main__":
    of_kind, from_address, to_address = sys.argv[1:]
    measure(of_kind)
    stdout, sys.stdout = sys.stdout, Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - open until the end
    process_began = time.process_time()
    status = main(["copy", from_address, to_address, "--json", "--quiet"])
    _spent["process"] = [1, time.process_time() - process_began]
    print(json.dumps(_spent), file=stdout)
    sys.exit(status)
