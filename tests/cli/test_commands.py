"""The commands against real local servers: output, exit status, and what they write."""

import json
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from azure.storage.blob import ContainerClient

from s3_to_azure.cli.main import main
from s3_to_azure.cli.output import FAILED, NOTHING_MATCHED, OK, USAGE_ERROR

pytestmark = pytest.mark.usefixtures("environment")


def test_copy_prints_one_receipt_per_object(
    filled: str, container: ContainerClient, capsys: pytest.CaptureFixture[str]
) -> None:
    """With --json, stdout holds a receipt for each object and nothing else."""
    source, destination = f"s3://{filled}/d/", f"az://{container.container_name}/to"
    assert main(["copy", source, destination, "--json", "--refused-names", "skip"]) == OK
    receipts = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {r["key"]: (r["status"], r["verified_by"]) for r in receipts} == {
        "d/one": ("copied", "crc64nvme"),
        "d/two words": ("copied", "crc64nvme"),
        "d/../three": ("skipped", ""),
    }
    assert container.download_blob("to/two words").readall() == b"22"


def test_copy_of_a_prefix_needs_no_disk(
    filled: str, container: ContainerClient, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Plan and receipts stay in memory: everything is copied where no temporary file can be made."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    assert main(["copy", f"s3://{filled}/d/", f"az://{container.container_name}", "--refused-names", "skip"]) == OK
    assert set(container.list_blob_names()) == {"one", "two words"}


def test_second_copy_sends_nothing(filled: str, container: ContainerClient, capsys: pytest.CaptureFixture[str]) -> None:
    """A blob that is a copy of this version is unchanged."""
    arguments = ["copy", f"s3://{filled}/d/one", f"az://{container.container_name}/", "--json"]
    assert main(arguments) == OK
    assert main(arguments) == OK
    first, second = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert (first["blob"], first["bytes_sent"]) == ("one", 1)
    assert (second["status"], second["bytes_sent"]) == ("unchanged", 0)


def test_refused_name_fails_by_default(
    filled: str, container: ContainerClient, capsys: pytest.CaptureFixture[str]
) -> None:
    """The failure is reported in each run; everything else is copied in the first."""
    arguments = ["copy", f"s3://{filled}/d/", f"az://{container.container_name}/to", "--json"]
    for status in ("copied", "unchanged"):
        assert main(arguments) == FAILED
        printed = capsys.readouterr()
        found = {(r["status"], r["reason"].partition(":")[0]) for r in map(json.loads, printed.out.splitlines())}
        assert found == {(status, ""), ("failed", "name_refused")}
        assert "1 of 3 objects failed" in printed.err


def test_two_reasons_are_said_once(
    s3_client: Any, filled: str, container: ContainerClient, capsys: pytest.CaptureFixture[str]
) -> None:
    """Their groups have the first object of each, so the command does not end with the first of all again."""
    s3_client.put_object(Bucket=filled, Key="d/archived", Body=b"1", StorageClass="GLACIER")
    assert main(["copy", f"s3://{filled}/d/", f"az://{container.container_name}/to"]) == FAILED
    printed = capsys.readouterr().err
    assert "2 failures, by reason:" in printed
    assert "objects failed; first" not in printed


def test_a_private_endpoint_is_streamed_or_fails(
    s3_client: Any, bucket: str, container: ContainerClient, capsys: pytest.CaptureFixture[str]
) -> None:
    """Azure cannot read from this machine: ``auto`` says so and copies, ``azure`` says so and copies nothing."""
    s3_client.put_object(Bucket=bucket, Key="d/large", Body=bytes(3 << 20), ChecksumAlgorithm="CRC64NVME")
    arguments = [f"s3://{bucket}/d/large", f"az://{container.container_name}/", "--block-size", "1MiB"]
    assert main(["copy", *arguments, "--via", "azure"]) == FAILED
    assert "not_fetchable: Azure cannot fetch 'd/large': Azure reaches only public https" in capsys.readouterr().out
    assert list(container.list_blob_names()) == []
    assert main(["copy", *arguments, "--via", "auto", "--json"]) == OK
    printed = capsys.readouterr()
    receipt = json.loads(printed.out)
    assert (receipt["via"], receipt["not_fetched"]) == ("worker", "private_endpoint")
    assert printed.err.count("Streamed:  1 object (3.0 MiB): private_endpoint: Azure reaches only public") == 1


def test_plan_says_the_way_of_each_object(
    s3_client: Any, bucket: str, container: ContainerClient, capsys: pytest.CaptureFixture[str]
) -> None:
    """As lines for people and as JSON, one for each object."""
    for key, size in (("d/large", 9 << 20), ("d/small", 1)):
        s3_client.put_object(Bucket=bucket, Key=key, Body=bytes(size), ChecksumAlgorithm="CRC64NVME")
    arguments = [f"s3://{bucket}/d/", f"az://{container.container_name}/", "--via", "auto", "--list"]
    assert main(["plan", *arguments]) == OK
    text = capsys.readouterr().out
    assert "'d/large' not by Azure: private_endpoint" in text
    assert "By worker: 1 object (9.0 MiB): private_endpoint: Azure reaches only public https endpoints" in text
    assert main(["plan", *arguments, "--json"]) == OK
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {row["key"]: (row["via"], row["not_fetched"]) for row in rows} == {
        "d/large": ("worker", "private_endpoint"),
        "d/small": ("worker", "one_request"),
    }


def test_mapped_names_are_reversible(
    s3_client: Any, bucket: str, container: ContainerClient, capsys: pytest.CaptureFixture[str]
) -> None:
    """The plan says which names are mapped, the copy maps them, and ``key`` undoes it."""
    s3_client.put_object(Bucket=bucket, Key="d/dot.", Body=b"1")
    addresses = [f"s3://{bucket}/d/", f"az://{container.container_name}", "--refused-names", "map"]
    assert main(["plan", *addresses]) == OK
    assert "Mapped name: 'd/dot.' to 'dot~2E'" in capsys.readouterr().out
    assert main(["copy", *addresses]) == OK
    capsys.readouterr()
    assert main(["key", *container.list_blob_names()]) == OK
    assert capsys.readouterr().out == "dot.\n"


def test_key_list_selects_the_objects(
    filled: str, container: ContainerClient, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Only the keys of the list are planned and copied, each once; a missing object fails."""
    keys = tmp_path / "keys.txt"
    keys.write_bytes(b"d/two words\r\nd/none\n\nd/two words\n")
    addresses = [f"s3://{filled}/d/", f"az://{container.container_name}/to", "--keys-from", str(keys), "--json"]
    assert main(["plan", *addresses]) == OK
    found = json.loads(capsys.readouterr().out)
    assert found["copy"] == {"objects": 1, "size_bytes": 2}
    assert found["failed"] == {"missing_in_source": {"objects": 1, "size_bytes": 0}}
    assert found["requests"]["planning"]["s3_get"] == 2
    assert main(["copy", *addresses]) == FAILED
    receipts = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {r["key"]: r["status"] for r in receipts} == {"d/two words": "copied", "d/none": "failed"}
    assert len(receipts) == 2
    keys.write_text("d/one\nelsewhere/x\n")
    assert main(["copy", *addresses]) == USAGE_ERROR
    assert "Line 2 of" in capsys.readouterr().err
    assert set(container.list_blob_names()) == {"to/two words"}


def test_filters_skip_objects(
    filled: str, s3_client: Any, container: ContainerClient, capsys: pytest.CaptureFixture[str]
) -> None:
    """Plan and copy skip the same objects, each with its reason."""
    s3_client.put_object(Bucket=filled, Key="d/cold", Body=b"4444", StorageClass="STANDARD_IA")
    addresses = [f"s3://{filled}/d/", f"az://{container.container_name}", "--json"]
    filters = ["--exclude", "*three", "--min-size", "2", "--storage-class", "STANDARD"]
    reasons = {"excluded": 1, "too_small": 1, "storage_class_excluded": 1}
    assert main(["plan", *addresses, *filters]) == OK
    found = json.loads(capsys.readouterr().out)
    assert {reason: amount["objects"] for reason, amount in found["skipped"].items()} == reasons
    assert main(["copy", *addresses, *filters]) == OK
    receipts = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert Counter(r["reason"] for r in receipts if r["status"] == "skipped") == reasons
    assert main(["copy", *addresses, "--modified-before", "2020-01-01"]) == NOTHING_MATCHED
    assert '"too_new"' in capsys.readouterr().out
    assert list(container.list_blob_names()) == ["two words"]


def test_plan_changes_nothing(filled: str, container: ContainerClient, capsys: pytest.CaptureFixture[str]) -> None:
    """The plan counts what a copy would do, and writes no blob."""
    assert main(["plan", f"s3://{filled}/d/", f"az://{container.container_name}/to", "--json"]) == OK
    found = json.loads(capsys.readouterr().out)
    assert found["listed"]["objects"] == 3
    assert found["copy"] == {"objects": 2, "size_bytes": 3}
    assert found["estimate"]["s3_egress_dollars"] >= 0
    assert list(container.list_blob_names()) == []


def test_dry_run_is_a_plan(filled: str, container: ContainerClient, capsys: pytest.CaptureFixture[str]) -> None:
    """It lists each object, changes nothing, and the copy then does what it said."""
    arguments = ["sync", f"s3://{filled}/d/", f"az://{container.container_name}/to/", "--exclude", "*three", "--json"]
    assert main([*arguments, "--dry-run"]) == OK
    planned = {each["key"]: each for each in map(json.loads, capsys.readouterr().out.splitlines())}
    assert {key: each["status"] for key, each in planned.items()} == {
        "d/one": "copy",
        "d/two words": "copy",
        "d/../three": "skipped",
    }
    assert list(container.list_blob_names()) == []
    assert main(arguments) == OK
    for receipt in map(json.loads, capsys.readouterr().out.splitlines()):
        assert receipt["blob"] == planned[receipt["key"]]["blob"]
    assert main([*arguments, "--dry-run"]) == OK
    again = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert sorted(each["status"] for each in again) == ["skipped", "unchanged", "unchanged"]


def test_plan_for_a_container_to_come(filled: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The plan creates nothing."""
    addresses = [f"s3://{filled}/d/", "az://not-made-yet/"]
    assert main(["plan", *addresses]) == FAILED
    assert main(["plan", *addresses, "--create-container", "--list"]) == OK
    assert "copy                     1  'd/one'" in capsys.readouterr().out
    assert main(["plan", *addresses]) == FAILED


@pytest.mark.parametrize("command", ["copy", "plan", "verify"])
def test_nothing_matched(
    filled: str, container: ContainerClient, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    """A scheduler notices a prefix that is misspelt, and a person reads which one is meant."""
    to = f"az://{container.container_name}/"
    assert main([command, f"s3://{filled}/dd/", to]) == NOTHING_MATCHED
    assert "Did you mean d/?" in capsys.readouterr().err
    for options in ([], ["--quiet"]):
        assert main([command, f"s3://{filled}/d/", to, "--include", "*.parquet", *options]) == NOTHING_MATCHED
        assert "".join(capsys.readouterr()).strip()


def test_missing_object_below_which_there_are_others(
    filled: str, container: ContainerClient, capsys: pytest.CaptureFixture[str]
) -> None:
    """SRC lacks its slash."""
    assert main(["copy", f"s3://{filled}/d", f"az://{container.container_name}/"]) == FAILED
    assert "end SRC in '/'" in capsys.readouterr().err


def test_max_errors_stops_the_copy(
    s3_client: Any, bucket: str, container: ContainerClient, capsys: pytest.CaptureFixture[str]
) -> None:
    """The objects after the last failure that is allowed are left for the next run."""
    for number in range(20):
        s3_client.put_object(Bucket=bucket, Key=f"d/{number:02}/.", Body=b"1")
    arguments = ["copy", f"s3://{bucket}/d/", f"az://{container.container_name}/", "--max-errors"]
    assert main([*arguments, "3"]) == FAILED
    assert "Stopped after 3 failed objects (--max-errors). Run again" in capsys.readouterr().err
    assert main([*arguments, "21"]) == FAILED
    assert "20 of 20 objects failed" in capsys.readouterr().err


def test_verify_takes_filters(filled: str, container: ContainerClient) -> None:
    """Those of the copy, so that what was left out is not missing."""
    arguments = [f"s3://{filled}/d/", f"az://{container.container_name}/", "--exclude", "*three"]
    assert main(["copy", *arguments]) == OK
    assert main(["verify", *arguments]) == OK
    assert main(["verify", *arguments[:2]]) == FAILED


def test_quiet_says_nothing_of_success(
    filled: str, container: ContainerClient, capsys: pytest.CaptureFixture[str]
) -> None:
    """Only failures are worth a mail from cron."""
    arguments = ["-q", f"s3://{filled}/d/", f"az://{container.container_name}/"]
    for command in ("copy", "verify"):
        assert main([command, *arguments, "--exclude", "*three"]) == OK
        assert capsys.readouterr() == ("", "")
    assert main(["copy", *arguments]) == FAILED
    printed = capsys.readouterr()
    assert [line.split()[0] for line in printed.out.splitlines()] == ["failed"]
    assert "1 of 3 objects failed" in printed.err


def test_plan_prints_lines_for_people(
    filled: str, container: ContainerClient, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without --json the plan is lines, with refused names and warnings."""
    assert main(["plan", f"s3://{filled}/d/", f"az://{container.container_name}/to"]) == OK
    printed = capsys.readouterr().out
    assert "To copy:   2 objects (3 bytes) in 1 task" in printed
    assert "Cannot be copied: 1 object (3 bytes): name_refused" in printed
    assert "Refused name: 'd/../three'" in printed
    assert "warning: 1 object with a name that Azure refuses" in printed


def test_verify_fails_for_a_changed_blob(
    filled: str, container: ContainerClient, capsys: pytest.CaptureFixture[str]
) -> None:
    """A blob with other bytes than its object is different."""
    source, destination = f"s3://{filled}/d/one", f"az://{container.container_name}/one"
    assert main(["copy", source, destination, "-q"]) == OK
    assert main(["verify", source, destination]) == OK
    container.upload_blob("one", b"X", overwrite=True)
    assert main(["verify", source, destination]) == FAILED
    assert "different" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (["copy", "s3://no-such-bucket-here/k", "az://{container}/b"], FAILED, "does not exist"),
        (["copy", "s3://{bucket}/none", "az://{container}/b"], FAILED, "'none'"),
        (["copy", "s3://{bucket}/d/one", "az://nocontainer/b"], FAILED, "create it"),
        (["copy", "http://x", "az://{container}/b"], USAGE_ERROR, "s3://bucket/key"),
        (["copy", "s3://{bucket}/d/one", "https://a.blob.core.windows.net/c/b?sig=x"], USAGE_ERROR, "SAS"),
        (["copy", "s3://{bucket}/d/one", "az://{container}/b", "--memory-budget", "lots"], USAGE_ERROR, "256MiB"),
        (["copy", "s3://{bucket}/d/one", "az://{container}/b", "--keys-from", "-"], USAGE_ERROR, "prefix"),
        (["copy", "s3://{bucket}/d/", "az://{container}/b", "--max-errors", "0"], USAGE_ERROR, "at least 1"),
        (["verify", "s3://{bucket}/d/one", "az://{container}/b", "--min-size", "1"], USAGE_ERROR, "below a prefix"),
        (["copy", "s3://{bucket}/d/one", "az://{container}/b", "--min-size", "1"], USAGE_ERROR, "below a prefix"),
        (
            ["copy", "s3://{bucket}/d/", "az://{container}/b", "--modified-after", "now"],
            USAGE_ERROR,
            "not an ISO 8601 timestamp",
        ),
    ],
)
def test_errors_say_what_to_do(
    filled: str,
    container: ContainerClient,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    status: int,
    says: str,
) -> None:
    """A wrong name or setting has an exit status and a sentence, and no traceback."""
    given = [a.format(bucket=filled, container=container.container_name) for a in arguments]
    assert main(given) == status
    error = capsys.readouterr().err
    assert says.lower() in error.lower()
    assert "Traceback" not in error
