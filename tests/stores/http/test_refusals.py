"""What a service says in a refusal, made safe to show, and the first cause whose words match."""

import re

import pytest

from s3_to_azure.model import errors
from s3_to_azure.stores.http.refusals import Cause, Refusal, codes, error_document, error_of, unexpected_response, words


@pytest.mark.parametrize("words_of_service", ["", "Access Denied", "Forbidden", "Bad Request", "Access Denied."])
def test_words_that_say_no_more_than_the_code_are_left_out(words_of_service: str) -> None:
    """The code alone is shorter."""
    assert Refusal(403, "AccessDenied", words_of_service).said == "AccessDenied"


def test_words_are_one_bounded_line_without_secrets() -> None:
    """They come from the network, and go into logs and receipts."""
    refusal = Refusal(403, "Denied", f"first\nsecond\x1b[31m ?sig=SECRET&x {'long ' * 200}")
    assert refusal.said.startswith("Denied: first second[31m ?sig=***&x long")
    assert len(refusal.message) == 300


@pytest.mark.parametrize(
    "detail",
    [
        "The MAC signature found in the HTTP request 'SECRET' is not the same as any computed signature.",
        "Signature did not match. String to sign used was rcwl\n2026\nSECRET",
        "Server used following string to sign: 'GET\n\nSECRET'.",
    ],
)
def test_the_signed_string_is_left_out(detail: str) -> None:
    """It is as long as the request, and contains its signature."""
    refusal = Refusal(403, "AuthenticationFailed", f"Server failed to authenticate the request. {detail}")
    assert "SECRET" not in refusal.said
    assert refusal.message.startswith("Server failed to authenticate the request.")


CAUSES = (
    Cause(codes("First", r"Sec\w+"), errors.AccessDenied, {"cure": "By code."}),
    Cause(words(r"needs (?P<what>\w+)"), errors.AccessDenied, {"cure": "Give it {what}."}),
    Cause(words("clock"), errors.ClockSkewed),
    Cause(words("never (?P<what>.*)"), errors.AccessDenied, {"cure": lambda match: match["what"].upper()}),
    Cause(re.compile("403 :"), errors.AccessDenied, {"cure": "Not the service's."}),
    Cause(re.compile("409 "), errors.BlobLeased),
)
REQUEST = {"service": "S3", "resource": "k", "cure": "Usual.", "blob": "b", "container": "c"}


@pytest.mark.parametrize(
    ("refusal", "kind", "cure"),
    [
        (Refusal(400, "Second"), errors.AccessDenied, "By code."),
        (Refusal(403, "Other", "It Needs braces{}"), errors.AccessDenied, "Give it braces."),
        (Refusal(403, "Other", "never {mind}"), errors.AccessDenied, "{MIND}"),
        (Refusal(403, "Other", "the clock"), errors.ClockSkewed, ""),
        (Refusal(403, ""), errors.AccessDenied, "Not the service's."),
        (Refusal(409, "LeaseLost", "needs x"), errors.AccessDenied, "Give it x."),
    ],
)
def test_the_first_cause_that_matches_counts(refusal: Refusal, kind: type[errors.TransferError], cure: str) -> None:
    """By the code, by words anywhere, or by the status alone."""
    error = error_of(refusal, CAUSES, REQUEST)
    assert type(error) is kind
    assert error.attributes.get("cure", "") == cure


def test_only_errors_of_access_repeat_the_services_words() -> None:
    """They name the cure; of other errors our own sentence says all."""
    denied = error_of(Refusal(403, "First", "says why"), CAUSES, REQUEST)
    leased = error_of(Refusal(409, "LeaseLost", "says why"), CAUSES, REQUEST)
    assert denied is not None
    assert leased is not None
    assert denied.attributes["code"] == "First: says why"
    assert leased.attributes["code"] == "LeaseLost"


def test_a_refusal_without_a_cause_is_none_and_then_unexpected() -> None:
    """Its words are shown, since they are all that is known."""
    refusal = Refusal(418, "Teapot", "short and stout")
    assert error_of(refusal, CAUSES, REQUEST) is None
    assert "status 418 (Teapot: short and stout); hint" in str(
        unexpected_response("S3", "k", refusal, check="x", hint="; hint")
    )
    assert "a redirect (status 301, Moved), which is never followed; check the region" in str(
        unexpected_response("S3", "k", Refusal(301, "Moved"), check="the region")
    )


@pytest.mark.parametrize(
    ("document", "told"),
    [
        (b"<Error><Code>NoSuchKey</Code><Message/></Error>", {"Code": "NoSuchKey", "Message": ""}),
        (b'<Error xmlns="urn:x"><Code>NoSuchKey</Code></Error>', {"Code": "NoSuchKey"}),
        (b"<html><Code>NoSuchKey</Code></html>", None),
        (b"<Error><Code>NoSuchKey</Code>", None),
        (b"<!DOCTYPE Error><Error><Code>NoSuchKey</Code></Error>", None),
        (b"", None),
    ],
    ids=["own", "namespace", "a page", "cut", "DTD", "empty"],
)
def test_only_a_complete_error_document_is_the_services_own(document: bytes, told: dict[str, str] | None) -> None:
    """Anything between here and the service can answer with a page of its own."""
    assert error_document(document) == told


@pytest.mark.parametrize("code", ["", "307"])
def test_a_status_without_a_code_is_said_once(code: str) -> None:
    """HEAD responses have no code, and botocore puts the status in its place."""
    error = unexpected_response("S3", "k", Refusal(307, code), check="the region")
    assert "a redirect (status 307), which" in str(error)
    assert "status 418. " in str(unexpected_response("S3", "k", Refusal(418), check="the region"))
    causes = [Cause(codes("", "502"), errors.ServerFailed)]
    failed = error_of(Refusal(502, code and "502"), causes, {"service": "S3", "resource": "k"})
    assert "status 502 (no error code)" in str(failed)
