"""Properties of docker-compose.yaml and of the script that makes its .env; `make compose-check` starts the stack."""

import re
import stat
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest
import yaml  # type: ignore[import-untyped] # its types are a package of their own
from cryptography.fernet import Fernet

from local_cloud.servers import AZURITE_ACCOUNT, AZURITE_KEY
from tests.compose.stand_ins import UNPROVEN

ROOT: Final = Path(__file__).resolve().parents[2]
TEXT: Final = ROOT.joinpath("docker-compose.yaml").read_text()
SERVICES: Final[dict[str, Any]] = yaml.safe_load(TEXT)["services"]
EXAMPLE: Final = ROOT.joinpath(".env.example").read_text()
SECRETS: Final = re.findall(r"^(\w+)=$", EXAMPLE, flags=re.MULTILINE)
ONE_SHOTS: Final = {"airflow-init", "demo-init"}
# Their data lies in the container's own filesystem and goes with it.
DEMO_SERVERS: Final = {"localstack", "azurite"}


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Return a folder with the files that `deploy/make-env.sh` reads."""
    (tmp_path / "deploy").mkdir()
    for name in (".env.example", "deploy/make-env.sh"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    return tmp_path


def _make_env(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["sh", "deploy/make-env.sh", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def _settings(folder: Path) -> dict[str, str]:
    lines = [line for line in (folder / ".env").read_text().splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


def test_every_variable_is_in_the_example() -> None:
    """Every variable that the file reads from .env is in .env.example, and no other one is."""
    by_name = {name for service in SERVICES.values() for name in _unset(service.get("environment", {}))}
    read = set(re.findall(r"\$\{(\w+)", TEXT)) | by_name
    assert read == set(re.findall(r"^#?(\w+)=", EXAMPLE, flags=re.MULTILINE))


def _unset(environment: dict[str, str | None]) -> list[str]:
    return [name for name, value in environment.items() if value is None]


def test_no_secret_has_a_default() -> None:
    """A secret that .env does not set is refused with the name of the script that makes it."""
    assert SECRETS
    for name in SECRETS:
        uses = re.findall(rf"\$\{{{name}([^}}]*)\}}", TEXT)
        assert uses
        assert set(uses) == {":?run deploy/make-env.sh"}


def test_ports_are_on_loopback_and_can_be_changed() -> None:
    """Every published port is on 127.0.0.1, and a variable changes its number."""
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert ports
    assert all(re.fullmatch(r"127\.0\.0\.1:\$\{\w+_PORT:-\d+\}:\d+", port) for port in ports)


@pytest.mark.parametrize("name", sorted(SERVICES.keys() - ONE_SHOTS))
def test_services_have_health_checks_and_restart(name: str) -> None:
    """Each service has a health check with a start period of at least 60 s, and restarts after a crash."""
    service = SERVICES[name]
    assert int(service["healthcheck"]["start_period"].rstrip("s")) >= 60
    assert service["restart"] == "unless-stopped"


# Which services get which secret. Airflow 3.3 needs no more: docs/security.md has the reasons.
HOLDERS: Final = {
    "POSTGRES_PASSWORD": {
        "postgres",
        "airflow-init",
        "airflow-apiserver",
        "airflow-scheduler",
        "airflow-dag-processor",
        "airflow-triggerer",
        "demo-init",
    },
    "AIRFLOW_FERNET_KEY": {
        "airflow-init",
        "airflow-apiserver",
        "airflow-scheduler",
        "airflow-dag-processor",
        "airflow-triggerer",
        "demo-init",
    },
    "REDIS_PASSWORD": {"redis", "airflow-scheduler", "airflow-worker"},
    "AIRFLOW_JWT_SECRET": {"airflow-apiserver", "airflow-scheduler"},
    "AIRFLOW_API_SECRET_KEY": {"airflow-apiserver"},
    "AIRFLOW_ADMIN_PASSWORD": {"airflow-init"},
}


def test_each_service_gets_only_its_own_secrets() -> None:
    """A secret is in the environment of the services that need it, and in no other part of any service."""
    assert HOLDERS.keys() == set(SECRETS)
    for secret, holders in HOLDERS.items():
        assert {name for name, service in SERVICES.items() if f"${{{secret}" in str(service)} == holders
        for service in SERVICES.values():
            assert f"${{{secret}" not in str({k: v for k, v in service.items() if k != "environment"})


def test_no_command_has_a_secret_among_its_arguments() -> None:
    """A process list shows arguments: secrets are passed to programs on standard input or in the environment."""
    first_user = SERVICES["airflow-init"]["command"][-1]
    assert "--password" not in first_user
    assert re.search(r"printf [^|]*ADMIN_PASSWORD[^|]*\|\s*airflow users create", first_user)
    for service in SERVICES.values():
        for command in (service.get("command", []), service.get("healthcheck", {}).get("test", [])):
            # `printf` is a part of the shell, and no process of its own.
            outside_printf = re.sub(r"printf [^|]*\|", "", " ".join(command))
            assert not re.search(r"\$\w*(PASSWORD|SECRET|AUTH|_KEY)", outside_printf)


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_is_confined(name: str) -> None:
    """Each service is denied new privileges, capabilities, writing to its image, and unlimited memory and processes."""
    service = SERVICES[name]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["cap_drop"] == ["ALL"]
    assert not {"cap_add", "privileged", "devices", "pid", "ipc", "network_mode"} & service.keys()
    assert service["read_only"] is (name not in DEMO_SERVERS)
    assert re.search(r"\b\d+[mg]\b", service["mem_limit"])
    assert 0 < service["pids_limit"] <= 2048
    for folder in service.get("tmpfs", []):
        assert "size=" in folder


def test_no_service_runs_as_root() -> None:
    """The two upstream images that start as root are told another user; the project's images name one themselves."""
    for name in ("postgres", "redis"):
        assert SERVICES[name]["user"] == name
    dockerfile = ROOT.joinpath("Dockerfile").read_text()
    assert "USER root" not in dockerfile
    assert dockerfile.rstrip().endswith("USER local-cloud")


def test_workers_cannot_reach_the_database() -> None:
    """Postgres is on no network of the workers, and the networks of both stores lead nowhere else."""
    networks = yaml.safe_load(TEXT)["networks"]
    of = {name: set(service["networks"]) for name, service in SERVICES.items()}
    assert of["airflow-worker"] == {"broker", "api"}
    assert of["postgres"] == {"database"}
    assert of["redis"] == {"broker"}
    assert {name for name, found in of.items() if "broker" in found} == {"redis", "airflow-scheduler", "airflow-worker"}
    assert networks["database"]["internal"] is True
    assert networks["broker"]["internal"] is True


def test_workers_serve_no_logs() -> None:
    """A log server would need the key that signs sessions; the api-server reads the logs from the volume."""
    for name in ("airflow-worker", "airflow-triggerer"):
        assert "--skip-serve-logs" in SERVICES[name]["command"]
        assert "logs:/opt/airflow/logs" in SERVICES[name]["volumes"]
    assert "logs:/opt/airflow/logs:ro" in SERVICES["airflow-apiserver"]["volumes"]


def test_no_service_can_change_dag_files() -> None:
    """DAG files are mounted read-only, so that a task cannot become a DAG's author."""
    mounts = [mount for service in SERVICES.values() for mount in service.get("volumes", []) if mount.startswith("./")]
    assert mounts
    assert all(mount.endswith(":ro") for mount in mounts)


def test_worker_memory_holds_its_tasks() -> None:
    """The default limit has room for WORKER_CONCURRENCY tasks of 256 + 350 MiB and for the worker itself."""
    tasks = int(re.findall(r"WORKER_CONCURRENCY:-(\d+)", TEXT)[0])
    gibibytes = int(re.findall(r"WORKER_MEMORY:-(\d+)g", TEXT)[0])
    assert gibibytes * 1024 >= tasks * (256 + 350) + 256


def test_documentation_says_what_stand_ins_do_not_prove() -> None:
    """The documentation repeats the list that `make compose-check` prints at its end."""
    page = ROOT.joinpath("docs/deploy.md").read_text()
    limits = re.findall(r"^  - (.+)$", UNPROVEN, flags=re.MULTILINE)
    assert len(limits) >= 5
    for limit in limits:
        assert f"- {limit}" in page


def test_demo_uses_azurites_account() -> None:
    """The demo's connection strings are those of the Azurite that the tests use."""
    account = f"AccountName={AZURITE_ACCOUNT};AccountKey={AZURITE_KEY};"
    assert account in TEXT
    assert account in ROOT.joinpath("deploy/demo_connections.json").read_text()


def test_script_makes_strong_secrets(copy: Path) -> None:
    """The script makes new secrets that fit URLs and Fernet, in a file that only its owner can read."""
    assert _make_env(copy).returncode == 0
    first = _settings(copy)
    assert stat.S_IMODE((copy / ".env").stat().st_mode) == stat.S_IRUSR | stat.S_IWUSR
    (copy / ".env").unlink()
    assert _make_env(copy).returncode == 0
    second = _settings(copy)
    assert first.keys() == second.keys()
    assert "COMPOSE_PROFILES" not in first
    for name in SECRETS:
        assert first[name] != second[name]
        assert re.fullmatch(r"[\w-]{43,}=?", first[name])
    Fernet(first["AIRFLOW_FERNET_KEY"])


def test_script_keeps_an_existing_env(copy: Path) -> None:
    """A second run changes nothing, because a new Fernet key would make stored connections unreadable."""
    copy.joinpath(".env").write_text("kept")
    refused = _make_env(copy)
    assert refused.returncode == 1
    assert ".env exists and is not changed" in refused.stderr
    assert copy.joinpath(".env").read_text() == "kept"
    assert sorted(path.name for path in copy.iterdir()) == [".env", ".env.example", "deploy"]


def test_demo_sets_profile_and_migration(copy: Path) -> None:
    """`--demo` enables the profile and sets source and destination of the example DAG to its servers."""
    assert _make_env(copy, "--demo").returncode == 0
    settings = _settings(copy)
    assert settings["COMPOSE_PROFILES"] == "demo"
    assert settings["S3_TO_AZURE_SOURCE"] == "s3://demo-source/nightly/"
    assert settings["S3_TO_AZURE_DESTINATION"] == "az://demo-destination/"


def test_script_refuses_other_arguments(copy: Path) -> None:
    """A misspelt option writes nothing."""
    assert _make_env(copy, "--dmeo").returncode == 2
    assert not copy.joinpath(".env").exists()
