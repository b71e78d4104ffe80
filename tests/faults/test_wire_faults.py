"""What a connection delivers instead of a plain response, once, at both services and on each of our HTTP clients.

Each object is copied all the same, or fails with a clear error where a retry could not be expected to help; and no
response is ever taken for that to another request.
"""

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.certificates import certified
from tests.fakes.mutated_command import MutatedCommand
from tests.fakes.mutated_stores import READ_TIMEOUT_S, Mutated, Scenario
from tests.fakes.mutation_strategies import INTERIM, LEFTOVERS, RETRY_AFTERS, VERSIONS
from tests.fakes.mutations import (
    HTML,
    After,
    Before,
    Body,
    Chunked,
    Connection,
    Cut,
    Delay,
    Doubled,
    Gzip,
    Header,
    Lines,
    Mutation,
    Page,
    Response,
    Status,
    Stray,
    Trickle,
    Without,
)

CLIENTS = {
    "botocore": ("s3", "list", ()),
    "botocore without a body": ("s3", "head", ("large",)),
    "event loop from S3": ("s3", "get", ("small",)),
    "connections from S3": ("s3", "get", ("large",)),
    "event loop to Azure": ("azure", "put blob", ("small",)),
    "connections to Azure": ("azure", "put block", ("large",)),
    "SDK to Azure": ("azure", "put block list", ("large",)),
}
"""A request that each client sends: the service, the kind of request, and the object."""

PASSING: dict[str, Mutation] = {
    **{f"before {data[:30]!r} {len(data)}": Before(data) for data in INTERIM if not data.startswith(b"HTTP/1.1 200")},
    **{f"after {data[:30]!r}": After(data) for data in LEFTOVERS},
    **{f"{version.version!r} {version.reason[:5]!r} {version.end}": version for version in VERSIONS},
    **{
        f"chunks {kind}": Chunked(kind)
        for kind in (
            *("plain", "two", "extension", "trailer", "upper case", "no last chunk", "last chunk without its end"),
            *("size too small", "negative", "no number", "prefixed"),
        )
    },
    **{f"headers {kind}": Lines(kind) for kind in ("huge", "many", "folded", "no colon", "no name", "control", "raw")},
    **{f"cut at {share} by {end}": Cut(share, end) for share in (0, 0.05, 0.3, 0.9) for end in ("close", "reset")},
    **{f"Retry-After {text[:10]}": Page(503, b"", (("Retry-After", text),)) for text in RETRY_AFTERS},
    **{f"status {status}": Status(status) for status in (408, 421, 425, 429, 500, 502, 503, 504, 511)},
    "no length": Without("Content-Length"),
    "the same length twice": Doubled("Content-Length"),
    "two lengths": Doubled("Content-Length", "7"),
    "two lengths, the right one last": Doubled("Content-Length", "7", first=True),
    "a length and chunks": Header("Transfer-Encoding", "chunked"),
    "says close, and stays open": Connection("close", ""),
    "says keep-alive, and closes": Connection("keep-alive", "close"),
    "trickles": Trickle(20, 0.1),
    "stalls before the response": Delay(0.0, 1.5 * READ_TIMEOUT_S),
    "stalls in the response": Delay(0.5, 1.5 * READ_TIMEOUT_S),
}
"""A single one of these costs a retry at most."""

FINAL: dict[str, tuple[Mutation, str]] = {
    "an empty body": (Body("empty"), "unexpected_response"),
    "a page": (Body("html"), "unexpected_response"),
    "half of the body": (Body("half"), "unexpected_response"),
    "a longer body": (Body("longer"), "unexpected_response"),
    "a compressed body": (Gzip(), "unexpected_response"),
    "a compressed body that does not say so": (Body("gzip"), "unexpected_response"),
    "another request's response": (Stray(), "unexpected_response"),
    **{
        f"status {status}": (Status(status), "unexpected_response condition_not_met")
        for status in (200, 202, 206, 304, 412, 416)
    },
    **{
        f"page {status}": (Page(status, HTML), "unexpected_response condition_not_met")
        for status in (200, 204, 301, 304, 404, 412, 413)
    },
    "page 403": (Page(403, HTML), "access_denied"),
    "page 407": (Page(407, HTML), "proxy_refused"),
}
"""A single one of these may be final, with a reason that names it; clients that fall back copy the object."""


def once(client: str, mutation: Mutation) -> Mutated:
    """Mutate one response to a client."""
    service, kind, keys = CLIENTS[client]
    return Mutated(service, kind, (mutation,), times=1, keys=keys)


def check_survived(mutation: Mutation, mutated_command: MutatedCommand, *, certificate: Path | None = None) -> None:
    """Check that all objects are copied although one response to each client is mutated."""
    first, *more = (once(client, mutation) for client in CLIENTS)
    finished = mutated_command.check_run(Scenario(first, "prefix", more=tuple(more)), certificate=certificate)
    assert finished.status == 0, finished.messages
    assert finished.failed() == {}


@pytest.mark.parametrize("fault", [Before(INTERIM[1]), Cut(0.3, "reset")], ids=repr)
def test_common_fault_is_survived(fault: Mutation, mutated_command: MutatedCommand) -> None:
    """An interim response, and a connection that is lost."""
    check_survived(fault, mutated_command)


@pytest.mark.slow
@pytest.mark.parametrize("fault", PASSING)
def test_single_fault_is_survived(fault: str, mutated_command: MutatedCommand) -> None:
    """The request is repeated, or the response is understood."""
    check_survived(PASSING[fault], mutated_command)


@pytest.mark.slow
@pytest.mark.parametrize("end", ["close", "reset"])
@pytest.mark.parametrize("share", [0, 0.05, 0.3, 0.9, 0.99])
@pytest.mark.parametrize("more", [(), (Without("Content-Length"),)], ids=["", "no length"])
def test_tls_that_is_cut_is_survived(
    share: float, end: str, more: tuple[Mutation, ...], mutated_command: MutatedCommand, tmp_path: Path
) -> None:
    """Without close_notify the end of the stream is no end of the response, also where that has no length."""

    def cut(response: Response, others: Sequence[Response]) -> Response:
        for mutation in (*more, Cut(share, end)):
            response = mutation(response, others)
        return response

    check_survived(cut, mutated_command, certificate=certified(tmp_path / "both.pem"))


@pytest.mark.slow
@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("fault", FINAL)
def test_response_of_somebody_else_is_named(fault: str, client: str, mutated_command: MutatedCommand) -> None:
    """Only the object that it concerns fails, if any does."""
    mutation, reasons = FINAL[fault]
    finished = mutated_command.check_run(Scenario(once(client, mutation), "prefix"))
    if not finished.receipts:
        assert CLIENTS[client][1] == "list"
    assert finished.failed().keys() <= {f"p/{key}" for key in CLIENTS[client][2]}
    assert {reason.partition(":")[0] for reason in finished.failed().values()} <= set(reasons.split())


@pytest.mark.slow
@pytest.mark.parametrize("client", ["event loop to Azure", "connections to Azure", "SDK to Azure"])
@pytest.mark.parametrize("fault", [Stray(), Page(201, b"", ()), Page(201, HTML)], ids=repr)
def test_write_that_somebody_else_confirms_is_not_believed(
    fault: Mutation, client: str, mutated_command: MutatedCommand
) -> None:
    """Azure never received it: each receipt says failed, however often the same comes back."""
    service, kind, keys = CLIENTS[client]
    mutated = Mutated(service, kind, (fault,), keys=keys, is_applied=False)
    finished = mutated_command.check_run(Scenario(mutated, "prefix"))
    assert set(finished.failed()) == {f"p/{keys[0]}"}
    assert f"p/{keys[0]}" not in finished.stores.blobs()
