"""Install dist's wheel beside one Airflow's lock, as a user does, and use it: `check_wheel.py AIRFLOW LOCK`.

The environment is thrown away afterwards. AIRFLOW is what the installed version must begin with (3.3).
"""

# ruff: noqa: INP001, S603, T201 - a script, which runs installers and prints what it found

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
UV = ROOT / ".tools/bin/uv"
EXAMPLE = ROOT / "dags/s3_to_azure_migration.py"

# Runs in the new environment. A warning on import is an error there.
IMPORT = """
import sys, warnings
from importlib.metadata import version
from importlib.resources import files
import airflow.sdk  # Airflow may warn about itself
warnings.simplefilter("error")
import s3_to_azure.dag, s3_to_azure.operators, s3_to_azure.sensors, s3_to_azure.triggers
assert version("apache-airflow").startswith(sys.argv[1]), version("apache-airflow")
assert version("s3-to-azure") == s3_to_azure.__version__ == sys.argv[2], version("s3-to-azure")
assert files("s3_to_azure").joinpath("py.typed").is_file()
"""
PARSE = """
import json, sys
from airflow.dag_processing.dagbag import DagBag
bag = DagBag(sys.argv[1])
print(json.dumps({"errors": bag.import_errors, "dags": list(bag.dags)}))
"""


def main(airflow: str, lock: str) -> int:
    """Check the one wheel of dist; return the exit status."""
    version = package_version()
    wheels, sources = sorted(ROOT.glob("dist/*.whl")), sorted(ROOT.glob("dist/*.tar.gz"))
    expected = ([f"s3_to_azure-{version}-py3-none-any.whl"], [f"s3_to_azure-{version}.tar.gz"])
    found = ([path.name for path in wheels], [path.name for path in sources])
    if found != expected:
        print(f"dist holds {found}, not {expected}: run `make wheel`.", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(prefix="wheel-") as scratch:
        environment = Path(scratch, "venv")
        install(environment, lock, wheels[0])
        use(environment / "bin", Path(scratch), airflow, version)
    print(f"{wheels[0].name} installs and works under Airflow {airflow}, Python {sys.version.split()[0]}.")
    return 0


def package_version() -> str:
    """Return the version that the package's source says."""
    text = (ROOT / "plugins/s3_to_azure/__init__.py").read_text(encoding="utf-8")
    found = re.search(r'^__version__ = "(.+)"$', text, re.MULTILINE)
    assert found
    return found[1]


def install(environment: Path, lock: str, wheel: Path) -> None:
    """Make an environment of the lock's packages, each checked by its hash, and of this wheel."""
    python = environment / "bin/python"
    for arguments in (
        ("venv", "--python", sys.executable, environment),
        ("pip", "sync", "--require-hashes", "--python", python, lock),
        ("pip", "install", "--no-deps", "--python", python, wheel),
        # What the wheel asks for is what the lock holds.
        ("pip", "check", "--python", python),
    ):
        run((UV, "--quiet", *arguments), {**os.environ})


def use(programs: Path, home: Path, airflow: str, version: str) -> None:
    """Import the package, parse the example DAG, ask Airflow for provider and plugin, call the command line."""
    environment = {
        "PATH": f"{programs}:/usr/bin:/bin",
        "HOME": str(home),
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR",
    }
    run((programs / "python", "-c", IMPORT, airflow, version), environment)
    parsed = json.loads(run((programs / "python", "-c", PARSE, EXAMPLE), environment).splitlines()[-1])
    assert parsed == {"errors": {}, "dags": ["s3_to_azure_migration"]}, parsed
    providers = json.loads(run((programs / "airflow", "providers", "list", "--output", "json"), environment))
    assert [row["version"] for row in providers if row["package_name"] == "s3-to-azure"] == [version], providers
    plugins = json.loads(run((programs / "airflow", "plugins", "--output", "json"), environment))
    assert [row["name"] for row in plugins if f"s3-to-azure=={version}" in str(row["source"])] == ["s3_to_azure"]
    assert run((programs / "s3-to-azure", "--version"), environment).strip() == version


def run(command: tuple[str | Path, ...], environment: dict[str, str]) -> str:
    """Run a command; return what it printed, or end with what it complained about."""
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))[:500]}\nended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2]))
