"""Programs that no lock installs: without them a test is skipped, except in CI."""

import os
import shutil
from collections.abc import Sequence

import pytest


def missing_tools(names: Sequence[str]) -> list[str]:
    """Return the programs that are not on PATH."""
    return [name for name in names if shutil.which(name) is None]


def require_tools(missing: Sequence[str]) -> None:
    """Skip the test if any program is missing; in CI that is a failure."""
    if not missing:
        return
    reason = f"{', '.join(missing)} not found: make test-tools"
    if os.environ.get("CI"):
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)
