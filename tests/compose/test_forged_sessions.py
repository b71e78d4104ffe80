"""Which keys of a deployment let their holder act as the administrator, tried on a real api-server."""

import json
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import jwt
import pytest
import yaml  # type: ignore[import-untyped] # its types are a package of their own

from tests.compose.forged_sessions import keys_in, remember_cookie, user_token

ROOT: Final = Path(__file__).resolve().parents[2]
SERVICES: Final[dict[str, Any]] = yaml.safe_load(ROOT.joinpath("docker-compose.yaml").read_text())["services"]
VALUES: Final[dict[str, Any]] = yaml.safe_load(ROOT.joinpath("deploy/kubernetes-values.yaml").read_text())


def _settings(folder: Path) -> dict[str, str]:
    (folder / "deploy").mkdir()
    for name in (".env.example", "deploy/make-env.sh"):
        (folder / name).write_bytes((ROOT / name).read_bytes())
    subprocess.run(["sh", "deploy/make-env.sh"], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    lines = [line for line in (folder / ".env").read_text().splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


def _environment(service: str, settings: Mapping[str, str]) -> dict[str, str]:
    """Return what Compose gives the service: the file's values with those of .env in them."""
    return {
        name: re.sub(r"\$\{(\w+)[^}]*\}+", lambda match: settings.get(match[1], ""), str(value))
        for name, value in SERVICES[service]["environment"].items()
        if value is not None
    }


def _keys_that_forge(home: Path, server: Mapping[str, str], keys: list[str]) -> list[str]:
    """Return the keys that make an api-server with this environment answer as to its first user."""
    (home / "dags").mkdir(parents=True)
    there = {
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
        "HOME": str(home),
        "AIRFLOW_HOME": str(home),
        "AIRFLOW_CONFIG": str(home / "airflow.cfg"),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
    }
    done = subprocess.run(
        [sys.executable, "-m", "tests.compose.forge_admin"],
        cwd=ROOT,
        env={**server, **there},
        input=json.dumps(keys),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return list(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_no_key_of_a_compose_worker_makes_an_administrator(tmp_path: Path) -> None:
    """No value of a worker signs a session or a token. The api-server's keys do, so the attempt can succeed."""
    settings = _settings(tmp_path)
    server = _environment("airflow-apiserver", settings)
    worker = keys_in(_environment("airflow-worker", settings))
    own = [server["AIRFLOW__API__SECRET_KEY"], server["AIRFLOW__API_AUTH__JWT_SECRET"]]
    assert settings["REDIS_PASSWORD"] in worker
    assert _keys_that_forge(tmp_path / "home", server, own + worker) == own


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_no_key_of_a_kubernetes_worker_makes_an_administrator(tmp_path: Path) -> None:
    """The chart gives workers `[api] secret_key`; the api-server signs sessions with another one, from a file."""
    api_server = VALUES["apiServer"]
    (mount,) = [mount["mountPath"] for mount in api_server["extraVolumeMounts"]]
    keys = tmp_path / "keys"
    keys.mkdir()
    # Paths of the pod become paths of this machine.
    (keys / "session-key").write_text("session-key-of-the-api-server-0123456789")
    (keys / "jwt-secret").write_text("jwt-secret-of-the-api-server-0123456789-0123456789-0123456789-01")
    config = tmp_path / "webserver_config.py"
    config.write_text(api_server["apiServerConfig"].replace(mount, str(keys)))
    server = _environment("airflow-apiserver", {"AIRFLOW_FERNET_KEY": ""})
    del server["AIRFLOW__API_AUTH__JWT_SECRET"], server["AIRFLOW__CORE__FERNET_KEY"]
    server |= {entry["name"]: entry["value"].replace(mount, str(keys)) for entry in api_server["env"]}
    server |= {
        "AIRFLOW__API__SECRET_KEY": "key-of-every-pod-of-the-chart-0123456789",
        "AIRFLOW__FAB__CONFIG_FILE": str(config),
    }
    own = [(keys / name).read_text() for name in ("session-key", "jwt-secret")]
    assert _keys_that_forge(tmp_path / "home", server, [*own, server["AIRFLOW__API__SECRET_KEY"]]) == own


def test_forged_values_depend_on_the_key() -> None:
    """The cookie is the user's number with a digest, the token a JWT; another key makes other ones."""
    assert remember_cookie("a").startswith("1|")
    assert remember_cookie("a") != remember_cookie("b")
    key = "k" * 64
    assert jwt.decode(user_token(key), key, algorithms=["HS512"], audience="apache-airflow")["sub"] == "1"


def test_keys_in_an_environment_are_values_and_passwords() -> None:
    """A URL counts as a whole, and its password by itself."""
    assert keys_in({"URL": "redis://:secret@redis:6379/0", "EMPTY": "", "KEY": "k"}) == [
        "k",
        "redis://:secret@redis:6379/0",
        "secret",
    ]
