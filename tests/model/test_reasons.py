"""Statuses and reasons: codes that programs compare (docs/reference/reasons.md has its own test)."""

import pytest

from s3_to_azure.model import reasons


@pytest.mark.parametrize("code", [code for group in reasons.REASONS.values() for code in group])
def test_the_code_comes_back_from_an_explained_reason(code: str) -> None:
    """The sentence may hold anything, a colon too."""
    assert reasons.code_of(code) == code
    assert reasons.code_of(reasons.explained(code, "S3: it's gone")) == code


def test_an_object_without_a_reason_has_no_code() -> None:
    """Most copied objects need no explanation."""
    assert reasons.code_of("") == ""


def test_every_final_status_may_have_reasons() -> None:
    """A staged part has none: the report decides what becomes of it."""
    assert set(reasons.REASONS) == set(reasons.FINAL_STATUSES)
    assert set(reasons.STATUSES) - set(reasons.FINAL_STATUSES) == {"staged"}
