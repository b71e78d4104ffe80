"""The pages in a browser without an Airflow: its own form (that of Airflow 3.0), with the data of rows in memory."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from mimetypes import guess_type
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from s3_to_azure.state.failures import FailureLine
from s3_to_azure.web.actions_view import actions_view
from s3_to_azure.web.failure_list import FailureQuery
from s3_to_azure.web.history_view import history_view
from s3_to_azure.web.migration_view import failures_view, migration_view
from s3_to_azure.web.queries import RunRow, TaskRow
from tests.web.airflow_rows import GIB, progress_record, report_summary
from tests.web.view_rows import NOW, planned, task

STATIC = Path(__file__).resolve().parents[2] / "plugins" / "s3_to_azure" / "web" / "static"
ORIGIN = "http://pages.test"
_PREFIX = "/s3_to_azure"
REASONS = {
    "object_archived": ("Object {key} is archived in class GLACIER and cannot be read. Restore it.", 4_000),
    "access_denied": ("S3 denied access to {key} (AccessDenied). Grant s3:GetObject on the prefix.", 3_000),
    "name_refused": ("Azure does not accept the name {key}: it ends in a dot.", 2_000),
    "source_changed": ("Object {key} is no longer the version that was being copied.", 700),
    "integrity_error": ("The bytes of {key} do not match the checksum that S3 stores.", 299),
    "no_receipt": ("no task wrote a receipt for it", 1),
}
FAILED = sum(count for _, count in REASONS.values())
COPIED, UNCHANGED, SKIPPED = 30_000, 8_000, 2_000


@dataclass
class Pages:
    """Answers the requests of a browser; the run is what the tests make it."""

    run: RunRow
    tasks: Sequence[TaskRow]
    lines: Sequence[FailureLine] = ()
    history: Sequence[RunRow] = ()
    asked: list[str] = field(default_factory=list)

    @property
    def address(self) -> str:
        """The address of the Migration page."""
        return f"{ORIGIN}{_PREFIX}/static/page.html?dag_id={self.run.dag_id}&run_id={self.run.run_id}"

    @property
    def history_address(self) -> str:
        """The address of the history."""
        return f"{ORIGIN}{_PREFIX}/static/page.html"

    def answer(self, route: Any) -> None:
        """Answer one request of Playwright's."""
        url = urlsplit(route.request.url)
        path, query = url.path.removeprefix(_PREFIX), dict(parse_qsl(url.query, keep_blank_values=True))
        if path.startswith("/static/"):
            file = STATIC / path.removeprefix("/static/")
            route.fulfill(body=file.read_bytes(), content_type=guess_type(file.name)[0] or "text/plain")
            return
        self.asked.append(f"{path}?{url.query}")
        route.fulfill(body=json.dumps(self._data(path, query)), content_type="application/json")

    def _data(self, path: str, query: dict[str, str]) -> Any:
        if path.endswith("/migration"):
            may = {"clear": True, "trigger": True, "download": False}
            return migration_view(self.run, self.tasks, NOW) | {"actions": actions_view(self.tasks, may)}
        if path.endswith("/failures"):
            asked = FailureQuery(
                query["reason"],
                query["search"],
                query["order"],  # type: ignore[arg-type]
                query["descending"] == "true",
                int(query["page"]),
            )
            return failures_view(self.tasks, NOW, asked, lines=lambda _: self.lines)
        dags = {run.dag_id for run in self.history}
        return history_view(self.history, days=30, now=NOW, dags=dags, chosen=dags)


def bad_morning() -> Pages:
    """Return a run of 50,000 objects of which 10,000 failed, for six reasons, in 200 tasks."""
    lines = list(_failures())
    summary = report_summary(
        listed={"objects": FAILED + COPIED + UNCHANGED + SKIPPED, "size_bytes": 60 * GIB},
        copied={"objects": COPIED, "size_bytes": 40 * GIB},
        unchanged={"objects": UNCHANGED, "size_bytes": 10 * GIB},
        skipped={"objects": SKIPPED, "size_bytes": GIB},
        failed={"objects": FAILED, "size_bytes": 9 * GIB},
        reasons=[
            {"status": "failed", "reason": code, "objects": count, "size_bytes": GIB}
            for code, (_, count) in sorted(REASONS.items())
        ]
        + [{"status": "skipped", "reason": "excluded", "objects": SKIPPED, "size_bytes": GIB}],
        samples={code: f"{lines[0].key!r}: {sentence.format(key='it')}" for code, (sentence, _) in REASONS.items()},
        proofs={"crc64nvme": 25_000, "md5": 4_000, "transport": 1_000},
        failures=[
            {"key": line.key, "reason": line.reason, "batch": line.batch, "try_number": line.try_number}
            for line in lines[:150]
        ],
        more_failures=FAILED - 150,
        proven="46,000 objects (50.0 GiB) of 48,000 in Azure: 25,000 by crc64nvme, 4,000 by md5",
    )
    copies = [
        task(
            map_index=index,
            state="failed" if index < 120 else "success",
            try_number=1 + index % 3,
            progress=progress_record(objects_failed=83 if index < 120 else 0),
            error={"error": "SomeObjectsFailed", "message": "83 of 200 objects failed", "try_number": 1 + index % 3},
            ended_at=NOW,
        )
        for index in range(200)
    ]
    plan = planned(
        *({"objects": 200, "size_bytes": GIB // 4, "kind": "objects"} for _ in copies),
        listed=summary["listed"],
        copy={"objects": FAILED + COPIED, "size_bytes": 49 * GIB},
        unchanged=summary["unchanged"],
        container="archive",
        blob_prefix="nightly/",
    )
    settings = {"prefix": "", "overwrite": "if_changed", "integrity": "auto", "max_tasks": 200, "dry_run": False}
    sensor = task(
        "wait_for_objects",
        operator="S3ObjectsSensor",
        state="success",
        results={
            "return_value": {"bucket": "exports", "prefix": "nightly/2026-11-22/", "objects": 50_000},
            "settings": settings,
        },
    )
    report = task("report", state="failed", results={"report": summary})
    run = RunRow("nightly", "scheduled__2026-11-23", "failed", NOW - timedelta(hours=2), NOW, report=summary)
    return Pages(run, [sensor, plan, *copies, report], lines, history=[run])


def fetched_night() -> Pages:
    """Return a run whose large objects Azure fetched, but for those that it could not."""
    ways: dict[str, Any] = {
        "fetched": {"objects": 260, "size_bytes": 2_400 * GIB, "blocks_fetched": 38_288, "blocks_streamed": 112},
        "ended_streamed": {"source_unreachable": {"objects": 2, "size_bytes": 14 * GIB}},
        "not_fetched": {
            "long_url": {"objects": 3, "size_bytes": 7 * GIB},
            "no_crc64nvme": {"objects": 12, "size_bytes": 96 * GIB},
            "one_request": {"objects": 1_024, "size_bytes": GIB},
        },
    }
    copied = {"objects": 1_299, "size_bytes": 2_504 * GIB}
    nothing = {"objects": 0, "size_bytes": 0}
    plan = planned(
        {"objects": 1_299, "size_bytes": 2_504 * GIB, "kind": "objects"},
        listed=copied,
        copy=copied,
        container="videos",
        blob_prefix="",
        via="auto",
        fetched={"objects": 272, "size_bytes": 2_496 * GIB},
        not_fetched={name: ways["not_fetched"][name] for name in ("long_url", "one_request")},
    )
    summary = report_summary(
        listed=copied,
        copied=copied,
        skipped=nothing,
        failed=nothing,
        reasons=[],
        failures=[],
        proofs={"crc64nvme": 1_287, "md5": 12},
        proven="1,299 objects (2.4 TiB) of 1,299 in Azure: 1,287 by crc64nvme, 12 by md5",
        **ways,
    )
    sensor = task(
        "wait_for_objects",
        operator="S3ObjectsSensor",
        state="success",
        results={"return_value": {"bucket": "videos", "prefix": "", "objects": 1_299}, "settings": {"via": "auto"}},
    )
    copy = task(state="success", progress=progress_record(), ended_at=NOW)
    report = task("report", state="success", results={"return_value": summary})
    run = RunRow("videos", "scheduled__2026-11-23", "success", NOW - timedelta(hours=2), NOW, report=summary)
    return Pages(run, [sensor, plan, copy, report], history=[run])


def _failures() -> Iterator[FailureLine]:
    number = 0
    for code, (sentence, count) in REASONS.items():
        for _ in range(count):
            folders = f"nightly/2026-11-22/region={number % 7}/{'very-long-folder-name/' * (number % 9)}"
            key = f"{folders}part-{number:05}.parquet"
            yield FailureLine(key, f"{code}: {sentence.format(key=repr(key))}", 1_000 * (number + 1), number % 120, 1)
            number += 1
