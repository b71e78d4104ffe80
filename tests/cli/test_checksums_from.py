"""`--checksums-from` on real servers: objects that had only their transport as proof are proven by a report."""

import json
from pathlib import Path
from typing import Any

import pytest
from azure.storage.blob import ContainerClient

from s3_to_azure.cli.main import main
from s3_to_azure.cli.output import FAILED, OK, USAGE_ERROR
from s3_to_azure.model.limits import MIB
from tests.checksum_reports import Report, result, row
from tests.fidelity.uploads import put_parts, some_bytes

Output = pytest.CaptureFixture[str]
# As an old upload whose ETag is no MD5: a composite SHA-256 is no level of a copy.
OLD = {"ChecksumAlgorithm": "SHA256", "ChecksumType": "COMPOSITE"}
NO_ETAG_MD5 = ["--etag-is-md5", "no"]
DATA = {"in/a b+c": b"one", "in/large": some_bytes(9 * MIB), "in/stale": b"old", "in/z": b"not in the report"}


@pytest.fixture
def report(environment: None, s3_client: Any, bucket: str) -> Report:
    """Upload objects, make their report, then overwrite one of them."""
    for key, data in DATA.items():
        put_parts(s3_client, bucket, key, data, [], **OLD)
    rows = [
        row(bucket, key, result(data, etag=s3_client.head_object(Bucket=bucket, Key=key)["ETag"].strip('"')))
        for key, data in DATA.items()
        if key != "in/z"
    ]
    made = Report(bucket).add("a.csv", rows)
    put_parts(s3_client, bucket, "in/stale", b"new", [], **OLD)
    upload(s3_client, made)
    return made


def upload(client: Any, report: Report) -> None:
    """Put the report where the job would write it."""
    for key, data in report.objects().items():
        client.put_object(Bucket=report.bucket, Key=key, Body=data)


def receipts(text: str) -> dict[str, Any]:
    """Return printed JSON lines by key."""
    lines = (json.loads(line) for line in text.splitlines())
    return {line["key"]: line for line in lines}


def test_a_copy_is_proven_by_the_report(report: Report, container: ContainerClient, capsys: Output) -> None:
    """In one request and in blocks; a stale row and an object without one are told from it."""
    addresses = [f"s3://{report.bucket}/in/", f"az://{container.container_name}/out/"]
    assert main(["copy", *addresses, "--json", *NO_ETAG_MD5, "--checksums-from", report.address]) == OK
    printed = capsys.readouterr()
    levels = {key: receipt["verified_by"] for key, receipt in receipts(printed.out).items()}
    proven = "crc64nvme (report)"
    assert levels == {"in/a b+c": proven, "in/large": proven, "in/stale": "transport", "in/z": "transport"}
    assert "has 3 rows: 2 of listed objects, 0 of objects that the job failed on; 1 listed object only" in printed.err
    for key in ("in/a b+c", "in/large"):
        blob = container.get_blob_client(key.replace("in/", "out/"))
        assert blob.get_blob_properties().metadata["s3_verified_by"] == proven
        assert blob.download_blob().readall() == DATA[key]
    # A later run, and the list of what is there, know the level.
    assert main(["copy", *addresses, "--json", "--integrity", proven, "--exclude", "in/[sz]*"]) == OK
    statuses = {key: receipt["status"] for key, receipt in receipts(capsys.readouterr().out).items()}
    assert statuses == {key: "unchanged" if levels[key] == proven else "skipped" for key in levels}
    assert main(["ls", addresses[1], "--json"]) == OK
    assert capsys.readouterr().out.count('"crc64nvme (report)"') == 2


def test_the_other_commands_take_it_too(
    report: Report, container: ContainerClient, capsys: Output, tmp_path: Path
) -> None:
    """One object, a list of keys, `plan`, `verify` and `compare`."""
    target = f"az://{container.container_name}/out/"
    given = ["--checksums-from", report.address]
    assert main(["copy", f"s3://{report.bucket}/in/a b+c", target, "--json", *NO_ETAG_MD5, *given]) == OK
    assert receipts(capsys.readouterr().out)["in/a b+c"]["verified_by"] == "crc64nvme (report)"
    (tmp_path / "keys").write_text("in/large\nin/z\n")
    listed = [f"s3://{report.bucket}/in/", target, *given]
    keys = ["--keys-from", str(tmp_path / "keys")]
    assert main(["copy", *listed, *keys, "--json", *NO_ETAG_MD5, "--integrity", "reread"]) == OK
    levels = {key: receipt["verified_by"] for key, receipt in receipts(capsys.readouterr().out).items()}
    assert levels == {"in/large": "crc64nvme (report)", "in/z": "reread"}
    assert main(["plan", *listed]) == OK
    assert "2 of listed objects" not in capsys.readouterr().out
    only = ["--include", "in/a*", "--include", "in/large"]
    assert main(["verify", *listed, *only, "--json", *NO_ETAG_MD5]) == OK
    verified = receipts(capsys.readouterr().out)
    assert {result["verified_by"] for result in verified.values()} == {"sha256_composite"}
    assert main(["compare", *listed, *only]) == OK
    printed = capsys.readouterr()
    assert "= 2 equal by record" in printed.out
    assert "has 3 rows" in printed.err


@pytest.mark.parametrize("size", [3, 9 * MIB])
def test_bytes_that_are_not_those_of_the_report(
    size: int, report: Report, s3_client: Any, container: ContainerClient, capsys: Output
) -> None:
    """The level is named, and nothing is committed."""
    put_parts(s3_client, report.bucket, "other/k", some_bytes(size), [], **OLD)
    etag = s3_client.head_object(Bucket=report.bucket, Key="other/k")["ETag"].strip('"')
    wrong = Report(report.bucket, "wrong/").add(
        "a.csv", [row(report.bucket, "other/k", result(b"other bytes", etag=etag))]
    )
    upload(s3_client, wrong)
    addresses = [f"s3://{report.bucket}/other/", f"az://{container.container_name}/out/"]
    given = [*NO_ETAG_MD5, "--checksums-from", wrong.address]
    assert main(["copy", *addresses, "--json", *given]) == FAILED
    (receipt,) = receipts(capsys.readouterr().out).values()
    assert receipt["reason"].startswith("integrity_error")
    assert "crc64nvme (report)" in receipt["reason"]
    assert not list(container.list_blobs())


@pytest.mark.parametrize("command", ["copy", "plan", "verify", "compare"])
def test_a_tampered_report_ends_the_command(
    command: str, report: Report, s3_client: Any, container: ContainerClient, capsys: Output
) -> None:
    """Before anything is copied, with what to do."""
    report.files["a.csv"] = report.files["a.csv"].replace(b"CRC64NVME", b"CRC64NVMF")
    upload(s3_client, report)
    addresses = [f"s3://{report.bucket}/in/", f"az://{container.container_name}/out/"]
    assert main([command, *addresses, "--checksums-from", report.address]) == USAGE_ERROR
    assert "is not the one that S3 wrote" in capsys.readouterr().err
    assert not list(container.list_blobs())


@pytest.mark.parametrize("address", ["s3://b-u-c/reports/", "/tmp/manifest.json", "s3://b-u-c"])
def test_another_address_is_refused(address: str, environment: None, capsys: Output) -> None:
    """Before any request."""
    assert main(["copy", "s3://bucket/in/", "az://container/", "--checksums-from", address]) == USAGE_ERROR
    assert "--checksums-from" in capsys.readouterr().err
