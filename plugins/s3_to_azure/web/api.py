"""The pages' data and files, below ``/s3_to_azure`` of Airflow's API server; each data route checks permissions."""

import json
from collections.abc import Iterator, Mapping
from datetime import timedelta
from os import PathLike, stat_result
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import Depends, FastAPI, HTTPException, Query
from sqlalchemy.orm import Session
from starlette.responses import Response, StreamingResponse
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from s3_to_azure.model.names import REPORT_CSV_NAME, REPORT_FAILURES_NAME
from s3_to_azure.state.failures import FailureLine, read_failures
from s3_to_azure.web.actions_view import actions_view
from s3_to_azure.web.airflow_internals import (
    SHOWN_ENTITIES,
    GetUserDep,
    SessionDep,
    may_act,
    may_read_results,
    readable_dags,
    requires_access_dag,
)
from s3_to_azure.web.failure_list import MAX_PAGE, FailureQuery, Order
from s3_to_azure.web.history_view import history_view
from s3_to_azure.web.migration_view import failures_view, migration_view, utc_now
from s3_to_azure.web.queries import RunRow, TaskRow, migrations, plan_of, read_history, read_run
from s3_to_azure.web.report_files import ReportUnavailable, is_allowed, open_report, report_chunks, report_location

_STATIC = Path(__file__).with_name("static")


class _Files(StaticFiles):
    """Static files that a browser revalidates, so that it gets the new ones after an upgrade; a 304 if unchanged."""

    def file_response(
        self, full_path: PathLike[str] | str, stat_result: stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        response = super().file_response(full_path, stat_result, scope, status_code)
        response.headers["Cache-Control"] = "no-cache"
        return response


def _json(content: dict[str, Any]) -> Response:
    """Return a response in ASCII: a text may hold half of a surrogate pair, which UTF-8 does not have."""
    return Response(json.dumps(content, allow_nan=False, separators=(",", ":")), media_type="application/json")


def _read_run(session: Session, dag_id: str, run_id: str) -> tuple[RunRow, list[TaskRow]]:
    found = read_run(session, dag_id, run_id)
    if found is None:
        raise HTTPException(404, "This run does not exist.")
    return found


def web_app() -> FastAPI:
    """Return the application that the plugin mounts."""
    app = FastAPI(title="S3 to Azure", docs_url=None, redoc_url=None, openapi_url=None)
    may_read_dag = [Depends(requires_access_dag("GET", entity)) for entity in SHOWN_ENTITIES]

    @app.get("/api/dags/{dag_id}/migration", dependencies=may_read_dag)
    def migration(
        dag_id: str, run_id: Annotated[str, Query(max_length=250)], user: GetUserDep, session: SessionDep
    ) -> Response:
        run, tasks = _read_run(session, dag_id, run_id)
        may = may_act(user, dag_id) | {"download": is_allowed(report_location(dag_id, run_id, plan_of(tasks)))}
        return _json(migration_view(run, tasks, utc_now()) | {"actions": actions_view(tasks, may)})

    @app.get("/api/dags/{dag_id}/report.csv", dependencies=may_read_dag)
    def report_csv(
        dag_id: str, run_id: Annotated[str, Query(max_length=250)], session: SessionDep
    ) -> StreamingResponse:
        _, tasks = _read_run(session, dag_id, run_id)
        # The database is not kept waiting for a storage account.
        session.commit()
        try:
            chunks = report_chunks(report_location(dag_id, run_id, plan_of(tasks)), REPORT_CSV_NAME)
        except ReportUnavailable as error:
            raise HTTPException(error.status, error.detail) from None
        name = quote(f"{dag_id} {run_id}.csv", safe="")
        headers = {
            "Content-Disposition": f"attachment; filename*=UTF-8''{name}",
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
        }
        return StreamingResponse(chunks, media_type="text/csv; charset=utf-8", headers=headers)

    @app.get("/api/dags/{dag_id}/failures", dependencies=may_read_dag)
    def failures(
        dag_id: str,
        run_id: Annotated[str, Query(max_length=250)],
        session: SessionDep,
        reason: Annotated[str, Query(max_length=100)] = "",
        search: Annotated[str, Query(max_length=1_024)] = "",
        order: Order = "listing",
        descending: Annotated[bool, Query()] = False,  # noqa: FBT002 - FastAPI reads it from the query
        page: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 1,
    ) -> Response:
        _, tasks = _read_run(session, dag_id, run_id)
        # The database is not kept waiting for a storage account.
        session.commit()
        query = FailureQuery(reason, search, order, descending, page)

        def lines(plan: Mapping[str, Any]) -> Iterator[FailureLine]:
            with open_report(report_location(dag_id, run_id, plan)) as files:
                yield from read_failures(files.chunks(REPORT_FAILURES_NAME), location=files.location)

        return _json(failures_view(tasks, utc_now(), query, lines=lines))

    @app.get("/api/history")
    def history(
        user: GetUserDep,
        session: SessionDep,
        days: Annotated[int, Query(ge=1, le=366)] = 30,
        dag: Annotated[str, Query(max_length=250)] = "",
    ) -> Response:
        # The permissions come first, so that the runs of others do not count towards the limit.
        allowed = may_read_results(user, migrations(session, readable_dags(user, session)))
        chosen = allowed & {dag} if dag else allowed
        now = utc_now()
        runs = read_history(session, chosen, now - timedelta(days=days))
        return _json(history_view(runs, days=days, now=now, dags=allowed, chosen=chosen))

    app.mount("/static", _Files(directory=_STATIC), name="static")
    return app
