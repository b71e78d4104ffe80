"""The machine, the versions and the command of a measurement."""

import os
import platform
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any


def about(module: str) -> dict[str, Any]:
    """Return the date, the machine, the versions, and the command of this process as a user types it."""
    model = ""
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "command": f"python -m {module} {' '.join(sys.argv[1:])}".strip(),
        "cpu": f"{os.cpu_count()} x {model}",
        "kernel": platform.release(),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in ("azure-storage-blob", "awscrt", "requests", "urllib3")},
    }


def sentence(about: Mapping[str, Any]) -> str:
    """Return the date and the machine as a sentence."""
    return f"{about['date']}, {about['cpu']}, Linux {about['kernel']}, Python {about['python']}"
