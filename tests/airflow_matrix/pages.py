"""Opens the pages in Chromium on the Airflow of a row, while a migration runs and after it; takes pictures if asked.

Airflow 3.1 and later show them in their own UI; for 3.0 they are pages by themselves.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import boto3
import requests
from azure.storage.blob import BlobServiceClient
from playwright.sync_api import Page, expect, sync_playwright

DAG_ID: Final = "nightly_reports"
CHROMIUM: Final = shutil.which("chromium")
_PLACE: Final = "pages-of-the-matrix"
_WAIT_S: Final = 180.0
_MIB: Final = 1024**2
_DAG: Final = """\
# A migration for Airflow
from s3_to_azure.dag import migration_dag

dag = migration_dag("nightly_reports", "s3://{name}/nightly/", "az://{name}/reports", bandwidth_limit="3MiB", retries=0)
"""


def open_pages(programs: Path, home: Path, variables: Mapping[str, str], shots: Path | None) -> str:
    """Run Airflow and a migration, and open both pages; return ``ok``, or what went wrong."""
    name = f"{_PLACE}-{os.getpid()}-{time.time_ns()}"
    errors: list[str] = []
    _fill(name, variables)
    (home / "dags").mkdir(parents=True)
    (home / "dags/nightly_reports.py").write_text(_DAG.format(name=name))
    try:
        with _airflow(programs, home, variables) as url, sync_playwright() as machine:
            browser = machine.chromium.launch(executable_path=CHROMIUM, chromium_sandbox=os.geteuid() != 0)
            page = browser.new_context(viewport={"width": 1440, "height": 1300}, timezone_id="UTC").new_page()
            page.set_default_timeout(60_000)
            expect.set_options(timeout=60_000)
            page.on("pageerror", lambda error: errors.append(str(error)))
            try:
                _look(page, _Airflow(url), lambda what: shots and page.screenshot(path=shots / f"{what}.png"))
            except Exception:
                if shots:
                    page.screenshot(path=shots / "failed.png")
                raise
    except Exception as error:  # noqa: BLE001 - the other rows still run
        return f"{type(error).__name__}: {error}; errors in scripts: {errors}"[:1500]
    return f"errors in scripts: {errors}" if errors else "ok"


def _look(page: Page, airflow: "_Airflow", shoot: Callable[[str], Any]) -> None:
    run_id = airflow.trigger()
    # The UI of 3.0 keeps its token where the pages look for it.
    page.goto(airflow.url)
    expect(page.get_by_text("Dags", exact=True).first).to_be_visible()
    has_own_page = "react_apps" not in airflow.get("plugins")["plugins"][0]
    migration = f"/dags/{DAG_ID}/runs/{quote(run_id, safe='')}/plugin/s3_to_azure_migration"
    if has_own_page:
        migration = f"/s3_to_azure/static/page.html?dag_id={DAG_ID}&run_id={quote(run_id, safe='')}"
    page.goto(airflow.url + migration)
    page.wait_for_function(
        "() => { const done = Number(document.querySelector('[role=progressbar].s3az-large')?.ariaValueNow ?? 0); "
        "return done >= 20 && done < 100; }",
        timeout=1000 * _WAIT_S,
    )
    expect(page.get_by_text("Live, updated")).to_be_visible()
    shoot("running")
    expect(page.get_by_role("heading", name=re.compile("1 of 7 objects failed"))).to_be_visible(timeout=1000 * _WAIT_S)
    expect(page.locator(".s3az-equation")).to_contain_text("7 listed = 6 copied + 0 unchanged + 0 skipped + 1 failed")
    shoot("ended")
    (link,) = (entry for entry in airflow.links(run_id).items() if entry[0] == "Migration")
    assert link[1].endswith(migration), link
    page.get_by_role("region", name="Failed objects").get_by_role("link").click()
    page.wait_for_url(re.compile(r"/tasks/(copy|report).*try_number=\d"))
    expect(page.get_by_text("archived").first).to_be_visible()
    shoot("log")
    page.goto(airflow.url + ("/s3_to_azure/static/page.html" if has_own_page else "/plugin/s3_to_azure_history"))
    expect(page.get_by_role("heading", name="S3 to Azure migrations")).to_be_visible()
    rows = page.get_by_role("region", name="Runs", exact=True).locator("tbody tr")
    expect(rows).to_have_count(1)
    shoot("history")
    rows.get_by_role("link").click()
    expect(page.get_by_role("heading", name=re.compile("1 of 7 objects failed"))).to_be_visible()
    actions, dialog = page.get_by_role("region", name="Actions"), page.get_by_role("dialog")
    actions.get_by_role("button", name="Run again").click()
    expect(dialog.get_by_role("button", name="Start the run")).to_be_enabled()
    page.keyboard.press("Escape")
    actions.get_by_role("button", name="Retry failed").click()
    expect(dialog.get_by_role("listitem")).to_have_count(3)
    expect(dialog.get_by_role("listitem").first).to_have_text(re.compile("^copy"))
    shoot("retry")
    dialog.get_by_role("button", name=re.compile("^Clear ")).click()
    expect(actions).to_contain_text("runs them again")
    until("the report has run again", lambda: airflow.tries(run_id, "report") == (2, "failed"))


def _fill(name: str, variables: Mapping[str, str]) -> None:
    s3 = boto3.client(
        "s3",
        endpoint_url=variables["AWS_ENDPOINT_URL"],
        aws_access_key_id=variables["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=variables["AWS_SECRET_ACCESS_KEY"],
        region_name=variables["AWS_DEFAULT_REGION"],
    )
    s3.create_bucket(Bucket=name)
    s3.put_object(Bucket=name, Key="nightly/database.dump", Body=os.urandom(64 * _MIB), ChecksumAlgorithm="CRC64NVME")
    for number in range(5):
        s3.put_object(Bucket=name, Key=f"nightly/part-{number}", Body=os.urandom(100_000))
    s3.put_object(Bucket=name, Key="nightly/archive.tar", Body=b"old", StorageClass="GLACIER")
    with BlobServiceClient.from_connection_string(variables["AZURE_STORAGE_CONNECTION_STRING"]) as blobs:
        blobs.create_container(name)


class _Airflow:
    """Airflow's API.

    Args:
        url: Its address.
    """

    def __init__(self, url: str) -> None:
        self.url = url

    def get(self, path: str) -> Any:
        """Return the JSON of a GET."""
        return self._request("GET", path)

    def trigger(self) -> str:
        """Start a run once the DAG is there; return its id."""
        until("the DAG is there", lambda: self.get(f"dags?dag_id_pattern={DAG_ID}")["dags"])
        return str(self._request("POST", f"dags/{DAG_ID}/dagRuns", json={"logical_date": None})["dag_run_id"])

    def tries(self, run_id: str, task_id: str) -> tuple[int, str]:
        """Return the number of a task's tries, and its state."""
        task = self.get(f"dags/{DAG_ID}/dagRuns/{quote(run_id, safe='')}/taskInstances/{task_id}")
        return task["try_number"], task["state"]

    def links(self, run_id: str) -> dict[str, str]:
        """Return the links of the first copy task."""
        path = f"dags/{DAG_ID}/dagRuns/{quote(run_id, safe='')}/taskInstances/copy/links?map_index=0"
        found: dict[str, str] = self.get(path)["extra_links"]
        return found

    def _request(self, method: str, path: str, **arguments: Any) -> Any:
        token = requests.get(f"{self.url}/auth/token", timeout=30).json()["access_token"]
        headers = {"Authorization": f"Bearer {token}"}
        answer = requests.request(method, f"{self.url}/api/v2/{path}", headers=headers, timeout=30, **arguments)
        answer.raise_for_status()
        return answer.json()


@contextmanager
def _airflow(programs: Path, home: Path, variables: Mapping[str, str]) -> Iterator[str]:
    url = variables["AIRFLOW__API__BASE_URL"]
    with (home / "standalone.log").open("w") as log:
        process = subprocess.Popen(
            [programs / "airflow", "standalone"],
            env=dict(variables),
            cwd=home,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            until("Airflow is healthy", lambda: _is_healthy(url))
            yield url
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                process.wait(30)
            # Its own end does not mean that of all its processes.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def _is_healthy(url: str) -> bool:
    try:
        health = requests.get(f"{url}/api/v2/monitor/health", timeout=5).json()
    except (requests.RequestException, json.JSONDecodeError):
        return False
    return all((health.get(part) or {}).get("status") == "healthy" for part in ("scheduler", "dag_processor"))


def until(what: str, reached: Callable[[], Any]) -> None:
    """Wait until the function returns a true value.

    Raises:
        TimeoutError: It took too long.
    """
    end = time.monotonic() + _WAIT_S
    while not reached():
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not within {_WAIT_S:.0f} s")
        time.sleep(1)
