"""Statuses and reasons: codes that programs compare (docs/reference/reasons.md has its own test)."""

import pytest

from s3_to_azure.model import errors, reasons


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


def test_failures_are_grouped_by_reason() -> None:
    """The most frequent reason comes first, each with its first failure in one line."""
    groups = reasons.FailureGroups()
    assert groups.add("b\n", f"integrity_error: {'x' * 1_000}\n{'y' * 100}")
    assert [groups.add(f"a{number}", "access_denied: Grant it.") for number in range(3)] == [True, False, False]
    assert groups.title() == "4 failures, by reason:"
    first, second = groups.lines()
    assert first == "        3  such as 'a0': access_denied: Grant it."
    assert second.startswith("        1  such as 'b\\n': integrity_error: xxx")
    assert len(second) < 450
    assert (len(groups), groups.count) == (2, 4)
    assert groups.samples()["access_denied"] == "'a0': access_denied: Grant it."


def test_a_damaged_state_file_makes_no_endless_groups() -> None:
    """Its reasons may be any text, of any number."""
    groups = reasons.FailureGroups()
    for number in range(500):
        groups.add("key", f"{number}{'code' * 500}\u2028")
    assert len(groups) == 50
    assert groups.count == 500
    assert all(len(code) <= 100 for code in groups.samples())


@pytest.mark.parametrize("reason", [*reasons.REASONS["failed"], "name_refused: it ends in a dot", "wrong_blob_type"])
def test_a_failure_whose_reason_says_no_remedy_gets_one(reason: str) -> None:
    """Those of a plan and of a report have no sentence, or one that says only what happened."""
    remedy = reasons.remedy_of(reasons.code_of(reason))
    assert remedy
    assert reasons.sample_text("key", reason) == f"'key': {reason}. {remedy}"


def test_what_a_plan_refuses_has_a_remedy() -> None:
    """Its reasons for these are codes, or say only what is wrong."""
    refused = (errors.NameRefused, errors.WrongBlobType)
    assert all(reasons.remedy_of(error.reason()) for error in refused)
