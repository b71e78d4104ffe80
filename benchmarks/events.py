"""How soon an announced object is a proven blob: ``python -m benchmarks.events``, in real Airflow on this machine.

Uploads objects one at a time, then a burst, to a bucket whose events a DAG's trigger reads, and waits for the blobs.
Prints the seconds from the end of each upload to the commit of its blob, what became of each announced object in all
runs, and the messages for each request to the queue. ``--kills`` ends the triggerer that often during the burst, with
SIGKILL, and starts another.
"""

import argparse
import re
import statistics
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final

import psutil  # type: ignore[import-untyped]  # its types are a package of their own
from rich.console import Console

from benchmarks.machine import about, sentence
from demo.airflow_instance import ROOT, environment, running
from demo.airflow_runs import wait_for_dag
from demo.announcements import ANNOUNCED_DAG_ID, Announcements
from demo.migration import Migration
from local_cloud.servers import azurite, localstack

_WAIT_S: Final = 1_200.0
_BETWEEN_KILLS_S: Final = 12.0
_SETTLE_S: Final = 20.0


def kill_triggerers(home: Path) -> None:
    """End the triggerers of this Airflow, and their processes, with SIGKILL."""
    for process in psutil.process_iter(["pid"]):
        with suppress(psutil.Error):
            is_ours = process.environ().get("AIRFLOW_HOME") == str(home)
            if is_ours and "triggerer" in " ".join(process.cmdline()):
                process.kill()


def replace_triggerers(home: Path, settings: Mapping[str, str], times: int) -> None:
    """End the triggerer, and start another one, this often."""
    for _ in range(times):
        time.sleep(_BETWEEN_KILLS_S)
        kill_triggerers(home)
        with (home / "triggerer.log").open("ab") as log:
            subprocess.Popen([str(ROOT / ".venv/bin/airflow"), "triggerer"], env=settings, stdout=log, stderr=log)


def queue_figures(logs: str) -> tuple[int, int]:
    """Return how many messages the triggerer's logs tell of, and how many requests they took."""
    found = re.findall(r"([\d,]+) messages? announced [^;]*; ([\d,]+) requests?", logs)
    messages, requests = ([int(pair[index].replace(",", "")) for pair in found] for index in (0, 1))
    return sum(messages), sum(requests)


def main() -> None:
    """Measure, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--single", type=int, default=10, help="objects that are uploaded one at a time")
    parser.add_argument("--pause", type=float, default=20.0, help="seconds between them")
    parser.add_argument("--burst", type=int, default=10_000, help="objects that are uploaded at once")
    parser.add_argument("--kills", type=int, default=0, help="how often the triggerer is killed during the burst")
    chosen = parser.parse_args()
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="announced-", ignore_cleanup_errors=True)))
        s3 = stack.enter_context(localstack(home / "s3"))
        azure = stack.enter_context(azurite(home / "azure"))
        announced = Announcements(s3, azure, Console())
        announced.prepare()
        settings = Migration(s3, azure, Console()).environment() | announced.environment()
        airflow = stack.enter_context(running(home / "airflow", settings))
        stack.callback(kill_triggerers, home / "airflow")
        wait_for_dag(airflow, ANNOUNCED_DAG_ID)
        ended: dict[str, float] = {}
        for number in range(chosen.single):
            ended |= announced.upload([f"single-{number:05}"])
            time.sleep(chosen.pause)
        announced.wait(ended, airflow, _WAIT_S)
        with ThreadPoolExecutor(1) as pool:
            whole = environment(home / "airflow", int(airflow.url.rpartition(":")[2]), settings)
            killing = pool.submit(replace_triggerers, home / "airflow", whole, chosen.kills)
            burst = announced.upload([f"burst-{number:05}" for number in range(chosen.burst)])
            announced.wait(burst, airflow, _WAIT_S)
            killing.result()
        # The last run's report.
        time.sleep(_SETTLE_S)
        seconds = [announced.seconds_to_blobs(times).values() for times in (ended, burst)]
        receipts = announced.receipts(airflow)
        logs = "".join(path.read_text(errors="replace") for path in (home / "airflow").glob("*.log"))
    print(sentence(about("benchmarks.events")))
    for name, values in zip(("one at a time", "in a burst"), seconds, strict=True):
        if values:
            median, worst = statistics.median(values), max(values)
            print(f"{name}: {len(values):,} objects, median {median:.0f} s, worst {worst:.0f} s, none lost")
    statuses = Counter(receipt["status"] for run in receipts for receipt in run)
    twice = statuses["copied"] - len(ended) - len(burst)
    print(f"{len(receipts)} runs: {dict(statuses)}; {twice} objects copied twice")
    messages, requests = queue_figures(logs)
    print(f"{messages:,} messages in {requests:,} requests, deletions included; triggerer killed {chosen.kills} times")


if __name__ == "__main__":
    main()
