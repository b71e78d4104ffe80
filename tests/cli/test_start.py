"""What the command line imports before its first request, in processes of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

_PLUGINS = Path(__file__).resolve().parents[2] / "plugins"
_SDKS = {"aiohttp", "airflow", "azure", "boto3", "botocore", "requests", "rich", "urllib3"}
_START = """
import gc, json, sys
from s3_to_azure.cli.main import main
try:
    status = main(sys.argv[1:])
except SystemExit as error:
    status = error.code
print(json.dumps({"status": status, "modules": sorted(sys.modules), "frozen": gc.get_freeze_count(),
                  "collects": gc.isenabled()}))
"""


def _start(*arguments: str) -> dict[str, Any]:
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(_PLUGINS), "AWS_EC2_METADATA_DISABLED": "true"}
    done = subprocess.run(
        [sys.executable, "-c", _START, *arguments], env=environment, capture_output=True, text=True, check=True
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_help_needs_no_sdk() -> None:
    """Help and wrong arguments are answered without an SDK, an HTTP library or Airflow."""
    found = _start("copy", "--help")
    assert found["status"] == 0
    assert {name.partition(".")[0] for name in found["modules"]} & _SDKS == set()


def test_starts_with_a_resting_collector() -> None:
    """The SDKs are imported out of the collector's sight; it works again afterwards."""
    found = _start("copy", "s3://bucket/key", "az://container/blob")
    assert found["status"] == 2, "nothing names the account"
    assert "azure.storage.blob" in found["modules"]
    assert {"airflow", "rich", "azure.identity"} & set(found["modules"]) == set()
    assert found["frozen"] > 10_000
    assert found["collects"]
