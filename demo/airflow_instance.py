"""Real Airflow on loopback for the demo: start it, call its REST API, stop all its processes."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import requests
import tenacity

from local_cloud.processes import free_port

ROOT: Final = Path(__file__).resolve().parents[1]
_BOOT_S: Final = 180.0
_STOP_S: Final = 20.0
_POLL_S: Final = 0.5


class AirflowError(RuntimeError):
    """Airflow failed; the message names its log."""


@dataclass(frozen=True, slots=True)
class Airflow:
    """A running Airflow.

    Attributes:
        url: The address of its UI and API.
        log: Its log file.
        login: The name and the password of the user who calls the API; None where everybody may do everything.
    """

    url: str
    log: Path
    login: Mapping[str, str] | None = None

    def get(self, path: str, **query: object) -> Any:  # noqa: ANN401 - JSON
        """GET from the REST API; return the decoded JSON."""
        # A busy machine may answer too late, and a GET can be repeated.
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(requests.RequestException),
            stop=tenacity.stop_after_attempt(5),
            wait=tenacity.wait_fixed(_POLL_S),
            reraise=True,
        )
        return retrying(self._request, "GET", path, params=query)

    def trigger(self, dag_id: str, conf: Mapping[str, object]) -> str:
        """Start a run; return its id."""
        body = {"logical_date": None, "conf": dict(conf)}
        return str(self._request("POST", f"dags/{dag_id}/dagRuns", json=body)["dag_run_id"])

    def task_instances(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """Return the run's task instances, one for each mapped task."""
        found = self.get(f"dags/{dag_id}/dagRuns/{run_id}/taskInstances", limit=1000)
        return list(found["task_instances"])

    def state(self, dag_id: str, run_id: str) -> str:
        """Return the run's state."""
        return str(self.get(f"dags/{dag_id}/dagRuns/{run_id}")["state"])

    def unpause(self, dag_id: str) -> None:
        """Unpause the DAG."""
        self._request("PATCH", f"dags/{dag_id}", json={"is_paused": False})

    def task_state(self, dag_id: str, run_id: str, task_id: str, map_index: int, key: str) -> dict[str, Any]:
        """Return a value of a task's ``task_state_store``; empty where there is none yet."""
        path = f"dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/state-store"
        found = self.get(path, map_index=map_index)
        value = {entry["key"]: entry["value"] for entry in found["task_state_store"]}.get(key, {})
        return dict(json.loads(value) if isinstance(value, str) else value)

    def token(self, login: Mapping[str, str] | None = None) -> str:
        """Return a new token of a user, of ``login`` by default."""
        login = login or self.login
        method = "POST" if login else "GET"
        return str(requests.request(method, f"{self.url}/auth/token", json=login, timeout=30).json()["access_token"])

    def _request(self, method: str, path: str, **arguments: Any) -> Any:  # noqa: ANN401 - JSON
        answer = requests.request(
            method,
            f"{self.url}/api/v2/{path}",
            # Each request takes a new token: requests are few, and tokens expire while the demo is left running.
            headers={"Authorization": f"Bearer {self.token()}"},
            timeout=30,
            **arguments,
        )
        if not answer.ok:
            raise AirflowError(
                f"Airflow answered {answer.status_code} to {path}: {answer.text[:500]} (log: {self.log})"
            )
        return answer.json()


def environment(home: Path, port: int, connections: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of an Airflow that writes all its files below ``home``."""
    scripts = ROOT / ".venv" / "bin"
    ours = {
        "PATH": f"{scripts}:{os.environ.get('PATH', '')}",
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "True",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        # More parallel tasks lock SQLite.
        "AIRFLOW__CORE__PARALLELISM": "4",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{port}/execution/",
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__BASE_URL": f"http://127.0.0.1:{port}",
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "10",
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "INFO",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
    }
    inherited = {
        name: value
        for name, value in os.environ.items()
        # Compiled modules make Airflow start three times faster; settings of another Airflow must not apply here.
        if name != "PYTHONDONTWRITEBYTECODE" and not name.startswith(("AIRFLOW", "AWS_", "AZURE_"))
    }
    return {**inherited, **ours, **connections}


@contextmanager
def running(
    home: Path, connections: Mapping[str, str], *, port: int | None = None, login: Mapping[str, str] | None = None
) -> Iterator[Airflow]:
    """Run Airflow while the block runs.

    Args:
        home: The folder of its files.
        connections: Further variables, for connections and the DAG's settings.
        port: The port to listen on; None for any free port.
        login: As ``Airflow`` has it.

    Raises:
        AirflowError: Airflow does not start.
    """
    home.mkdir(parents=True, exist_ok=True)
    port = port or free_port()
    log = home / "standalone.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(ROOT / ".venv" / "bin" / "airflow"), "standalone"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment(home, port, connections),
            cwd=home,
            # standalone leaves its children running unless its whole process group is stopped.
            start_new_session=True,
        )
        airflow = Airflow(f"http://127.0.0.1:{port}", log, login)
        try:
            _wait_until_healthy(airflow, process)
            yield airflow
        finally:
            _stop(process)


def _wait_until_healthy(airflow: Airflow, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _BOOT_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            health = requests.get(f"{airflow.url}/api/v2/monitor/health", timeout=5).json()
        except (requests.RequestException, ValueError):
            health = {}
        parts = ("metadatabase", "scheduler", "dag_processor")
        if all((health.get(part) or {}).get("status") == "healthy" for part in parts):
            return
        time.sleep(_POLL_S)
    tail = "\n".join(airflow.log.read_text(errors="replace").splitlines()[-20:])
    raise AirflowError(f"Airflow did not start. The end of its log {airflow.log}:\n{tail}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    for number, timeout_s in ((signal.SIGTERM, _STOP_S), (signal.SIGKILL, 5.0)):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            return
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            process.poll()
            try:
                os.killpg(process.pid, 0)
            except ProcessLookupError:
                return
            time.sleep(0.1)
