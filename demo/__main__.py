"""``python -m demo run``: migrate twice and compare every blob. ``up``: then keep it running, until ``down``."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import requests
from rich.console import Console

from demo.airflow_instance import ROOT, AirflowError, running
from demo.airflow_runs import DemoError
from demo.announcements import Announcements
from demo.migration import DAG_ID, SOURCE, Migration
from demo.oddity_night import ODDITIES_DAG_ID, OddityNight
from local_cloud.__main__ import export_lines
from local_cloud.servers import ServerError, azurite, localstack

_HOME: Final = ROOT / ".demo"
_PID: Final = _HOME / "pid"
_READY: Final = _HOME / "ready"
_UP_S: Final = 600.0
_DOWN_S: Final = 40.0
_WHAT_TO_TRY: Final = f"""
Airflow:  {{url}}/{DAG_ID}   look at its runs, tab Migration; Trigger starts another
          {{url}}/{ODDITIES_DAG_ID}   red on purpose: some of its objects cannot be copied, and Migration says why

The command line finds both servers after these lines:

. .venv/bin/activate
{{exports}}

s3-to-azure ls {{source}}

make down stops the demo."""


def run(home: Path, console: Console, *, port: int | None = None, ready: Path | None = None) -> None:
    """Run three nights and a minute of events in ``home``; with ``ready``, write what to try there, and wait.

    Raises:
        DemoError: A blob differs from its object or does not appear, or the second night sent bytes.
    """
    began = time.monotonic()
    with ExitStack() as stack:
        console.print("Starting S3 (LocalStack) and Azure Blob Storage (Azurite) on loopback …")
        s3 = stack.enter_context(localstack(home / "s3"))
        azure = stack.enter_context(azurite(home / "azure"))
        migration = Migration(s3, azure, console)
        migration.prepare()
        oddities = OddityNight(s3, azure, console)
        oddities.prepare()
        announcements = Announcements(s3, azure, console)
        announcements.prepare()
        console.print("Starting Airflow …")
        airflow = stack.enter_context(
            running(
                home / "airflow",
                migration.environment() | oddities.environment() | announcements.environment(),
                port=port,
            )
        )
        migration.first_night(airflow)
        migration.second_night(airflow)
        migration.compare()
        oddities.run(airflow)
        announcements.run(airflow)
        console.print(f"[bold green]Done[/] in {time.monotonic() - began:.0f} s: every blob is equal to its object.")
        if ready is not None:
            text = _WHAT_TO_TRY.format(url=f"{airflow.url}/dags", exports=export_lines(s3, azure), source=SOURCE)
            # Whoever waits for the file reads all of it.
            ready.with_suffix(".new").write_text(text)
            ready.with_suffix(".new").replace(ready)
            signal.pause()


def up(console: Console) -> int:
    """Start the demo in the background, show its output until it is ready, and print what to try."""
    if _alive():
        console.print("The demo is already running.")
        _print_ready()
        return 0
    _HOME.mkdir(exist_ok=True)
    _READY.unlink(missing_ok=True)
    log = _HOME / "demo.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "demo", "serve"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=ROOT,
            start_new_session=True,
        )
    _PID.write_text(str(process.pid))
    shown = 0
    deadline = time.monotonic() + _UP_S
    try:
        while time.monotonic() < deadline and not _READY.exists():
            shown = _follow(log, shown)
            if process.poll() is not None:
                _follow(log, shown)
                return 1
            time.sleep(0.3)
    except KeyboardInterrupt:
        down(console)
        return 130
    _follow(log, shown)
    if not _READY.exists():
        console.print(f"The demo was not ready within {_UP_S:.0f} s; see {log}.")
        down(console)
        return 1
    _print_ready()
    return 0


def serve(console: Console) -> int:
    """Run as the background process of ``up``, in a new folder, until a signal comes."""
    with tempfile.TemporaryDirectory(prefix="run-", dir=_HOME) as home:
        port = os.environ.get("AIRFLOW_PORT")
        run(Path(home), console, port=int(port) if port else None, ready=_READY)
    return 0


def down(console: Console) -> int:
    """Stop the background process of ``up``."""
    if not _alive():
        console.print("The demo is not running.")
        return 0
    pid = int(_PID.read_text())
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + _DOWN_S
    while _alive() and time.monotonic() < deadline:
        time.sleep(0.2)
    if _alive():
        os.killpg(pid, signal.SIGKILL)
    _READY.unlink(missing_ok=True)
    _PID.unlink(missing_ok=True)
    console.print("The demo is stopped.")
    return 0


def _follow(log: Path, shown: int) -> int:
    text = log.read_bytes()
    sys.stdout.write(text[shown:].decode(errors="replace"))
    sys.stdout.flush()
    return len(text)


def _alive() -> bool:
    try:
        pid = int(_PID.read_text())
        command = Path(f"/proc/{pid}/cmdline").read_bytes() if Path("/proc").exists() else b"demo"
        os.kill(pid, 0)
    except (OSError, ValueError):
        return False
    # Another process may have this number by now.
    return b"demo" in command and not _is_zombie(pid)


def _is_zombie(pid: int) -> bool:
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        pass
    status = Path(f"/proc/{pid}/status")
    return status.exists() and "\nState:\tZ" in status.read_text()


def _print_ready() -> None:
    # Lines to paste: a console would wrap them.
    print(_READY.read_text() if _READY.exists() else "It is still starting.")


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def main(arguments: list[str]) -> int:
    """Run one command; return the exit status."""
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
    # SIGTERM raises like Ctrl-C, so that every server is stopped.
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        match arguments:
            case ["run"]:
                with tempfile.TemporaryDirectory(prefix="s3-to-azure-demo-") as home:
                    run(Path(home), console)
                return 0
            case ["up" | "serve" | "down" as command]:
                return {"up": up, "serve": serve, "down": down}[command](console)
            case _:
                console.print("usage: python -m demo run | up | down")
                return 2
    except KeyboardInterrupt:
        console.print("Stopped; nothing is left running.")
        return 130
    except (AirflowError, DemoError, ServerError, requests.RequestException) as error:
        console.print(f"[bold red]Failed[/]: {error}")
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
