"""The addresses of hosts. A name is looked up in a thread of its own: a slow DNS server must not stop the transfers."""

import ipaddress
import socket
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from urllib3.exceptions import NameResolutionError

from s3_to_azure.stores.http.connections import default_port

# S3 returns other addresses after some seconds, and the connections of a long run should spread over them.
_KEPT_S: Final = 60.0

Address = tuple[Any, Any, int, str, Any]
"""A row of ``getaddrinfo``."""


class Host(NamedTuple):
    """Where requests are sent.

    Attributes:
        name: The host's name or address, in ASCII.
        header: The value of the header Host: without a port that is the usual one.
    """

    scheme: str
    name: str
    port: int
    header: str

    @property
    def url(self) -> str:
        """The URL that has nothing else."""
        return f"{self.scheme}://{self.header}"


@lru_cache(maxsize=256)
def host_of(scheme: str, netloc: str) -> Host:
    """Return the host of a URL, without its credentials.

    Raises:
        ValueError: It is not valid.
    """
    url = urlsplit(f"{scheme}://{netloc}")
    name = str(url.hostname)
    name = name if name.isascii() else name.encode("idna").decode("ascii")
    port, usual = url.port, default_port(url)
    shown = f"[{name}]" if ":" in name else name
    return Host(url.scheme, name, port or usual, shown if port in (None, usual) else f"{shown}:{port}")


class Addresses:
    """The addresses of hosts, for one thread.

    Attributes:
        ready: Becomes readable when a look-up has ended.
    """

    def __init__(self) -> None:
        self.ready, self._wake = socket.socketpair()
        self.ready.settimeout(0)
        self._ended: deque[tuple[Host, list[Address] | Exception]] = deque()
        self._known: dict[Host, tuple[float, list[Address]]] = {}
        self._asked: set[Host] = set()

    def of(self, host: Host) -> list[Address] | None:
        """Return the addresses; None if they are being looked up."""
        until, found = self._known.get(host, (0.0, []))
        if time.monotonic() < until:
            return found
        if _is_address(host.name):
            # Nothing is asked.
            return self._keep(host, socket.getaddrinfo(host.name, host.port, type=socket.SOCK_STREAM))
        if host not in self._asked:
            self._asked.add(host)
            try:
                threading.Thread(target=self._look_up, args=(host,), name="look-up", daemon=True).start()
            except RuntimeError:
                # The system allows this process no further thread.
                self._look_up(host)
        return None

    def prefer(self, host: Host, address: Address | None) -> None:
        """Try this address first from now on: the ones before it could not be reached."""
        _, found = self._known.get(host, (0.0, []))
        if address is not None and address in found[1:]:
            found.remove(address)
            found.insert(0, address)

    def ended(self) -> Iterator[tuple[Host, Exception | None]]:
        """Yield the look-ups that have ended, each with its failure if it failed."""
        self.ready.recv(4096)
        while self._ended:
            host, found = self._ended.popleft()
            self._asked.discard(host)
            if isinstance(found, Exception):
                yield host, found
            else:
                self._keep(host, found)
                yield host, None

    def close(self) -> None:
        """Forget the look-ups that have not ended."""
        self.ready.close()
        self._wake.close()

    def _keep(self, host: Host, found: list[Address]) -> list[Address]:
        self._known[host] = (time.monotonic() + _KEPT_S, found)
        return found

    def _look_up(self, host: Host) -> None:
        found: list[Address] | Exception
        try:
            found = list(socket.getaddrinfo(host.name, host.port, type=socket.SOCK_STREAM))
        except socket.gaierror as error:
            # It does not say which name it is about; urllib3's does, and keeps the error as its context.
            try:
                raise NameResolutionError(host.name, _Named(host.name), error)  # type: ignore[arg-type]
            except NameResolutionError as named:
                found = named
        except (OSError, ValueError) as error:
            found = error
        self._ended.append((host, found))
        # Closed meanwhile, there is nobody to wake.
        with suppress(OSError):
            self._wake.send(b"x")


class _Named:
    """What a failed look-up shows of its connection."""

    proxy = None

    def __init__(self, host: str) -> None:
        self.host = host


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
