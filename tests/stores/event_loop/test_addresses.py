"""The addresses of hosts, which are looked up without keeping the transfers waiting."""

import select
import socket
import threading
import time
from contextlib import closing
from typing import Any

import pytest

from s3_to_azure.model.errors import S3, UsageError
from s3_to_azure.stores.event_loop.addresses import Addresses, Host, host_of
from s3_to_azure.stores.http.errors import translated
from tests.fakes.thread_limit import limit_threads

NAME = host_of("https", "bucket.example.com")
ROWS = [
    (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 443)) for address in ("192.0.2.1", "192.0.2.2", "192.0.2.3")
]


def ended(addresses: Addresses) -> list[tuple[Host, Exception | None]]:
    """Return the look-ups that end next."""
    assert select.select([addresses.ready], [], [], 10)[0]
    return list(addresses.ended())


@pytest.mark.parametrize(
    ("scheme", "netloc", "expected"),
    [
        ("http", "host", ("host", 80, "host")),
        ("https", "HOST:443", ("host", 443, "host")),
        ("https", "host:80", ("host", 80, "host:80")),
        ("http", "user:secret@127.0.0.1:10000", ("127.0.0.1", 10000, "127.0.0.1:10000")),
        ("https", "[::1]:9", ("::1", 9, "[::1]:9")),
        ("https", "b\u00fccher.example", ("xn--bcher-kva.example", 443, "xn--bcher-kva.example")),
    ],
)
def test_host_of_a_url(scheme: str, netloc: str, expected: tuple[str, int, str]) -> None:
    """Name, port and header are those that the signature has, and the header never has credentials."""
    assert host_of(scheme, netloc) == (scheme, *expected)


def test_address_is_not_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is used at once."""
    monkeypatch.setattr(threading, "Thread", None)
    with closing(Addresses()) as addresses:
        found = addresses.of(host_of("http", "127.0.0.1:9"))
        assert found
        assert found[0][4] == ("127.0.0.1", 9)
        assert addresses.of(host_of("http", "[::1]:9"))


def test_slow_look_up_keeps_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """The name is asked once, in another thread; then its addresses are known for a minute."""
    answered, asked, now = threading.Event(), list[str](), [0.0]

    def look_up(name: str, *_: object, **__: object) -> list[Any]:
        asked.append(name)
        answered.wait(10)
        return ROWS

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    monkeypatch.setattr(time, "monotonic", lambda: now[0] + 1)
    with closing(Addresses()) as addresses:
        assert addresses.of(NAME) is addresses.of(NAME) is None
        assert not select.select([addresses.ready], [], [], 0)[0]
        answered.set()
        assert ended(addresses) == [(NAME, None)]
        assert addresses.of(NAME) == ROWS
        addresses.prefer(NAME, ROWS[2])
        assert addresses.of(NAME) == [ROWS[2], ROWS[0], ROWS[1]]
        assert asked == ["bucket.example.com"]
        now[0] = 61.0
        assert addresses.of(NAME) is None
        ended(addresses)
    assert len(asked) == 2


def test_system_that_allows_no_further_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """The name is looked up in the caller's."""
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: ROWS)
    limit_threads(monkeypatch, "look-up", 0)
    with closing(Addresses()) as addresses:
        assert addresses.of(NAME) is None
        assert ended(addresses) == [(NAME, None)]
        assert addresses.of(NAME) == ROWS


def test_name_without_address_is_told_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the other clients tell it; the next one asks again."""

    def fail(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with closing(Addresses()) as addresses:
        for _ in range(2):
            assert addresses.of(NAME) is None
            ((host, failure),) = ended(addresses)
            assert host is NAME
            assert failure is not None
            error = translated(S3, "k", failure)
            assert isinstance(error, UsageError)
            assert "'bucket.example.com' of S3 has no address" in str(error)


def test_name_that_is_not_valid_is_no_crash() -> None:
    """Python refuses a label of 64 bytes before it asks."""
    with closing(Addresses()) as addresses:
        assert addresses.of(host_of("http", "a" * 64 + ".example.com")) is None
        ((_, failure),) = ended(addresses)
        assert failure is not None
        assert isinstance(translated(S3, "k", failure), UsageError)
