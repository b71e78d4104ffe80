"""Server processes: start one, wait until it answers, and stop it."""

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

HOST = "127.0.0.1"

_POLL_INTERVAL_S = 0.05
_PROBE_TIMEOUT_S = 5.0
_LOG_TAIL_BYTES = 4_000
_LAUNCHER = Path(__file__).with_name("die_with_parent.py")


class ServerError(RuntimeError):
    """A local server is not installed or did not start; the message names it and ends with its log."""


def free_port() -> int:
    """Return a free port on loopback, which the system gives to nobody else for a while.

    A server binds it seconds later. Until then a connection keeps it in TIME_WAIT, because its end on this port was
    closed first: a socket may bind the port by its number, but is not given it as any free one.
    """
    with socket.create_server((HOST, 0)) as listener:
        port: int = listener.getsockname()[1]
        with socket.create_connection((HOST, port)):
            listener.accept()[0].close()
        return port


def is_listening(port: int) -> bool:
    """Return whether somebody accepts connections on a loopback port."""
    try:
        socket.create_connection((HOST, port), timeout=_PROBE_TIMEOUT_S).close()
    except OSError:
        return False
    return True


def http_get(port: int, path: str) -> bytes | None:
    """Return the body of the HTTP response, whatever its status, or None where there is no response."""
    connection = http.client.HTTPConnection(HOST, port, timeout=_PROBE_TIMEOUT_S)
    try:
        connection.request("GET", path)
        return connection.getresponse().read()
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


@contextmanager
def running(
    command: Sequence[str | Path],
    *,
    directory: Path,
    log: Path,
    environment: Mapping[str, str],
    is_up: Callable[[], bool],
    start_timeout_s: float,
    stop_grace_s: float = 5.0,
) -> Iterator[None]:
    """Run a server in its own process group until the block ends; it sees only the environment given.

    It is stopped with SIGTERM, and with SIGKILL where it still runs `stop_grace_s` later. On Linux it is also killed
    when the thread that called this ends in any way, such as by SIGKILL of the process.

    Raises:
        ServerError: The server exited, or did not answer in time.
    """
    process = _start(command, directory=directory, log=log, environment=environment)
    try:
        _wait_until_up(process, log=log, is_up=is_up, start_timeout_s=start_timeout_s)
        yield
    finally:
        _stop(process, grace_s=stop_grace_s)


def _start(
    command: Sequence[str | Path], *, directory: Path, log: Path, environment: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    launch: list[str | Path] = [sys.executable, "-I", "-S", _LAUNCHER, str(os.getpid())]
    with log.open("ab") as log_file:
        return subprocess.Popen(
            [*launch, *command],
            cwd=directory,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=log_file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _wait_until_up(
    process: subprocess.Popen[bytes], *, log: Path, is_up: Callable[[], bool], start_timeout_s: float
) -> None:
    deadline = time.monotonic() + start_timeout_s
    while time.monotonic() < deadline:
        answered = is_up()
        exit_code = process.poll()
        if exit_code is not None:
            raise ServerError(f"{log.stem} ended with exit code {exit_code} before it answered. {_tail(log)}")
        if answered:
            return
        time.sleep(_POLL_INTERVAL_S)
    raise ServerError(f"{log.stem} did not answer within {start_timeout_s:g} s. {_tail(log)}")


def _stop(process: subprocess.Popen[bytes], *, grace_s: float) -> None:
    _signal_group(process, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(grace_s)
    _signal_group(process, signal.SIGKILL)
    process.wait()


def _signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    # macOS raises PermissionError where only a zombie is left.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def _tail(log: Path) -> str:
    text = log.read_bytes()[-_LOG_TAIL_BYTES:].decode(errors="replace").strip()
    return f"The end of {log}:\n{text}" if text else f"Its log {log} is empty."
