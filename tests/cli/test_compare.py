"""`s3-to-azure compare` on real servers: what differs, in lines, JSON and CSV, with its exit status."""

import csv
import gzip
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from azure.storage.blob import ContainerClient

from s3_to_azure.cli.main import main
from s3_to_azure.cli.output import FAILED, NOTHING_MATCHED, OK, USAGE_ERROR
from s3_to_azure.runs import announced as announced_module
from s3_to_azure.state.announced import EVENTS, AnnouncedKeys, AnnouncedLine
from s3_to_azure.stores import from_environment
from s3_to_azure.stores.azure.state import AzureState

Output = pytest.CaptureFixture[str]


@pytest.fixture
def sides(environment: None, s3_client: Any, bucket: str, container: ContainerClient, capsys: Output) -> list[str]:
    """Copy five objects; return the addresses of both sides."""
    for key in ("a", "b", "c", "d", "e"):
        s3_client.put_object(Bucket=bucket, Key=f"in/{key}", Body=key.encode() * 3, ChecksumAlgorithm="CRC64NVME")
    addresses = [f"s3://{bucket}/in/", f"az://{container.container_name}/out/"]
    assert main(["copy", *addresses, "--quiet", "--json"]) == OK
    return addresses


def test_equal_sides(sides: list[str], capsys: Output) -> None:
    """By record, and by reading all of them."""
    capsys.readouterr()
    assert main(["compare", *sides]) == OK
    out = capsys.readouterr().out.splitlines()
    assert out[0].startswith("Listed:    5 = 5 equal by record + 0 unproven")
    assert "no byte was read" in out[-1]
    assert main(["compare", *sides, "--sample", "100%", "--seed", "7"]) == OK
    assert "Read back: 5 objects (15 bytes), 100.0000% by --seed 7: 0 differ" in capsys.readouterr().out


def test_every_kind_of_drift(
    sides: list[str], s3_client: Any, bucket: str, container: ContainerClient, capsys: Output, tmp_path: Path
) -> None:
    """A person sees which and why, a program reads it, and the exit status is 1."""
    # The receipts of a report are in the order of their keys.
    receipts = "".join(
        sorted(capsys.readouterr().out.splitlines(keepends=True), key=lambda line: json.loads(line)["key"])
    )
    (tmp_path / "receipts.jsonl.gz").write_bytes(gzip.compress(receipts.encode()))
    container.delete_blob("out/a")
    s3_client.put_object(Bucket=bucket, Key="in/b", Body=b"new")
    container.upload_blob("out/c", b"ccc", overwrite=True)
    s3_client.delete_object(Bucket=bucket, Key="in/d")
    container.upload_blob("out/foreign", b"x")
    table = tmp_path / "drift.csv"
    command = ["compare", *sides, "--receipts", str(tmp_path / "receipts.jsonl.gz"), "--csv", str(table)]
    assert main(command) == FAILED
    out = capsys.readouterr().out
    assert "Listed:    4 = 1 equal by record + 0 unproven + 1 missing + 1 stale + 1 changed + 0 left out" in out
    assert "Blobs:     5, of which 2 without an object" in out
    with table.open(newline="", encoding="utf-8") as file:
        rows = {row["key"] or row["blob"]: (row["status"], row["reason"]) for row in csv.DictReader(file)}
    assert rows == {
        "in/a": ("missing", "it was deleted after its receipt"),
        "in/b": ("stale", rows["in/b"][1]),
        "in/c": ("changed", "the record of its copy is gone: another program has written the blob"),
        "out/d": ("extra", "its object is gone from S3"),
        "out/foreign": ("extra", "no record of a copy"),
    }
    assert main([*command, "--json"]) == FAILED
    summary = json.loads(capsys.readouterr().out)
    assert {row["key"] or row["blob"] for row in summary["differences"]} == set(rows)
    assert (summary["drift"], summary["more_differences"], summary["equal"]["objects"]) == (True, 0, 1)


def test_nothing_to_compare(sides: list[str], capsys: Output) -> None:
    """A filter that lets nothing through is no success."""
    assert main(["compare", *sides, "--exclude", "*"]) == NOTHING_MATCHED
    assert "5 left out" in capsys.readouterr().out


def test_many_differences_are_cut(sides: list[str], container: ContainerClient, capsys: Output) -> None:
    """The terminal shows a hundred."""
    for number in range(103):
        container.upload_blob(f"out/more/{number}", b"")
    assert main(["compare", *sides]) == FAILED
    out = capsys.readouterr().out
    assert out.count("no record of a copy") == 100
    assert "and 3 more; --csv FILE has all of them" in out


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--seed", "1"], "give --sample too"),
        (["--sample", "1"], "not a share above 0%"),
        (["--sample", "0%"], "not a share above 0%"),
        (["--sample", "101%"], "not a share above 0%"),
        (["--sample", "many%"], "not a share above 0%"),
        (["--sample", "nan%"], "not a share above 0%"),
        (["--receipts", "/missing"], "'/missing' cannot be read"),
        (["--csv", "/missing/x.csv"], "'/missing/x.csv' cannot be written"),
    ],
)
def test_wrong_use(environment: None, capsys: Output, options: list[str], text: str) -> None:
    """A sentence and status 2, before anything is listed."""
    assert main(["compare", "s3://bucket/in/", "az://container/out/", *options]) == USAGE_ERROR
    assert text in capsys.readouterr().err


def test_one_object_is_not_compared(environment: None, capsys: Output) -> None:
    """`verify` is for one object."""
    assert main(["compare", "s3://bucket/key", "az://container/out/"]) == USAGE_ERROR
    assert "ends in '/'" in capsys.readouterr().err


def test_a_file_of_something_else_is_named(sides: list[str], capsys: Output, tmp_path: Path) -> None:
    """Receipts that are none end the comparison."""
    (tmp_path / "other").write_text("hello\n")
    assert main(["compare", *sides, "--receipts", str(tmp_path / "other")]) == FAILED
    assert f"A line of '{tmp_path / 'other'}' is not a receipt." in capsys.readouterr().err


def test_copies_that_an_md5_verified(
    environment: None, s3_client: Any, bucket: str, container: ContainerClient, capsys: Output
) -> None:
    """Azure's Content-MD5 is that of the bytes, until somebody writes others and keeps the record."""
    addresses = [f"s3://{bucket}/in/", f"az://{container.container_name}/out/"]
    for key in ("a", "b"):
        s3_client.put_object(Bucket=bucket, Key=f"in/{key}", Body=key.encode(), ChecksumAlgorithm="SHA256")
    assert main(["copy", *addresses, "--quiet", "--json"]) == OK
    assert '"verified_by":"md5"' in capsys.readouterr().out.replace(" ", "")
    assert main(["compare", *addresses]) == OK
    assert "2 equal by record" in capsys.readouterr().out
    blob = container.get_blob_client("out/a")
    blob.upload_blob(b"x", overwrite=True, metadata=blob.get_blob_properties().metadata)
    assert main(["compare", *addresses]) == FAILED
    assert "its Content-MD5 is not that of the copied bytes" in capsys.readouterr().out


def test_blobs_of_another_program_are_compared_by_md5(
    environment: None, s3_client: Any, bucket: str, container: ContainerClient, capsys: Output
) -> None:
    """One HEAD for each, no byte of either: what both services store of the bytes tells."""
    for key in ("a", "b", "c"):
        s3_client.put_object(Bucket=bucket, Key=f"in/{key}", Body=b"bytes")
    container.upload_blob("out/a", b"bytes")
    container.upload_blob("out/b", b"other")
    container.upload_blob("out/c", b"bytes")
    addresses = [f"s3://{bucket}/in/", f"az://{container.container_name}/out/"]
    assert main(["compare", *addresses]) == FAILED
    out = capsys.readouterr().out
    assert "'in/b': its Content-MD5 is not the MD5 that S3 has of the object" in out
    assert "Listed:    3 = 2 equal by record + 0 unproven + 0 missing + 0 stale + 1 changed" in out
    assert "and 3 requests for single objects and blobs" in out
    assert main(["compare", *addresses, "--etag-is-md5", "no"]) == OK
    assert "0 equal by record + 3 unproven" in capsys.readouterr().out


def test_what_no_event_announced_is_counted(
    sides: list[str], container: ContainerClient, capsys: Output, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the state container that --events names, in text, JSON and CSV; it is no drift."""
    monkeypatch.setattr(announced_module, "GRACE", -timedelta(minutes=1))
    service = from_environment.azure_service(from_environment.current(), account_url=None, connections=1, verify=True)
    announced = AnnouncedKeys(AzureState(service, container.container_name, dag_id=EVENTS, run_id="nightly"))
    began = datetime.now(UTC) - timedelta(hours=1)
    events = ["--events", f"az://{container.container_name}/nightly"]
    assert main(["compare", *sides, *events]) == OK
    assert "no run of this DAG that lists the bucket" in capsys.readouterr().out
    announced.note_listing(began)
    etags = {blob.name: blob.metadata["s3_etag"] for blob in container.list_blobs("out/", include=["metadata"])}
    told = [AnnouncedLine(f"in/{name}", etags[f"out/{name}"]) for name in ("a", "b", "c")]
    announced.add(told, datetime.now(UTC))
    service.close()
    table = tmp_path / "drift.csv"
    assert main(["compare", *sides, *events, "--csv", str(table)]) == OK
    assert "Missed:    2 objects by events; first: 'in/d', 'in/e'." in capsys.readouterr().out
    with table.open(newline="", encoding="utf-8") as file:
        assert [(row["status"], row["key"]) for row in csv.DictReader(file)] == [
            ("missed_by_events", "in/d"),
            ("missed_by_events", "in/e"),
        ]
    assert main(["compare", *sides, *events, "--json"]) == OK
    assert json.loads(capsys.readouterr().out)["missed_by_events"]["objects"] == 2
    assert main(["compare", *sides, "--events", f"{events[1]}/", "--json"]) == OK
    assert json.loads(capsys.readouterr().out)["missed_by_events"]["objects"] == 2
    for path in ("", "/a/b"):
        assert main(["compare", *sides, "--events", f"az://{container.container_name}{path}"]) == USAGE_ERROR
        assert "names no DAG" in capsys.readouterr().err
