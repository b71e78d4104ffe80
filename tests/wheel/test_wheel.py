"""The wheel is installed as users install it: in its own environment, with the lock as constraints."""

import json
import os
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
from azure.storage.blob import ContainerClient

from local_cloud.servers import LocalAzure, LocalS3
from s3_to_azure import __version__

ROOT: Final = Path(__file__).resolve().parents[2]
UV: Final = ROOT / ".tools/bin/uv"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

DAG_FILE: Final = '''\
"""An airflow dag."""

from airflow.sdk import DAG

from s3_to_azure.operators import S3ToAzureBlobStreamOperator

with DAG("one_object"):
    S3ToAzureBlobStreamOperator(task_id="copy", s3_bucket="bucket", s3_key="key", container_name="container")
'''
PARSE: Final = """
import json, sys
from airflow.dag_processing.dagbag import DagBag
bag = DagBag(sys.argv[1])
print(json.dumps({"errors": bag.import_errors, "dags": {d: list(dag.task_ids) for d, dag in bag.dags.items()}}))
"""
PLUGINS: Final = """
import json
from airflow import plugins_manager
plugins, errors = plugins_manager._get_plugins()
import s3_to_azure
print(json.dumps({
    "sources": [str(plugin.source) for plugin in plugins if plugin.name == "s3_to_azure"],
    "errors": errors,
    "package": s3_to_azure.__file__,
}))
"""


@dataclass(frozen=True)
class Installation:
    """An environment, and an Airflow home that is empty at first."""

    programs: Path
    home: Path

    def run(self, program: str, *arguments: str, **variables: str) -> str:
        """Run one of the environment's programs; return its standard output."""
        ours = {
            **variables,
            "PATH": f"{self.programs}:/usr/bin:/bin",
            "HOME": str(self.home),
            "AIRFLOW_HOME": str(self.home),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR",
        }
        done = subprocess.run(
            [self.programs / program, *arguments], env=ours, cwd=self.home, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr[-2000:]
        return done.stdout


def _uv(*arguments: str | Path) -> None:
    inherited = {k: v for k, v in os.environ.items() if k not in {"VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME"}}
    subprocess.run([UV, "--quiet", *arguments], cwd=ROOT, env=inherited, check=True)


def _environment(folder: Path, wheel: Path, extra: str = "[airflow]") -> Path:
    _uv("venv", "--python", sys.executable, folder)
    _uv("pip", "install", "--python", folder / "bin/python", "--constraint", "requirements.txt", f"{wheel}{extra}")
    return folder


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the wheel, built from the source package."""
    folder = tmp_path_factory.mktemp("dist")
    _uv("build", "--out-dir", folder)
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an environment with the wheel, Airflow and their dependencies only."""
    return _environment(tmp_path_factory.mktemp("installed") / "venv", wheel)


@pytest.fixture
def installed(environment: Path, tmp_path: Path) -> Installation:
    """Return the environment with an empty Airflow home."""
    return Installation(environment / "bin", tmp_path)


@pytest.fixture
def not_installed(wheel: Path, tmp_path: Path) -> Installation:
    """Return an environment with the dependencies of the wheel and Airflow only."""
    environment = _environment(tmp_path / "venv", wheel)
    _uv("pip", "uninstall", "--python", environment / "bin/python", "s3-to-azure")
    home = tmp_path / "home"
    home.mkdir()
    return Installation(environment / "bin", home)


def _give_plugins_folder(installation: Installation) -> Path:
    folder = installation.home / "plugins"
    folder.symlink_to(ROOT / "plugins")
    return folder


def test_wheel_has_every_file_of_the_package(wheel: Path) -> None:
    """All modules and static files are in the wheel, and the file of the plugins folder is not."""
    with zipfile.ZipFile(wheel) as packed:
        names = {name for name in packed.namelist() if ".dist-info/" not in name}
    source = ROOT / "plugins"
    files = [path for path in source.joinpath("s3_to_azure").rglob("*") if path.is_file()]
    assert names == {str(path.relative_to(source)) for path in files if "__pycache__" not in path.parts}


def test_airflow_lists_the_provider(installed: Installation) -> None:
    """`airflow providers list` shows the package and its version."""
    listed = json.loads(installed.run("airflow", "providers", "list", "--output", "json"))
    ours = [row for row in listed if row["package_name"] == "s3-to-azure"]
    assert [row["version"] for row in ours] == [__version__]


def test_airflow_lists_the_plugin(installed: Installation) -> None:
    """`airflow plugins` shows the plugin with the wheel as its source."""
    listed = json.loads(installed.run("airflow", "plugins", "--output", "json"))
    ours = [row for row in listed if row["name"] == "s3_to_azure"]
    assert len(ours) == 1
    assert f"s3-to-azure=={__version__}" in str(ours[0]["source"])


def test_dag_file_uses_the_operator(installed: Installation) -> None:
    """A DAG file that imports the operator is parsed without a plugins folder."""
    dags = installed.home / "dags"
    dags.mkdir()
    dags.joinpath("one_object.py").write_text(DAG_FILE)
    parsed = json.loads(installed.run("python", "-c", PARSE, str(dags)).splitlines()[-1])
    assert parsed == {"errors": {}, "dags": {"one_object": ["copy"]}}


def test_command_line_is_installed(installed: Installation) -> None:
    """The program `s3-to-azure` is installed."""
    assert __version__ in installed.run("s3-to-azure", "--version")


def test_command_line_copies_without_airflow(
    wheel: Path,
    tmp_path: Path,
    s3_client: Any,
    bucket: str,
    s3_server: LocalS3,
    azure_server: LocalAzure,
    container: ContainerClient,
) -> None:
    """Without the extra the wheel installs no Airflow, takes under 120 MB, and its program copies a prefix."""
    folder = _environment(tmp_path / "venv", wheel, extra="")
    installation = Installation(folder / "bin", tmp_path)
    names = {path.name for path in folder.glob("lib/*/site-packages/*")}
    assert not {name for name in names if "airflow" in name}
    assert sum(path.lstat().st_size for path in folder.rglob("*")) < 120_000_000
    s3_client.put_object(Bucket=bucket, Key="in/a.txt", Body=b"some bytes")
    installation.run(
        "s3-to-azure",
        "copy",
        f"s3://{bucket}/in/",
        f"az://{container.container_name}/out/",
        AWS_ACCESS_KEY_ID=s3_server.access_key,
        AWS_SECRET_ACCESS_KEY=s3_server.secret_key,
        AWS_DEFAULT_REGION="us-east-1",
        AWS_ENDPOINT_URL_S3=s3_server.endpoint_url,
        AZURE_STORAGE_CONNECTION_STRING=azure_server.connection_string,
    )
    assert container.download_blob("out/a.txt").readall() == b"some bytes"


def test_git_url_installs_the_same_package(wheel: Path, tmp_path: Path) -> None:
    """`name @ git+URL` builds the committed source: the command runs, and the files are the wheel's."""
    folder = tmp_path / "venv"
    _uv("venv", "--python", sys.executable, folder)
    url = f"s3-to-azure @ git+file://{ROOT}"
    _uv("pip", "install", "--python", folder / "bin/python", "--constraint", "requirements.txt", url)
    assert __version__ in Installation(folder / "bin", tmp_path).run("s3-to-azure", "--version")
    package = next(folder.glob("lib/*/site-packages"))
    installed = {str(path.relative_to(package)) for path in package.joinpath("s3_to_azure").rglob("*.py")}
    with zipfile.ZipFile(wheel) as packed:
        assert installed == {name for name in packed.namelist() if name.endswith(".py")}


def test_plugins_zip_installs_the_wheel_and_is_no_second_plugin(environment: Path, tmp_path: Path) -> None:
    """Unpacked as MWAA does, its requirement installed: Airflow loads one plugin, the wheel's, without an error."""
    checkout = tmp_path / "checkout"
    subprocess.run(["git", "clone", "--quiet", ROOT, checkout], check=True)
    checkout.joinpath(".tools").symlink_to(ROOT / ".tools")
    subprocess.run(["make", "plugins-zip"], cwd=checkout, capture_output=True, check=True)
    plugins = tmp_path / "plugins"
    with zipfile.ZipFile(checkout / "build/plugins.zip") as packed:
        packed.extractall(plugins)
    (line,) = checkout.joinpath("build/requirements.txt").read_text().splitlines()
    required = tmp_path / "requirements.txt"
    required.write_text(line.replace("/usr/local/airflow/plugins", str(plugins)))
    python = environment / "bin/python"
    _uv("pip", "uninstall", "--python", python, "s3-to-azure")
    _uv("pip", "install", "--python", python, "--constraint", "requirements.txt", "--requirement", required)
    found = json.loads(Installation(environment / "bin", tmp_path).run("python", "-c", PLUGINS).splitlines()[-1])
    assert found["errors"] == {}
    assert [source.partition(":")[0] for source in found["sources"]] == [f"s3-to-azure=={__version__}"]


def test_plugins_folder_beside_the_wheel_is_not_loaded(installed: Installation) -> None:
    """With both, Airflow loads the wheel's plugin once, without an error, and imports the wheel's package."""
    _give_plugins_folder(installed)
    found = json.loads(installed.run("python", "-c", PLUGINS).splitlines()[-1])
    assert found["errors"] == {}
    assert [source.partition(":")[0] for source in found["sources"]] == [f"s3-to-azure=={__version__}"]
    assert found["package"].startswith(str(installed.programs.parent))


def test_plugins_folder_alone_is_loaded(not_installed: Installation) -> None:
    """Without the wheel, the same source in the plugins folder registers the plugin once."""
    folder = _give_plugins_folder(not_installed)
    found = json.loads(not_installed.run("python", "-c", PLUGINS).splitlines()[-1])
    assert found == {
        "errors": {},
        "sources": ["$PLUGINS_FOLDER/s3_to_azure_plugin.py"],
        "package": str(folder / "s3_to_azure/__init__.py"),
    }
