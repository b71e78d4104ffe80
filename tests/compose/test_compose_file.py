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


def test_workers_have_neither_database_nor_keys() -> None:
    """A worker runs the code of DAGs, so its environment has none of these secrets."""
    worker = str(SERVICES["airflow-worker"]["environment"])
    for secret in ("POSTGRES_PASSWORD", "AIRFLOW_FERNET_KEY", "AIRFLOW_JWT_SECRET", "AIRFLOW_ADMIN_PASSWORD"):
        assert secret not in worker


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
    assert "stays as it is" in refused.stderr
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
