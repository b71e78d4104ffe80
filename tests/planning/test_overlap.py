"""Two migrations that can write the same blobs are told; what is not certain is not told."""

import json
import logging
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from s3_to_azure.model.errors import ServerFailed
from s3_to_azure.planning.overlap import NameMapping, planned_overlaps
from tests.fakes.state_memory import MemoryState

ROOT = "x/"


def mapping(source: str, blob_prefix: str, **more: Any) -> NameMapping:
    """Return a mapping of ``bucket/prefix``."""
    bucket, _, prefix = source.partition("/")
    values = {"owner": source, "account": "wasb_default", "container": "backup"} | more
    return NameMapping(bucket=bucket, s3_prefix=prefix, blob_prefix=blob_prefix, **values)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (mapping("b/2025/", ROOT), mapping("b/2026/", ROOT)),
        (mapping("one/in/", ROOT), mapping("other/in/", ROOT)),
        (mapping("b/in/", ""), mapping("c/in/", "x/y/")),
        (mapping("b/in/", "x/"), mapping("b/in/y/", "x/z/")),
        (mapping("b/in/", "x/"), mapping("b/", "x/")),
        (mapping("b/in/", "x"), mapping("c/in/", "xy")),
        (mapping("b/a.csv", "now.csv", is_object=True), mapping("b/b.csv", "now.csv", is_object=True)),
        (mapping("b/in/", "x/"), mapping("b/other.csv", "x/other.csv", is_object=True)),
        (mapping("b/in/", "x/{{ ds }}/"), mapping("c/in/", "x/{{ ds }}/")),
        (mapping("b/in/", "x/"), mapping("c/in/", "x/{{ dag.dag_id }}/")),
        (mapping("b/a/{{ ds }}/", ROOT), mapping("b/b/{{ ds }}/", ROOT)),
        (mapping("b/a/{{ params.x }}/", ROOT), mapping("b/b/{{ params.x }}/", ROOT)),
        (mapping("b/in/", "{{ macros.ds_add(ds, -1) }}/"), mapping("c/in/", "{{ macros.ds_add(ds, -1) }}/")),
    ],
)
def test_overlap(one: NameMapping, other: NameMapping) -> None:
    """A blob that both can write would be a copy of two objects."""
    assert one.overlaps(other)
    assert other.overlaps(one)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param(mapping("b/in/", ROOT), mapping("b/in/", ROOT), id="same objects, same names"),
        pytest.param(mapping("b/in/", ROOT), mapping("b/in/a/", "x/a/"), id="same names for what both copy"),
        pytest.param(mapping("b/in/", ROOT), mapping("b/in/f", "x/f", is_object=True), id="the same object"),
        pytest.param(mapping("b/in/", ROOT), mapping("c/in/", ROOT, container="other"), id="another container"),
        pytest.param(mapping("b/in/", ROOT), mapping("c/in/", ROOT, account="other"), id="perhaps another account"),
        pytest.param(mapping("b/in/", "x/"), mapping("c/in/", "y/"), id="other names"),
        pytest.param(mapping("b/in/", "x/y/"), mapping("c/in/", "x/z/"), id="other folders of one folder"),
        pytest.param(mapping("b/f", "x", is_object=True), mapping("c/in/", "x/"), id="a blob named like a folder"),
        pytest.param(
            mapping("b/f", "x", is_object=True), mapping("c/g", "xy", is_object=True), id="a blob whose name goes on"
        ),
        pytest.param(mapping("b/in/", "x/{{ ds }}/"), mapping("c/in/", "x/2026/"), id="what is rendered is not known"),
        pytest.param(
            mapping("b/in/", "{{ dag.dag_id }}/"), mapping("c/in/", "{{ dag.dag_id }}/"), id="each DAG has its own"
        ),
        pytest.param(mapping("b/in/", "{{ broken"), mapping("c/in/", "{{ broken"), id="no template"),
        pytest.param(mapping("b/{{ params.p }}/", ROOT), mapping("b/in/", ROOT), id="perhaps the same source"),
        pytest.param(mapping("{{ var.value.b }}/in/", ROOT), mapping("b/in/", ROOT), id="perhaps the same bucket"),
        pytest.param(
            mapping("b/in/", ROOT, container="{{ dag.dag_id }}"),
            mapping("c/in/", ROOT, container="{{ dag.dag_id }}"),
            id="each DAG has its own container",
        ),
    ],
)
def test_no_overlap_that_is_certain(one: NameMapping, other: NameMapping) -> None:
    """A false alarm every half minute would hide the true one."""
    assert not one.overlaps(other)
    assert not other.overlaps(one)


def test_the_plans_of_two_dags_find_each_other() -> None:
    """Whatever files they are in, the second one warns, and from then on both do."""
    files = MemoryState()
    first, second = mapping("b/2025/", ROOT, owner="first"), mapping("b/2026/", ROOT, owner="second")
    assert planned_overlaps(files, "first.json", first) == []
    (warning,) = planned_overlaps(files, "second.json", second)
    assert warning.startswith("'second' ('s3://b/2026/' to 'az://backup/x/') can write the same blobs as 'first'")
    assert len(planned_overlaps(files, "first.json", first)) == 1
    assert planned_overlaps(files, "third.json", mapping("b/2026/", "other/")) == []
    # Its prefix is another one on the next night.
    assert planned_overlaps(files, "second.json", mapping("b/2026/", "y/")) == []
    assert planned_overlaps(files, "first.json", first) == []


def test_many_overlaps_are_counted() -> None:
    """The log has the first ones by name."""
    files = MemoryState()
    for number in range(8):
        planned_overlaps(files, f"{number}.json", mapping(f"b/{number}/", ROOT, owner=f"dag {number}"))
    (warning,) = planned_overlaps(files, "last.json", mapping("b/last/", ROOT))
    assert "'dag 4'" in warning
    assert "'dag 5'" not in warning
    assert ", and 3 more. " in warning


@pytest.mark.parametrize(
    "left",
    [b"", b"no JSON", b"[]", b"7", b'"text"', b"{}", b'{"planned_at": 7}', b'{"planned_at": "2026-01-01T00:00:00"}'],
)
def test_what_cannot_be_read_is_passed_over(left: bytes) -> None:
    """Whoever can write to the state container neither fails a plan nor silences the others."""
    files = MemoryState()
    planned_overlaps(files, "b.json", mapping("b/2025/", ROOT))
    files.files["a.json"] = files.files["c.json"] = left
    assert len(planned_overlaps(files, "own.json", mapping("b/2026/", ROOT))) == 1


def test_a_dag_that_was_not_planned_for_long_may_be_gone() -> None:
    """Nobody deletes what it has left."""
    files = MemoryState()
    planned_overlaps(files, "old.json", mapping("b/2025/", ROOT))
    values = json.loads(files.files["old.json"])
    for days, found in ((99, 1), (101, 0)):
        values["planned_at"] = (datetime.now(UTC) - timedelta(days=days)).isoformat()
        files.files["old.json"] = json.dumps(values).encode()
        assert len(planned_overlaps(files, "own.json", mapping("b/2026/", ROOT))) == found


def test_a_state_container_that_refuses_it_fails_no_plan(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The warning is a service; the run's own files decide whether it can go on."""
    files = MemoryState()

    def refuse(prefix: str = "") -> Any:
        raise ServerFailed(service="Azure", resource=prefix or "names", code="InternalError", status=500)

    monkeypatch.setattr(files, "names", refuse)
    with caplog.at_level(logging.WARNING):
        assert planned_overlaps(files, "own.json", mapping("b/2026/", ROOT)) == []
    assert "It is not known whether other DAGs write the same blobs" in caplog.text
