"""The work of a task that copies a whole prefix: its counts, its state files, its log."""

import logging
from typing import Any

import pytest

from s3_to_azure.airflow.jobs import Endpoints
from s3_to_azure.airflow.prefix_job import PrefixJob
from s3_to_azure.model.errors import SomeObjectsFailed
from tests.fakes.contexts import transfer_context
from tests.fakes.memory_destination import MemoryDestination
from tests.fakes.memory_source import MemorySource
from tests.fakes.state_memory import MemoryState

ENDPOINTS = Endpoints("bucket", "container", aws_conn_id=None, wasb_conn_id="w", s3_arguments={})


def _source(*keys: str) -> MemorySource:
    source = MemorySource("bucket")
    for key in keys:
        source.put("bucket", key, key.encode())
    return source


def _run(source: MemorySource, destination: MemoryDestination, **arguments: Any) -> dict[str, Any]:
    job_arguments: dict[str, Any] = {"prefix": "in/", "blob_prefix": "out/", "try_number": 1} | arguments
    files = job_arguments.pop("files", None)
    settings = {
        "refused_names": job_arguments.pop("refused_names", "fail"),
        "overwrite": job_arguments.pop("overwrite", "if_changed"),
    }
    with transfer_context(source, destination, **settings) as context:
        job = PrefixJob(context, ENDPOINTS, files, **job_arguments)
        assert job.is_listing
        try:
            return job.run()
        finally:
            assert not job.is_listing
            assert job.one_object is None


@pytest.mark.parametrize(("try_number", "text"), [(1, ""), (2, ", try 2")])
def test_the_log_says_which_try_it_is(try_number: int, text: str, caplog: pytest.LogCaptureFixture) -> None:
    """The line before the copies has the plan, the last line the result."""
    caplog.set_level(logging.INFO, logger="s3_to_azure")
    destination = MemoryDestination()
    _run(_source("in/k"), destination, try_number=try_number)
    (started,) = [line for line in caplog.messages if line.startswith("Copying ")]
    assert started == (
        f"Copying 1 object (4 bytes) of 1{text}, below 'in/' in S3 bucket bucket to 'out/' in Azure container "
        f"{destination.container}"
    )
    assert caplog.messages[-1].startswith("1 object: 1 copied, 0 unchanged, 0 skipped, 0 failed; 4 bytes sent in ")


def test_all_objects_are_counted() -> None:
    """By status, by reason and by verification level; a second run copies nothing."""
    source, destination = _source("in/a", "in/b/c", "in/../x", "elsewhere"), MemoryDestination()
    first = _run(source, destination, refused_names="skip", try_number=3)
    assert (first["objects"], first["copied"], first["skipped"], first["failed"]) == (3, 2, 1, 0)
    assert (first["reasons"], sum(first["verified_by"].values())) == ({"name_refused": 1}, 2)
    assert (first["bytes_sent"], first["try_number"]) == (len("in/a") + len("in/b/c"), 3)
    assert set(destination.blobs) == {"out/a", "out/b/c"}
    again = _run(source, destination, refused_names="skip")
    assert (again["copied"], again["unchanged"], again["bytes_sent"]) == (0, 2, 0)


@pytest.mark.parametrize("files", [None, MemoryState()], ids=["temporary", "kept"])
def test_a_retry_with_overwrite_always_sends_only_what_is_missing(files: MemoryState | None) -> None:
    """The blobs say which run has written them; another run, or one that was cleared, writes all of them again."""
    source, destination = _source("in/a", "in/b"), MemoryDestination()
    destination.write("out/a", b"older")
    run = {"overwrite": "always", "files": files}
    assert _run(source, destination, **run, run="1" * 16)["copied"] == 2
    source.put("bucket", "in/c", b"later")
    source.put("bucket", "in/b", b"changed")
    second = _run(source, destination, **run, run="1" * 16, try_number=2)
    assert (second["copied"], second["unchanged"], second["bytes_sent"]) == (2, 1, len(b"later") + len(b"changed"))
    assert _run(source, destination, **run, run="2" * 16)["copied"] == 3
    # Without a task, as in a unit test of a DAG, each try is a run of its own.
    assert [_run(source, destination, **run)["copied"] for _ in range(2)] == [3, 3]


def test_a_failed_object_is_raised_after_all_others_are_copied(caplog: pytest.LogCaptureFixture) -> None:
    """The last line counts both."""
    caplog.set_level(logging.INFO, logger="s3_to_azure")
    destination = MemoryDestination()
    with pytest.raises(SomeObjectsFailed):
        _run(_source("in/a", "in/../x"), destination)
    assert set(destination.blobs) == {"out/a"}
    assert caplog.messages[-1].startswith("2 objects: 1 copied, 0 unchanged, 0 skipped, 1 failed (1 name_refused); ")


def test_state_files_are_kept_where_they_are_given(caplog: pytest.LogCaptureFixture) -> None:
    """Listing, plan, receipts and report; the log says where they are."""
    caplog.set_level(logging.INFO, logger="s3_to_azure")
    files = MemoryState()
    _run(_source("in/a"), MemoryDestination(), files=files)
    for kind in ("manifest-", "plan", "receipts", "report.json"):
        assert any(name.startswith(kind) for name in files.files), (kind, sorted(files.files))
    assert f"Receipts and report: {files.location}" in caplog.messages


def test_without_state_files_nothing_but_the_blobs_is_written() -> None:
    """They are temporary then."""
    destination = MemoryDestination()
    _run(_source("in/a"), destination)
    assert set(destination.blobs) == {"out/a"}
