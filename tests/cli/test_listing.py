"""``ls``: objects of S3, and blobs of Azure with their proofs."""

import json

import pytest
from azure.storage.blob import ContainerClient

from s3_to_azure.cli.main import main
from s3_to_azure.cli.output import FAILED, NOTHING_MATCHED, OK, USAGE_ERROR

pytestmark = pytest.mark.usefixtures("environment")


def test_objects(filled: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Size, date, class and key; the sum is on stderr."""
    assert main(["ls", f"s3://{filled}/d/"]) == OK
    printed = capsys.readouterr()
    lines = [line.split(maxsplit=3) for line in printed.out.splitlines()]
    assert [(line[0], line[2], line[3]) for line in lines] == [
        ("3", "STANDARD", "'d/../three'"),
        ("1", "STANDARD", "'d/one'"),
        ("2", "STANDARD", "'d/two words'"),
    ]
    assert printed.err == "s3-to-azure: 3 objects, 6 bytes.\n"


def test_blobs_with_their_proofs(filled: str, container: ContainerClient, capsys: pytest.CaptureFixture[str]) -> None:
    """A blob that no copy made has none."""
    address = f"az://{container.container_name}/to/"
    assert main(["copy", f"s3://{filled}/d/", address, "--exclude", "*three", "-q"]) == OK
    container.upload_blob("to/others", b"4444")
    capsys.readouterr()
    assert main(["ls", address, "--json", "-q"]) == OK
    printed = capsys.readouterr()
    found = [json.loads(line) for line in printed.out.splitlines()]
    assert [(each["blob"], each["size_bytes"], each["verified_by"]) for each in found] == [
        ("to/one", 1, "crc64nvme"),
        ("to/others", 4, ""),
        ("to/two words", 2, "crc64nvme"),
    ]
    assert printed.err == ""


def test_filters(filled: str, container: ContainerClient, capsys: pytest.CaptureFixture[str]) -> None:
    """They are those of a copy."""
    assert main(["ls", f"s3://{filled}/d/", "--min-size", "2", "--exclude", "*three"]) == OK
    assert [line.split(maxsplit=3)[3] for line in capsys.readouterr().out.splitlines()] == ["'d/two words'"]
    container.upload_blob("a.csv", b"1")
    container.upload_blob("b.tmp", b"1")
    assert main(["ls", f"az://{container.container_name}/", "--include", "*.csv"]) == OK
    assert [line.split()[-1] for line in capsys.readouterr().out.splitlines()] == ["'a.csv'"]


def test_nothing_matched(filled: str, container: ContainerClient, capsys: pytest.CaptureFixture[str]) -> None:
    """The exit status tells, and a hint if there is one."""
    assert main(["ls", f"s3://{filled}/e/"]) == NOTHING_MATCHED
    assert capsys.readouterr() == ("", "s3-to-azure: 0 objects, 0 bytes.\n")
    assert main(["ls", f"s3://{filled}/d"]) == OK, "ls takes any prefix"
    assert main(["ls", f"az://{container.container_name}/none/"]) == NOTHING_MATCHED


@pytest.mark.parametrize(
    ("address", "status", "says"),
    [
        ("s3://no-such-bucket-here/", FAILED, "does not exist"),
        ("az://nocontainer/", FAILED, "does not exist"),
        ("s3://", USAGE_ERROR, "s3://bucket/key"),
        ("d/", USAGE_ERROR, "az://container/path"),
    ],
)
def test_errors_are_sentences(address: str, status: int, says: str, capsys: pytest.CaptureFixture[str]) -> None:
    """As for the other commands."""
    assert main(["ls", address]) == status
    error = capsys.readouterr().err
    assert says in error
    assert "Traceback" not in error
