"""The plan of ``s3-to-azure plan``: made from both listings, put into words, and gone."""

import json
from dataclasses import replace

import pytest

from s3_to_azure.cli.arguments import command_line
from s3_to_azure.cli.plan_output import (
    PlannedObject,
    make_temporary_plan,
    matches_nothing,
    plan_settings,
    plan_text,
)
from s3_to_azure.model.errors import ContainerNotFound
from s3_to_azure.model.filters import Filters
from s3_to_azure.model.limits import MIB
from s3_to_azure.model.uris import AzureUri, S3Uri
from s3_to_azure.planning.plan import Plan, preview
from s3_to_azure.planning.settings import PlanSettings
from s3_to_azure.transfer.context import CopyTask
from s3_to_azure.transfer.object import copy_object
from tests.fakes.contexts import BUCKET, transfer_context
from tests.fakes.memory_destination import MemoryDestination
from tests.fakes.memory_source import MemorySource

SOURCE = S3Uri(BUCKET, "d/")
DESTINATION = AzureUri("container", "to")


def settings_of(*options: str, source: S3Uri = SOURCE) -> PlanSettings:
    """Return the settings of a plan with these options."""
    arguments = command_line().parse_args(["plan", "s3://bucket/d/", "az://container/to", *options])
    return plan_settings(arguments, source, DESTINATION)


@pytest.fixture
def destination() -> MemoryDestination:
    """Return an empty container."""
    return MemoryDestination("container")


@pytest.fixture
def plan(destination: MemoryDestination) -> Plan:
    """Return the plan of copying two objects, of which Azure refuses one."""
    source = MemorySource(BUCKET)
    source.put(BUCKET, "d/one", b"1")
    source.put(BUCKET, "d/bad.", b"22")
    with transfer_context(source, destination) as context:
        return make_temporary_plan(context, SOURCE, settings_of())


def test_options_reach_the_settings() -> None:
    """The prefixes come from the addresses, the rest from the options."""
    options = (
        "--overwrite",
        "never",
        "--refused-names",
        "map",
        "--archived",
        "skip",
        "--max-tasks",
        "7",
        "--via",
        "auto",
    )
    assert settings_of(*options, "--via", "auto", "--exclude", "*.tmp") == PlanSettings(
        s3_prefix="d/",
        blob_prefix="to/",
        overwrite="never",
        refused_names="map",
        archived="skip",
        via="auto",
        max_tasks=7,
        filters=Filters(exclude=("*.tmp",)),
    )
    assert settings_of() == PlanSettings(s3_prefix="d/", blob_prefix="to/")


@pytest.mark.parametrize(("path", "blob"), [("to/", "to/one"), ("to/else", "to/else"), ("", "one")])
def test_one_object_has_a_plan(destination: MemoryDestination, path: str, blob: str) -> None:
    """Its blob is the one that the copy would write."""
    source, one, to = MemorySource(BUCKET), S3Uri(BUCKET, "d/one"), AzureUri("container", path)
    source.put(BUCKET, "d/one", b"1")
    source.put(BUCKET, "d/one-more", b"1")
    arguments = command_line().parse_args(["plan", "s3://bucket/d/one", "az://container/"])
    found: list[PlannedObject] = []
    with transfer_context(source, destination) as context:
        settings = plan_settings(arguments, one, to)
        made = make_temporary_plan(context, one, settings, keys=[one.key], on_object=found.append)
    assert made.listed.objects == 1
    assert found == [PlannedObject("copy", "d/one", blob, 1)]


def test_each_object_is_listed_once(destination: MemoryDestination) -> None:
    """With what a copy would do, the parts of a split object together, and the reason of those left out."""
    source = MemorySource(BUCKET)
    for key, data in (("d/bad.", b"22"), ("d/giant", bytes(3 * MIB)), ("d/one", b"1"), ("d/x.tmp", b"1")):
        source.put(BUCKET, key, data)
    settings = replace(
        settings_of("--exclude", "*.tmp", "--max-tasks", "9"), split_bytes=MIB, batch_bytes=MIB, block_bytes=MIB
    )
    found: list[PlannedObject] = []
    with transfer_context(source, destination) as context:
        made = make_temporary_plan(context, SOURCE, settings, on_object=found.append)
    assert [batch.kind for batch in made.batches].count("range") > 1
    assert [(each.status, each.key, each.blob, each.reason.partition(":")[0]) for each in found] == [
        ("copy", "d/giant", "to/giant", ""),
        ("copy", "d/one", "to/one", ""),
        ("failed", "d/bad.", "to/bad.", "name_refused"),
        ("skipped", "d/x.tmp", "to/x.tmp", "excluded"),
    ]


@pytest.mark.parametrize("via", ["auto", "azure"])
def test_each_object_is_listed_with_its_way(destination: MemoryDestination, via: str) -> None:
    """Of the copies, those that Azure fetches, and why it does not fetch the others."""
    source = MemorySource(BUCKET)
    sizes = {"d/bad.": 2 * MIB, "d/large": 2 * MIB, "d/one": 1, f"d/{'é' * 500}": 2 * MIB}
    for key, size in sizes.items():
        source.put(BUCKET, key, bytes(size))
    found: list[PlannedObject] = []
    with transfer_context(source, destination) as context:
        settings = replace(settings_of("--via", via), block_bytes=MIB)
        made = make_temporary_plan(context, SOURCE, settings, on_object=found.append)
    ways = {each.key: (each.via, each.not_fetched) for each in found}
    small = ("worker", "one_request") if via == "auto" else ("azure", "")
    assert ways == {
        "d/bad.": ("worker", ""),
        "d/large": ("azure", ""),
        "d/one": small,
        f"d/{'é' * 500}": ("worker", "long_url"),
    }
    assert made.fetched.objects == [*ways.values()].count(("azure", ""))
    text = plan_text(made, rate_bytes_s=1, as_json=False)
    label = "By worker" if via == "auto" else "Not fetched, so failing"
    assert f"{label}: 1 object (2.0 MiB): long_url: its presigned URL would be longer" in text
    assert "Requests for copying if all were streamed: " in text
    assert "Azure writes, and none of the fetched bytes passes the worker" in text
    told = json.loads(plan_text(made, rate_bytes_s=1, as_json=True))
    assert (told["via"], told["not_fetched"]["long_url"]) == (via, {"objects": 1, "size_bytes": 2 * MIB})


def test_a_plan_through_the_worker_speaks_of_no_other_way(plan: Plan) -> None:
    """Nobody who does not ask for it has to read about it."""
    assert (plan.via, plan.fetched.objects, plan.not_fetched) == ("worker", 0, {})
    assert "Azure writes" not in plan_text(plan, rate_bytes_s=1, as_json=False)


@pytest.mark.parametrize(
    ("options", "nothing"), [((), False), (("--include", "*.csv"), True), (("--exclude", "*one"), False)]
)
def test_matches_nothing(destination: MemoryDestination, options: tuple[str, ...], nothing: bool) -> None:
    """The filters leave every object out, or there is none; a refused name matches."""
    source = MemorySource(BUCKET)
    with transfer_context(source, destination) as context:
        assert matches_nothing(make_temporary_plan(context, SOURCE, settings_of()))
        source.put(BUCKET, "d/one", b"1")
        source.put(BUCKET, "d/bad.", b"22")
        assert matches_nothing(make_temporary_plan(context, SOURCE, settings_of(*options))) is nothing


def test_missing_container(destination: MemoryDestination, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is an error, unless the copy would create it: then it is empty."""

    def missing(*_: object, **__: object) -> object:
        raise ContainerNotFound(container="container")

    source = MemorySource(BUCKET)
    source.put(BUCKET, "d/one", b"1")
    for name in ("check", "list", "head", "list_staged"):
        monkeypatch.setattr(destination, name, missing)
    with transfer_context(source, destination) as context:
        with pytest.raises(ContainerNotFound):
            make_temporary_plan(context, SOURCE, settings_of())
        made = make_temporary_plan(context, SOURCE, settings_of(), create_container=True)
    assert made.copy.objects == 1


def test_plan_changes_nothing(plan: Plan, destination: MemoryDestination) -> None:
    """It counts the objects, and writes no blob and no state."""
    assert (plan.listed.objects, plan.copy.objects) == (2, 1)
    assert list(destination.list("")) == []


def test_json_is_the_preview(plan: Plan) -> None:
    """One document on one line."""
    out = plan_text(plan, rate_bytes_s=1e6, as_json=True)
    assert out.count("\n") == 1
    assert json.loads(out) == json.loads(json.dumps(preview(plan, rate_bytes_s=1e6)))


def test_lines_for_people(plan: Plan) -> None:
    """The same lines as in a task's log, with warnings and the estimate."""
    out = plan_text(plan, rate_bytes_s=1e6, as_json=False)
    assert "To copy:   1 object (1 byte) in 1 task\n" in out
    assert "warning: 1 object with a name that Azure refuses" in out


def test_blobs_of_another_source_are_counted(destination: MemoryDestination) -> None:
    """Two migrations into the same names are told before either copies."""
    source = MemorySource(BUCKET)
    for key in ("d/one", "d/two", "e/one"):
        source.put(BUCKET, key, key.encode())
    with transfer_context(source, destination) as context:
        copy_object(context, CopyTask(BUCKET, "e/one", "to/one"))
        plan = make_temporary_plan(context, SOURCE, settings_of())
        again = make_temporary_plan(context, SOURCE, settings_of("--overwrite", "always"))
    out = plan_text(plan, rate_bytes_s=1e6, as_json=False)
    assert "warning: 1 object whose blob is a copy of another S3 object: two migrations write to the same names" in out
    assert (plan.copy.objects, again.copy.objects) == (1, 2)
    assert "warning: 1 object whose blob is a copy of another S3 object and is replaced" in plan_text(
        again, rate_bytes_s=1e6, as_json=False
    )
