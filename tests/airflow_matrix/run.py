"""Run the package with each Airflow of the matrix: `python -m tests.airflow_matrix.run --help`."""

# ruff: noqa: T201 - a program, which prints what it found

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Final
from uuid import uuid4

from local_cloud.processes import free_port
from local_cloud.servers import LocalAzure, LocalS3, azurite, localstack
from tests.airflow_matrix.rows import LOCKS, ROWS, Row

ROOT: Final = Path(__file__).resolve().parents[2]
UV: Final = ROOT / ".tools/bin/uv"
PAGE: Final = ROOT / "docs/compatibility.md"
RESULTS: Final = ROOT / "build/airflow-matrix.json"
MARKS: Final = ("<!-- matrix -->", "<!-- end of matrix -->")
NOT_RUN: Final = "not run"
SHOWN: Final = ("apache-airflow-providers-amazon", "apache-airflow-providers-microsoft-azure", "boto3", "awscrt")


def main() -> int:
    """Make the locks again, or run the rows; return the exit status."""
    parser = argparse.ArgumentParser(prog="make airflow-matrix")
    parser.add_argument("--short", action="store_true", help="only the oldest, the newest and 3.1")
    parser.add_argument("--row", action="append", metavar="NAME", help="only the row of this name")
    parser.add_argument("--no-events", action="store_true", help="leave out the events, which take a minute")
    parser.add_argument("--lock", action="store_true", help="resolve the rows' locks again, and run nothing")
    parser.add_argument("--write", action="store_true", help=f"write the table of {RESULTS.name} into {PAGE.name}")
    parser.add_argument("--pictures", type=Path, metavar="FOLDER", help="take pictures of the pages")
    given = parser.parse_args()
    rows = [row for row in ROWS if (not given.short or row.is_short) and (not given.row or row.name in given.row)]
    if given.no_events:
        rows = [replace(row, has_events=False) for row in rows]
    if not rows:
        parser.error(f"There are these rows: {', '.join(row.name for row in ROWS)}")
    if given.lock:
        for row in rows:
            lock(row)
        return 0
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="matrix-", ignore_cleanup_errors=True)))
        wheel = build(folder)
        s3 = stack.enter_context(localstack(folder / "s3"))
        azure = stack.enter_context(azurite(folder / "azure"))
        results = {}
        for row in rows:
            results[row.name] = run_row(row, wheel, folder / row.name, s3, azure, given.pictures)
            print(f"{row.name}: {summary(results[row.name])}", flush=True)
            record({row.name: results[row.name]})
    if given.write:
        write_page(record({}))
    return 0 if all(set(result.values()) == {"ok"} for result in results.values()) else 1


def lock(row: Row) -> None:
    """Resolve the row's exact versions."""
    LOCKS.mkdir(exist_ok=True)
    with tempfile.NamedTemporaryFile("w", suffix=".in") as more:
        more.write("\n".join((f"apache-airflow=={row.airflow}", *row.pins)))
        more.flush()
        resolution = ("--resolution", "lowest-direct") if row.lowest else ()
        uv(
            *("pip", "compile", "--no-header", "--universal", "--python-version", row.python, *resolution),
            *("--no-annotate", "--exclude-newer", row.dated, "--exclude-newer-package", "awscrt=2026-09-18"),
            *("--extra", "airflow", "pyproject.toml", more.name, "--output-file", row.lock),
        )


def build(folder: Path) -> Path:
    """Return the wheel of this checkout."""
    uv("build", "--wheel", "--out-dir", folder / "dist")
    return next(folder.joinpath("dist").glob("*.whl"))


def run_row(
    row: Row, wheel: Path, folder: Path, s3: LocalS3, azure: LocalAzure, pictures: Path | None
) -> dict[str, str]:
    """Install the row's lock and the wheel, and use them; return each check's result."""
    python = folder / "venv/bin/python"
    began = time.monotonic()
    try:
        uv("venv", "--python", sys.executable if row.is_short else row.python, folder / "venv")
    except subprocess.CalledProcessError:
        return {NOT_RUN: f"Python {row.python} was not found; install it, and put it on the PATH"}
    uv("pip", "sync", "--python", python, row.lock)
    uv("pip", "install", "--no-deps", "--python", python, wheel)
    home = folder / "home"
    shutil.copytree(Path(__file__).parent / "dags", home / "dags")
    more = ["--scheduler"] * row.has_scheduler + ["--events"] * row.has_events
    done = subprocess.run(
        [python, Path(__file__).with_name("exercise.py"), ROOT / "dags/s3_to_azure_migration.py", *more],
        env=environment(python.parent, home, s3, azure),
        cwd=home,
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        results = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        return {NOT_RUN: done.stderr[-1500:] or "it printed no result"}
    if row.has_pages:
        results["pages"] = open_row(row, folder, environment(python.parent, folder / "pages", s3, azure), pictures)
    print(f"{row.name}: {time.monotonic() - began:.0f} s", flush=True)
    shutil.rmtree(folder / "venv")
    return {str(name): str(result) for name, result in results.items()}


def open_row(row: Row, folder: Path, variables: Mapping[str, str], pictures: Path | None) -> str:
    """Open the pages in a browser."""
    try:
        from tests.airflow_matrix.pages import open_pages  # noqa: PLC0415 - only these rows need a browser
    except ImportError as error:
        return f"not opened: {error}"
    shots = pictures / row.name if pictures else None
    if shots:
        shots.mkdir(parents=True, exist_ok=True)
    return open_pages(folder / "venv/bin", folder / "pages", variables, shots)


def record(results: Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, str]]:
    """Add the results of these rows to those of earlier runs in this checkout; return all."""
    RESULTS.parent.mkdir(exist_ok=True)
    known = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    merged = {**known, **results}
    RESULTS.write_text(json.dumps(merged, indent=1), encoding="utf-8")
    return merged


def environment(programs: Path, home: Path, s3: LocalS3, azure: LocalAzure) -> dict[str, str]:
    """Return the variables of an Airflow on SQLite that finds both servers through its two connections."""
    aws = {"endpoint_url": s3.endpoint_url, "region_name": s3.region}
    # Ports of its own: another Airflow on this machine has those that Airflow takes unasked.
    port, worker_logs, trigger_logs = (str(free_port()) for _ in range(3))
    return {
        "PATH": f"{programs}:/usr/bin:/bin",
        "HOME": str(home),
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(home / "dags"),
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
        "AIRFLOW_CONN_AWS_DEFAULT": json.dumps(
            {"conn_type": "aws", "login": s3.access_key, "password": s3.secret_key, "extra": aws}
        ),
        "AIRFLOW_CONN_WASB_DEFAULT": json.dumps(
            {"conn_type": "wasb", "extra": {"connection_string": azure.connection_string}}
        ),
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": port,
        "AIRFLOW__API__BASE_URL": f"http://127.0.0.1:{port}",
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{port}/execution/",
        "AIRFLOW__CORE__PARALLELISM": "4",  # more tasks at once lock SQLite
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "5",
        "AIRFLOW__SCHEDULER__DAG_DIR_LIST_INTERVAL": "5",
        "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": worker_logs,
        "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": trigger_logs,
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        "AIRFLOW__WEBSERVER__WEB_SERVER_PORT": port,
        "AWS_ENDPOINT_URL": s3.endpoint_url,
        "AWS_ACCESS_KEY_ID": s3.access_key,
        "AWS_SECRET_ACCESS_KEY": s3.secret_key,
        "AWS_DEFAULT_REGION": s3.region,
        "AZURE_STORAGE_CONNECTION_STRING": azure.connection_string,
        "MATRIX_NAME": f"matrix-{uuid4().hex[:12]}",
    }


def summary(results: Mapping[str, str]) -> str:
    """Return one line: the checks that passed, or what each failed one says."""
    failed = {name: result for name, result in results.items() if result != "ok"}
    return "\n  ".join(f"{name}: {result}" for name, result in failed.items()) or f"{len(results)} checks passed"


def write_page(results: Mapping[str, Mapping[str, str]]) -> None:
    """Replace the table of docs/compatibility.md."""
    page = PAGE.read_text(encoding="utf-8")
    begin, end = (page.index(mark) for mark in MARKS)
    PAGE.write_text(f"{page[:begin]}{MARKS[0]}\n{table(results)}\n{page[end:]}", encoding="utf-8")


def table(results: Mapping[str, Mapping[str, str]]) -> str:
    """Return the rows that were run as a Markdown table, and below it why a check failed or a row was not run."""
    names = list(dict.fromkeys(name for result in results.values() for name in result if name != NOT_RUN))
    lines = [
        "| " + " | ".join(("Airflow", "Python", "amazon", "azure", "boto3", "awscrt", *names)) + " |",
        "|" + "---|" * (6 + len(names)),
    ]
    reasons = []
    for row in ROWS:
        if row.name in results:
            found = results[row.name]
            title = row.airflow + (f" ({row.place})" if row.place else "") + (", lowest" if row.lowest else "")
            python = platform.python_version().rpartition(".")[0] if row.is_short else row.python
            texts = [NOT_RUN if NOT_RUN in found else found.get(name, "") for name in names]
            cells = [{"": "", "ok": "yes", NOT_RUN: NOT_RUN}.get(text, "**no**") for text in texts]
            lines.append("| " + " | ".join((title, python, *locked(row.lock, SHOWN), *cells)) + " |")
            reasons += [
                f"- {title}, Python {python}, {name}: {one_line(text)}" for name, text in found.items() if text != "ok"
            ]
    return "\n".join([*lines, *([""] if reasons else []), *reasons])


def one_line(text: str) -> str:
    """Return the text in one short line."""
    return f"`{' '.join(text.replace('`', '').split())[-200:]}`"


def locked(path: Path, names: Iterable[str]) -> list[str]:
    """Return the versions of these packages in a lock."""
    text = path.read_text(encoding="utf-8")
    found = (re.search(rf"^{re.escape(name)}(?:\[.*\])?==(\S+)", text, re.MULTILINE) for name in names)
    return [match[1] if match else "" for match in found]


def uv(*arguments: str | Path) -> None:
    """Run uv without the variables of an environment that is active."""
    inherited = {k: v for k, v in os.environ.items() if k not in {"VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME"}}
    variables = inherited | {"UV_PYTHON_DOWNLOADS": "never"}
    subprocess.run([UV, "--quiet", *arguments], cwd=ROOT, env=variables, check=True)


if __name__ == "__main__":
    sys.exit(main())
