"""The compose stack as users run it: in a fresh copy of the project, with its commands and its REST API."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import requests

DAG_ID: Final = "s3_to_azure_migration"
_ROOT: Final = Path(__file__).resolve().parents[2]
# The files of a checkout from which an image or a container is made.
_NEEDED: Final = (
    ".dockerignore",
    ".env.example",
    "Dockerfile",
    "LICENSE",
    "README.md",
    "dags",
    "demo",
    "deploy",
    "docker-compose.yaml",
    "local_cloud",
    "plugins",
    "pyproject.toml",
    "requirements.txt",
)
_RUN_S: Final = 900.0
_PARSE_S: Final = 180.0
_POLL_S: Final = 2.0


class CheckError(RuntimeError):
    """The stack did not do what it must; the message says what."""


@dataclass(frozen=True, slots=True)
class Stack:
    """A copy of the project with its own .env.

    Attributes:
        folder: The copy.
        project: Name of the compose project, which labels its containers, networks and volumes.
        environment: Environment variables with which `docker` reaches the engine.
        settings: The lines of .env.
    """

    folder: Path
    project: str
    environment: Mapping[str, str]
    settings: Mapping[str, str]

    def compose(self, *arguments: str, quiet: bool = False, timeout_s: float = 1800.0) -> str:
        """Run `docker compose`; return its standard output.

        Raises:
            CheckError: It failed.
        """
        done = subprocess.run(
            ["docker", "compose", "--project-name", self.project, *arguments],
            cwd=self.folder,
            env=dict(self.environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if quiet else None,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        if done.returncode:
            raise CheckError(f"docker compose {' '.join(arguments)} failed:\n{done.stdout}\n{done.stderr or ''}")
        return done.stdout

    def docker(self, *arguments: str) -> list[str]:
        """Run `docker`; return the lines of its output."""
        done = subprocess.run(
            ["docker", *arguments], env=dict(self.environment), capture_output=True, text=True, check=True
        )
        return done.stdout.splitlines()

    def left_behind(self) -> list[str]:
        """Return containers, networks and volumes of the project that exist."""
        label = f"label=com.docker.compose.project={self.project}"
        kinds = {"container": ["ps", "--all"], "network": ["network", "ls"], "volume": ["volume", "ls"]}
        return [
            f"{kind} {found}"
            for kind, command in kinds.items()
            for found in self.docker(*command, "--quiet", "--filter", label)
        ]

    def api(self) -> "Api":
        """Sign in as the first user, with the password of .env."""
        url = f"http://127.0.0.1:{self.settings['AIRFLOW_PORT']}"
        return Api(url, self.settings["AIRFLOW_ADMIN_USER"], self.settings["AIRFLOW_ADMIN_PASSWORD"])


class Api:
    """Airflow's REST API for one user.

    Args:
        url: The api-server's address.
        user: The user's name.
        password: The user's password.
    """

    def __init__(self, url: str, user: str, password: str) -> None:
        """Sign in.

        Raises:
            CheckError: Refused.
        """
        self._url = url
        answer = requests.post(f"{url}/auth/token", json={"username": user, "password": password}, timeout=60)
        if not answer.ok:
            raise CheckError(f"sign-in as {user} was refused: {answer.status_code} {answer.text[:200]}")
        self._token = str(answer.json()["access_token"])

    def ask(self, method: str, path: str, **arguments: Any) -> Any:
        """Send a request; return the decoded answer.

        Raises:
            CheckError: The answer is an error.
        """
        headers = {"Authorization": f"Bearer {self._token}"}
        answer = requests.request(method, f"{self._url}/api/v2/{path}", headers=headers, timeout=60, **arguments)
        if not answer.ok:
            raise CheckError(f"Airflow answered {answer.status_code} to {method} {path}: {answer.text[:500]}")
        return answer.json()

    def unpause(self) -> None:
        """Wait until the DAG is parsed, then unpause it.

        Raises:
            CheckError: The DAG is not parsed in time.
        """
        deadline = time.monotonic() + _PARSE_S
        while DAG_ID not in {dag["dag_id"] for dag in self.ask("GET", "dags")["dags"]}:
            if time.monotonic() > deadline:
                raise CheckError(f"DAG {DAG_ID} does not appear: {self.ask('GET', 'importErrors')}")
            time.sleep(_POLL_S)
        self.ask("PATCH", f"dags/{DAG_ID}", json={"is_paused": False})

    def trigger(self, **params: object) -> str:
        """Start a run with these Params; return its id."""
        run = self.ask("POST", f"dags/{DAG_ID}/dagRuns", json={"logical_date": None, "conf": params})
        return str(run["dag_run_id"])

    def task_instances(self, run_id: str) -> list[dict[str, Any]]:
        """Return the run's task instances, mapped ones one by one."""
        found = self.ask("GET", f"dags/{DAG_ID}/dagRuns/{run_id}/taskInstances", params={"limit": 1000})
        return list(found["task_instances"])

    def wait_for_copy(self, run_id: str) -> None:
        """Wait until a copy task of the run is running.

        Raises:
            CheckError: No copy task starts in time.
        """
        deadline = time.monotonic() + _RUN_S
        while time.monotonic() < deadline:
            if any(i["task_id"] == "copy" and i["state"] == "running" for i in self.task_instances(run_id)):
                return
            time.sleep(_POLL_S / 4)
        raise CheckError(f"no copy of run {run_id} started: {self._states(run_id)}")

    def wait_for_success(self, run_id: str) -> list[dict[str, Any]]:
        """Wait until the run succeeds; return its task instances.

        Raises:
            CheckError: The run fails, or does not end in time.
        """
        deadline = time.monotonic() + _RUN_S
        while time.monotonic() < deadline:
            state = self.ask("GET", f"dags/{DAG_ID}/dagRuns/{run_id}")["state"]
            if state == "success":
                return self.task_instances(run_id)
            if state == "failed":
                break
            time.sleep(_POLL_S)
        raise CheckError(f"run {run_id} did not succeed: {self._states(run_id)}\n{self._failed_log(run_id)}")

    def log(self, run_id: str, task_id: str, *, map_index: int, try_number: int) -> str:
        """Return a task's log as the UI shows it."""
        path = f"dags/{DAG_ID}/dagRuns/{run_id}/taskInstances/{task_id}/logs/{try_number}"
        content = self.ask("GET", path, params={"map_index": map_index})["content"]
        return "\n".join(str(line.get("event", line)) if isinstance(line, dict) else str(line) for line in content)

    def _states(self, run_id: str) -> list[tuple[str, int, str]]:
        return [(i["task_id"], i["map_index"], i["state"]) for i in self.task_instances(run_id)]

    def _failed_log(self, run_id: str) -> str:
        for instance in self.task_instances(run_id):
            if instance["state"] in ("failed", "up_for_retry"):
                map_index, try_number = instance["map_index"], instance["try_number"]
                return self.log(run_id, instance["task_id"], map_index=map_index, try_number=try_number)[-4000:]
        return ""


@contextmanager
def fresh_copy(scratch: Path, environment: Mapping[str, str], overrides: Mapping[str, str]) -> Iterator[Stack]:
    """Copy the project, make its .env with its own script, and remove the stack at the end.

    Args:
        scratch: The folder that gets the copy.
        environment: Environment variables with which `docker` reaches the engine.
        overrides: Settings that replace those of `deploy/make-env.sh --demo`.
    """
    folder = scratch / "s3-to-azure"
    folder.mkdir()
    ignored = shutil.ignore_patterns("__pycache__", "node_modules", ".*_cache")
    for name in _NEEDED:
        source = _ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=ignored)
        else:
            shutil.copy2(source, folder / name)
    # Containers run as other users, and files of a checkout are readable for all.
    for path in (scratch, folder, *folder.rglob("*")):
        path.chmod(path.stat().st_mode | (0o755 if path.is_dir() else 0o644))
    clean = {k: v for k, v in environment.items() if not k.startswith(("S3_TO_AZURE_", "COMPOSE_", "AIRFLOW"))}
    project = f"s3-to-azure-check-{os.getpid()}"
    _refuses_without_secrets(Stack(folder, project, clean, {}))
    subprocess.run(["deploy/make-env.sh", "--demo"], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    with (folder / ".env").open("a") as env_file:
        env_file.writelines(f"{name}={value}\n" for name, value in overrides.items())
    lines = [line for line in (folder / ".env").read_text().splitlines() if line and not line.startswith("#")]
    stack = Stack(folder, project, clean, dict(line.split("=", 1) for line in lines))
    try:
        yield stack
    finally:
        stack.compose("down", "--volumes", "--timeout=10", "--rmi=local", quiet=True)


def _refuses_without_secrets(stack: Stack) -> None:
    try:
        stack.compose("config", "--quiet", quiet=True)
    except CheckError as refusal:
        if "make-env.sh" not in str(refusal):
            raise
    else:
        raise CheckError("the stack starts without secrets")
