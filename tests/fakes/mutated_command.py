"""The command line between mutated stores, and what its receipts may say."""

import json
import os
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from s3_to_azure.cli.main import main
from tests.fakes.mutated_stores import (
    BLOCK_SIZE,
    CONTAINER,
    KEYS,
    PREFIX,
    MutatedStores,
    Scenario,
    check_blobs,
    check_copied,
    hurry,
    run,
)

_COPY: Final = ("copy", f"s3://bucket/{PREFIX}", f"az://{CONTAINER}/{PREFIX}")
_SMALL_BLOCKS: Final = ("--block-size", BLOCK_SIZE, "--memory-budget", "16MiB", "--quiet")
_OPTIONS: Final = {"prefix": (), "read back": ("--integrity", "readback"), "tags": ("--tags",)}


@dataclass
class Finished:
    """What a command did.

    Attributes:
        status: The exit status.
        receipts: What it printed on stdout.
        messages: What it printed on stderr.
        stores: What was between them.
    """

    status: int
    receipts: list[dict[str, Any]]
    messages: str
    stores: MutatedStores

    def failed(self) -> dict[str, str]:
        """Return the reasons of the objects that were not copied, by key."""
        return {receipt["key"]: receipt["reason"] for receipt in self.receipts if receipt["status"] != "copied"}


class MutatedCommand:
    """Runs the commands of scenarios.

    Args:
        patch: Undone after the test.
        capsys: Captures the output.
    """

    def __init__(self, patch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        hurry(patch)
        for name in [name for name in os.environ if name.startswith(("AWS_", "AZURE_"))]:
            patch.delenv(name)
        patch.setenv("AWS_ACCESS_KEY_ID", "test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")

    def check_stores(self, scenario: Scenario) -> MutatedStores:
        """Check a scenario's command; return what was between its services."""
        return self.check_run(scenario).stores

    def check_run(self, scenario: Scenario, *, certificate: Path | None = None) -> Finished:
        """Run a scenario's command, and check its output, its exit status and the blobs; return what it did.

        Args:
            scenario: What runs.
            certificate: The services speak TLS with it, and the command trusts it.
        """
        tls = None
        if certificate is not None:
            tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            tls.load_cert_chain(certificate)
        with MutatedStores.served(scenario, tls=tls) as stores, pytest.MonkeyPatch.context() as patch:
            if certificate is not None:
                patch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
            patch.setenv("AWS_ENDPOINT_URL", stores.s3_url)
            patch.setenv("AZURE_STORAGE_CONNECTION_STRING", stores.connection_string)
            stores.mutate(scenario)
            ran = run(lambda: main([*_arguments(scenario.command), "--json"]))
        output, messages = self._capsys.readouterr()
        assert ran.result in (0, 1), (ran.result, messages)
        assert "Traceback" not in messages
        finished = Finished(ran.result, [json.loads(line) for line in output.splitlines()], messages, stores)
        check_blobs(stores)
        _check_receipts(scenario, finished)
        return finished


def _arguments(command: str) -> tuple[str, ...]:
    if command == "verify":
        return ("verify", *_COPY[1:])
    if command.startswith("key "):
        key = PREFIX + command.removeprefix("key ")
        return ("copy", f"s3://bucket/{key}", f"az://{CONTAINER}/{key}", *_SMALL_BLOCKS)
    return (*_COPY, *_SMALL_BLOCKS, *_OPTIONS[command])


def _check_receipts(scenario: Scenario, finished: Finished) -> None:
    """Check that each object has one true receipt, or that a message says why there is none."""
    receipts, messages, stores = finished.receipts, finished.messages, finished.stores
    keys = {receipt["key"] for receipt in receipts}
    assert len(keys) == len(receipts)
    expected = {PREFIX + scenario.command.removeprefix("key ")} if scenario.command.startswith("key ") else set(KEYS)
    if (scenario.mutated.service, scenario.mutated.kind) == ("s3", "list"):
        # What the listing calls an object is its name.
        assert len(keys) == len(expected) or finished.status == 1
    else:
        assert keys in (expected, set()), messages
    assert keys or finished.status == 1
    assert finished.status == 0 or "s3-to-azure: " in messages
    for receipt in receipts:
        if scenario.command == "verify":
            blob = stores.blobs().get(receipt["blob"])
            assert receipt["status"] != "equal" or blob == stores.s3.objects[receipt["key"].encode()], receipt
            assert receipt["status"] != "missing" or blob is None, receipt
        else:
            check_copied(stores, receipt)
            assert finished.status == 1 or receipt["status"] != "failed", receipt
