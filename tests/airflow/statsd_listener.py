"""A StatsD server on loopback, and the client that Airflow needs to reach it, where ``statsd`` is not installed."""

import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from types import ModuleType
from typing import Any

import pytest

_WAIT_S = 0.2


class StatsClient:
    """Sends each value in a packet of its own, in StatsD's text format."""

    def __init__(self, host: str, port: int, prefix: str = "", *_more: Any, **_named: Any) -> None:
        """Open a socket; nothing is sent yet."""
        self._address, self._prefix = (host, port), prefix
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    def incr(self, stat: str, count: int = 1, rate: float = 1) -> None:
        """Send a counter."""
        self._send(f"{stat}:{count}|c")

    def gauge(self, stat: str, value: float, rate: float = 1, *, delta: bool = False) -> None:
        """Send a gauge."""
        self._send(f"{stat}:{value}|g")

    def timing(self, stat: str, delta: Any, rate: float = 1) -> None:
        """Send a duration in milliseconds."""
        milliseconds = delta.total_seconds() * 1000 if isinstance(delta, timedelta) else delta
        self._send(f"{stat}:{milliseconds:0.6f}|ms")

    def _send(self, text: str) -> None:
        self._socket.sendto(f"{self._prefix}.{text}".encode(), self._address)


@contextmanager
def listening(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], list[str]]]:
    """Listen, and turn Airflow's metrics on; yield a function that returns the lines that have arrived."""
    from airflow.sdk.observability import stats  # noqa: PLC0415 - Airflow may be imported only after its settings
    from airflow.sdk.observability.metrics.stats_utils import get_stats_factory  # noqa: PLC0415

    try:
        import statsd  # type: ignore[import-untyped, import-not-found, unused-ignore] # noqa: F401, PLC0415
    except ImportError:
        module: Any = ModuleType("statsd")
        module.StatsClient = StatsClient
        monkeypatch.setitem(sys.modules, "statsd", module)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(_WAIT_S)
        for name, value in {"ON": "True", "HOST": "127.0.0.1", "PORT": str(server.getsockname()[1])}.items():
            monkeypatch.setenv(f"AIRFLOW__METRICS__STATSD_{name}", value)
        stats.initialize(factory=get_stats_factory(), export_legacy_names=False)
        lines: list[str] = []

        def received() -> list[str]:
            try:
                while True:
                    lines.extend(server.recv(65_536).decode().splitlines())
            except TimeoutError:
                return lines

        try:
            yield received
        finally:
            monkeypatch.undo()
            stats.initialize(factory=get_stats_factory(), export_legacy_names=False)
