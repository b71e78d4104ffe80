"""Airflow with Celery on one machine: its components are processes that can be killed and started one by one."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import psutil  # type: ignore[import-untyped] # no types published
import requests
import yaml  # type: ignore[import-untyped] # its types are a package of their own
from cryptography.fernet import Fernet

from demo.airflow_instance import Airflow
from local_cloud.processes import free_port

ROOT: Final = Path(__file__).resolve().parents[2]
HERE: Final = Path(__file__).parent
_LAUNCHER: Final = ROOT / "local_cloud/die_with_parent.py"
_BOOT_S: Final = 150.0
_POLL_S: Final = 0.25
_WORKERS_OWN: Final = ("AIRFLOW__WORKERS__", "AIRFLOW__CELERY__WORKER_PREFETCH", "AIRFLOW__EXECUTION_API__")
_BROKER: Final = "AIRFLOW__CELERY_BROKER_TRANSPORT_OPTIONS__"


def compose_settings() -> dict[str, str]:
    """Return the settings that docker-compose.yaml makes for every component of Airflow."""
    settings: dict[str, str] = yaml.safe_load((ROOT / "docker-compose.yaml").read_text())["x-airflow-environment"]
    return settings


def until(what: str, reached: Callable[[], Any], *, within_s: float = 90.0) -> Any:
    """Wait until the function returns a true value; return it."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        found = reached()
        if found:
            return found
        time.sleep(_POLL_S)
    raise AssertionError(f"{what}: not within {within_s:.0f} s")


class Cluster:
    """The components of one Airflow, each a process in its own session with a log of its own.

    Args:
        home: The folder of all files.
        database: The URL for SQLAlchemy; workers do not get it.
        broker: The URL of Redis.
        variables: Connections, and environment variables that the DAGs read.
    """

    def __init__(self, home: Path, *, database: str, broker: str, variables: Mapping[str, str]) -> None:
        self.home = home
        self.database = database
        self._port = free_port()
        self.airflow = Airflow(f"http://127.0.0.1:{self._port}", home / "api-server.log")
        scripts = ROOT / ".venv" / "bin"
        composed = compose_settings()
        self._environment = {
            "PATH": f"{scripts}:/usr/bin:/bin",
            "HOME": str(home),
            "LANG": "C.UTF-8",
            "PYTHONPATH": f"{ROOT}:{HERE}",
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(HERE / "dags"),
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "plugins"),
            "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{self._port}/execution/",
            "AIRFLOW__CORE__HOSTNAME_CALLABLE": "worker_name.worker_name",
            "AIRFLOW__API__BASE_URL": f"http://127.0.0.1:{self._port}",
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__API__PORT": str(self._port),
            "AIRFLOW__API__WORKERS": "1",
            "AIRFLOW__API__SECRET_KEY": "for-these-tests-only",
            "AIRFLOW__API_AUTH__JWT_SECRET": "for-these-tests-only" * 4,
            "AIRFLOW__CELERY__BROKER_URL": f"{broker}/0",
            "AIRFLOW__CELERY__RESULT_BACKEND": f"{broker}/1",
            "AIRFLOW__CELERY__WORKER_CONCURRENCY": "2",
            "AIRFLOW__DAG_PROCESSOR__PARSING_PROCESSES": "1",
            "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
            # The settings with which a transfer survives an outage, as docker-compose.yaml has them.
            **{name: value for name, value in composed.items() if name.startswith((*_WORKERS_OWN, _BROKER))},
            **variables,
        }
        self._core = {
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": database,
            "AIRFLOW__CORE__FERNET_KEY": Fernet.generate_key().decode(),
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "2",
            "AIRFLOW__SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "1",
        }
        self._parts: dict[str, subprocess.Popen[bytes]] = {}
        self._orphans: list[psutil.Process] = []

    def migrate(self) -> None:
        """Create the database's tables."""
        done = subprocess.run(
            [str(ROOT / ".venv/bin/airflow"), "db", "migrate"],
            env=self._environment | self._core,
            cwd=self.home,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]

    def start(self, name: str, *command: str, core: bool = True, **settings: str) -> None:
        """Start a component; ``core`` ones get the database."""
        environment = self._environment | (self._core if core else {}) | {"CLUSTER_PART": name} | settings
        launch = [sys.executable, "-I", "-S", str(_LAUNCHER), str(os.getpid())]
        with (self.home / f"{name}.log").open("ab") as log:
            self._parts[name] = subprocess.Popen(
                [*launch, str(ROOT / ".venv/bin/airflow"), *command],
                env=environment,
                cwd=self.home,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def start_api(self) -> None:
        """Start the api-server."""
        self.start("api-server", "api-server")

    def start_scheduler(self, *, heartbeat_timeout_s: int) -> None:
        """Start the scheduler, which fails a task after this time without a heartbeat."""
        timeout = str(heartbeat_timeout_s)
        self.start("scheduler", "scheduler", AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT=timeout)

    def start_worker(self, name: str, **settings: str) -> None:
        """Start a worker that runs two tasks at once."""
        options = ["--celery-hostname", f"{name}@cluster", "--skip-serve-logs", "--without-gossip", "--without-mingle"]
        self.start(name, "celery", "worker", *options, core=False, **settings)

    def wait_for_api(self) -> None:
        """Wait until the api-server reports itself, the scheduler and the DAG processor as healthy."""
        until("Airflow is healthy", self._is_healthy, within_s=_BOOT_S)

    def wait_for_worker(self, name: str) -> None:
        """Wait until the worker is ready."""
        until(f"worker {name} is ready", lambda: f"{name}@cluster ready" in self.log(name), within_s=_BOOT_S)

    def log(self, name: str) -> str:
        """Return a component's own log."""
        path = self.home / f"{name}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def workers(self) -> list[str]:
        """Return the names of the running workers."""
        return [name for name in self._parts if name not in ("api-server", "scheduler", "dag-processor")]

    def tasks_of(self, name: str) -> list[psutil.Process]:
        """Return the processes in which a worker's tasks run: the grandchildren of the worker."""
        pool = psutil.Process(self._parts[name].pid).children()
        return [task for process in pool for task in process.children()]

    def kill(self, name: str, *, but: Sequence[psutil.Process] = ()) -> None:
        """Kill a component and all processes of its session at the same time, except some."""
        part = self._parts.pop(name)
        doomed = [process for process in _session(part.pid) if process not in but]
        # All are stopped first, so that none reports the death of another.
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for process in doomed:
                with suppress(psutil.NoSuchProcess):
                    process.send_signal(number)
        part.wait()
        if but:
            self._orphans.extend(but)

    def task_log(self, dag_id: str, run_id: str, task: str, try_number: int, map_index: int = -1) -> str:
        """Return the log file of one try."""
        folder = self.home / "logs" / f"dag_id={dag_id}" / f"run_id={run_id}" / f"task_id={task}"
        folder = folder / f"map_index={map_index}" if map_index >= 0 else folder
        path = folder / f"attempt={try_number}.log"
        return path.read_text() if path.exists() else ""

    def close(self) -> None:
        """Kill every process."""
        for name in [*self._parts]:
            self.kill(name)
        for orphan in self._orphans:
            with suppress(psutil.NoSuchProcess):
                orphan.kill()

    def _is_healthy(self) -> bool:
        try:
            health = requests.get(f"{self.airflow.url}/api/v2/monitor/health", timeout=5).json()
        except (requests.RequestException, ValueError):
            return False
        parts = ("metadatabase", "scheduler", "dag_processor")
        return all((health.get(part) or {}).get("status") == "healthy" for part in parts)


def _session(leader: int) -> list[psutil.Process]:
    """Return the processes of a session; children of a component stay in its session when their parent is dead."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess, ProcessLookupError):
            if os.getsid(process.pid) == leader:
                found.append(process)
    return found


@contextmanager
def cluster(
    home: Path, *, database: str, broker: str, variables: Mapping[str, str], heartbeat_timeout_s: int
) -> Iterator[Cluster]:
    """Run api-server, scheduler, DAG processor and the workers ``one`` and ``two``."""
    home.mkdir()
    running = Cluster(home, database=database, broker=broker, variables=variables)
    try:
        running.migrate()
        running.start_api()
        running.start_scheduler(heartbeat_timeout_s=heartbeat_timeout_s)
        running.start("dag-processor", "dag-processor")
        running.start_worker("one")
        running.start_worker("two")
        running.wait_for_api()
        running.wait_for_worker("one")
        running.wait_for_worker("two")
        yield running
    finally:
        running.close()
