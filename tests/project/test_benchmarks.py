"""The benchmark programs follow the names of the code that they measure."""

import pytest

from benchmarks.programs.cpu_profile import WRAPPED


@pytest.mark.parametrize("kind", sorted(WRAPPED))
def test_profiled_functions_exist(kind: str) -> None:
    """The profile wraps functions by their names, which a rename would otherwise break unnoticed."""
    missing = [name for owner, name, _ in WRAPPED[kind] if not callable(getattr(owner, name, None))]
    assert missing == []
