"""Postgres and Redis on loopback for one test session, as an unprivileged user."""

import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from local_cloud.processes import HOST, free_port, running
from tests import required_tools

_START_S: Final = 60.0
_NAME: Final = "airflow"
# Postgres refuses to run as root, and every system has the user nobody.
_UNPRIVILEGED: Final = "nobody"


def require_tools() -> None:
    """Skip the test without Postgres and Redis; in CI fail it."""
    required_tools.require_tools([name for name in ("initdb", "postgres", "redis-server") if _tool(name) is None])


@contextmanager
def postgres(directory: Path) -> Iterator[str]:
    """Run Postgres with its files in ``directory``; yield SQLAlchemy's URL of an empty database."""
    data = _private(directory / "data")
    environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C"}
    initdb = [*_as_nobody(), str(_tool("initdb")), "--auth=trust", "--encoding=UTF8", f"--username={_NAME}"]
    subprocess.run([*initdb, "--no-sync", str(data)], check=True, capture_output=True, env=environment, cwd=directory)
    port = free_port()
    # The database may be lost in a crash, since no test needs it afterwards.
    settings = {"fsync": "off", "unix_socket_directories": str(data), "listen_addresses": HOST, "port": str(port)}
    options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]

    def is_up() -> bool:
        command = [str(_tool("pg_isready")), "--quiet", f"--host={HOST}", f"--port={port}"]
        return subprocess.run(command, check=False).returncode == 0

    with running(
        [*_as_nobody(), str(_tool("postgres")), "-D", str(data), *options],
        directory=directory,
        log=directory / "postgres.log",
        environment=environment,
        is_up=is_up,
        start_timeout_s=_START_S,
    ):
        create = [str(_tool("createdb")), f"--host={HOST}", f"--port={port}", f"--username={_NAME}", _NAME]
        subprocess.run(create, check=True, capture_output=True)
        yield f"postgresql+psycopg2://{_NAME}@{HOST}:{port}/{_NAME}"


@contextmanager
def redis(directory: Path) -> Iterator[str]:
    """Run Redis without persistence; yield its URL without a database number."""
    port = free_port()

    def is_up() -> bool:
        ping = subprocess.run(
            [str(_tool("redis-cli")), "-h", HOST, "-p", str(port), "ping"], check=False, capture_output=True
        )
        return ping.stdout.strip() == b"PONG"

    with running(
        [str(_tool("redis-server")), "--bind", HOST, "--port", str(port), "--save", "", "--dir", str(directory)],
        directory=directory,
        log=directory / "redis.log",
        environment={"PATH": "/usr/bin:/bin"},
        is_up=is_up,
        start_timeout_s=_START_S,
    ):
        yield f"redis://{HOST}:{port}"


def _tool(name: str) -> Path | None:
    """Return a program's path; Debian installs those of Postgres by version, and outside PATH."""
    versions = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: int(path.parts[4]))
    found = str(versions[-1]) if versions else shutil.which(name)
    return Path(found) if found else None


def _as_nobody() -> list[str]:
    if os.geteuid() != 0:
        return []
    user = pwd.getpwnam(_UNPRIVILEGED)
    # A change of user clears the signal at the parent's death, so it is set again.
    return [
        str(shutil.which("setpriv")),
        f"--reuid={user.pw_uid}",
        f"--regid={user.pw_gid}",
        "--clear-groups",
        "--pdeathsig=KILL",
        "--",
    ]


def _private(directory: Path) -> Path:
    """Make a directory that the unprivileged user owns and can reach."""
    directory.mkdir(mode=0o700)
    if os.geteuid() == 0:
        user = pwd.getpwnam(_UNPRIVILEGED)
        os.chown(directory, user.pw_uid, user.pw_gid)
    directory.parent.chmod(0o711)
    return directory
