"""Copy as the command line does, and print what each step of it costs.

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
from typing import Any

import s3_to_azure.cli.copy_prefix
import s3_to_azure.runs.prefix
from s3_to_azure.cli.main import main
from s3_to_azure.stores import curl as small_object_client
from s3_to_azure.stores.azure import client as block_writer
from s3_to_azure.stores.http import connections as http_connections
from s3_to_azure.stores.s3 import signing as s3_signing
from s3_to_azure.stores.s3 import source as s3
from s3_to_azure.transfer import pipeline, small_objects
from s3_to_azure.transfer import pool as many

spent: dict[str, list[float]] = defaultdict(lambda: [0, 0.0])


def counted(function: Callable[..., Any], step: str | Callable[..., str]) -> Callable[..., Any]:
    """Count a function's calls and its thread's CPU within; the step may depend on what it is given."""

    @functools.wraps(function)
    def outer(*given: object, **named: object) -> object:
        began = time.thread_time()
        try:
            return function(*given, **named)
        finally:
            step_spent = spent[step if isinstance(step, str) else step(*given, **named)]
            step_spent[0] += 1
            step_spent[1] += time.thread_time() - began

    return outer


def timed(owner: object, name: str, step: str | Callable[..., str]) -> None:
    """Count what an object or a module calls by this name."""
    setattr(owner, name, counted(getattr(owner, name), step))


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


kind, source, destination = sys.argv[1:]
if kind == "small":
    inner_multi = small_object_client.pycurl.CurlMulti
    small_object_client.pycurl.CurlMulti = Multi
    timed(Multi, "perform", "libcurl")
    timed(s3_to_azure.cli.copy_prefix, "write_listing", "listing")
    timed(s3_to_azure.runs.prefix, "make_plan", "plan")
    timed(small_objects.SmallObjects, "begin", "begin")
    timed(small_object_client.CurlSmallObjectClient, "_collect", "answers")
    timed(small_objects.SmallObjects, "_go_on", "prove")
    timed(many._ObjectWorkers, "_share_out", "client")  # noqa: SLF001 - what runs in the lane's thread has no other name
else:
    timed(s3.S3Body, "readinto", "receive")
    timed(http_connections, "_exchange", lambda _connection, method, *_: "send" if method == "PUT" else "ask")
    timed(s3_signing.SigV4, "signed_get", "sign")
    timed(block_writer.BlockWriter, "_signed", "sign")
    pipeline.CRC64NVME = replace(pipeline.CRC64NVME, digest=counted(pipeline.CRC64NVME.digest, "prove"))
    timed(pipeline.BlockPipeline, "_stage", "stage")

sys.argv = ["s3-to-azure", "copy", source, destination, "--json", "--quiet"]
stdout, sys.stdout = sys.stdout, Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - ends with the process
began = time.process_time()
status = main()
spent["process"] = [1, time.process_time() - began]
print(json.dumps(spent), file=stdout)
sys.exit(status)
