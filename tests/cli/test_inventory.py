"""`--inventory` on real servers: the same plan as by a listing, and what changed since is decided by the copy."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from azure.storage.blob import ContainerClient

from s3_to_azure.cli.main import main
from s3_to_azure.cli.output import OK, USAGE_ERROR
from s3_to_azure.model.objects import ListedObject
from s3_to_azure.stores.s3.bucket_listings import BucketListings
from tests.inventories import Inventory, deleted, row

Output = pytest.CaptureFixture[str]
KEYS = ["in/a b", "in/a+b", "in/%2F", "in/é/日本", "in/z", "in/folder/", "in/../refused", "in/x.tmp"]


@pytest.fixture
def listed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Return what is listed of S3: bucket and prefix."""
    found: list[tuple[str, str]] = []
    real = BucketListings.list

    def listing(self: BucketListings, bucket: str, prefix: str, **arguments: Any) -> Iterator[ListedObject]:
        found.append((bucket, prefix))
        return real(self, bucket, prefix, **arguments)

    monkeypatch.setattr(BucketListings, "list", listing)
    return found


def filled(client: Any, bucket: str, form: str) -> Inventory:
    """Put objects into a bucket, and the inventory of them below another prefix, in files that overlap."""
    rows = []
    for number, key in enumerate(KEYS):
        body = b"" if key.endswith("/") else key.encode() * (number + 1)
        etag = client.put_object(Bucket=bucket, Key=key, Body=body)["ETag"].strip('"')
        modified = client.head_object(Bucket=bucket, Key=key)["LastModified"]
        rows.append(row(bucket, key, Size=len(body), ETag=etag, LastModifiedDate=modified))
    made = Inventory(bucket, bucket, form=form).add("1", rows[::2]).add("0", [*rows[1::2], row(bucket, "elsewhere")])
    upload(client, made)
    return made


def upload(client: Any, inventory: Inventory) -> None:
    """Put the inventory where S3 would write it."""
    for key, data in inventory.objects().items():
        client.put_object(Bucket=inventory.bucket, Key=key, Body=data)


def lines(text: str) -> list[dict[str, Any]]:
    """Return printed JSON lines."""
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.parametrize("form", ["CSV", "Parquet"])
def test_the_plan_is_that_of_a_listing(
    form: str,
    environment: None,
    s3_client: Any,
    bucket: str,
    container: ContainerClient,
    listed: list[tuple[str, str]],
    capsys: Output,
) -> None:
    """Object by object, with prefix and filters; the source is not listed."""
    inventory = filled(s3_client, bucket, form)
    addresses = [f"s3://{bucket}/in/", f"az://{container.container_name}/out/", "--exclude", "*.tmp"]
    assert main(["copy", *addresses, "--include", "*a*", "--refused-names", "skip", "--quiet"]) == OK
    capsys.readouterr()
    assert main(["plan", *addresses, "--list", "--json"]) == OK
    by_listing = lines(capsys.readouterr().out)
    assert len({each["status"] for each in by_listing}) > 2
    listed.clear()
    folder = f"s3://{bucket}/{inventory.folder}"
    assert main(["plan", *addresses, "--list", "--json", "--inventory", folder]) == OK
    printed = capsys.readouterr()
    assert lines(printed.out) == by_listing
    assert "has 9 rows: 8 current objects below the prefix" in printed.err
    assert listed == [(bucket, f"{inventory.folder}2")]
    listed.clear()
    assert main(["plan", *addresses, "--inventory", inventory.address]) == OK
    printed = capsys.readouterr()
    assert ", by an inventory " in printed.out
    assert listed == []


def test_what_changed_since_the_inventory_is_decided_by_the_copy(
    environment: None, s3_client: Any, bucket: str, container: ContainerClient, capsys: Output
) -> None:
    """What is gone is skipped, what was overwritten is copied as it is now, what is new waits for the next one."""
    inventory = filled(s3_client, bucket, "CSV")
    s3_client.delete_object(Bucket=bucket, Key="in/z")
    s3_client.put_object(Bucket=bucket, Key="in/a b", Body=b"changed")
    s3_client.put_object(Bucket=bucket, Key="in/new", Body=b"new")
    command = [
        "copy",
        f"s3://{bucket}/in/",
        f"az://{container.container_name}/out/",
        "--refused-names",
        "skip",
        "--json",
    ]
    assert main([*command, "--inventory", inventory.address]) == OK
    receipts = {each["key"]: each for each in lines(capsys.readouterr().out)}
    assert receipts["in/z"]["status"] == "skipped"
    assert receipts["in/z"]["reason"] == "source_deleted"
    assert receipts["in/a b"]["status"] == "copied"
    assert container.download_blob("out/a b").readall() == b"changed"
    assert "in/new" not in receipts
    # Once more: the copy is newer than the inventory.
    assert main([*command, "--inventory", inventory.address]) == OK
    again = {each["key"]: each for each in lines(capsys.readouterr().out)}
    assert {again[key]["status"] for key in ("in/a b", "in/a+b", "in/%2F")} == {"unchanged"}
    assert again["in/a b"]["bytes_sent"] == 0
    assert container.download_blob("out/a b").readall() == b"changed"


def test_tampered_inventory_ends_the_command(
    environment: None, s3_client: Any, bucket: str, container: ContainerClient, capsys: Output
) -> None:
    """Before anything is copied, with what to do."""
    inventory = filled(s3_client, bucket, "CSV")
    inventory.changes["files"] = inventory.manifest()["files"]
    inventory.add("0", [deleted(bucket, "in/a b")])
    upload(s3_client, inventory)
    addresses = [f"s3://{bucket}/in/", f"az://{container.container_name}/out/"]
    for command in ("copy", "plan"):
        assert main([command, *addresses, "--inventory", inventory.address]) == USAGE_ERROR
        assert "is not the one that S3 wrote" in capsys.readouterr().err
    assert not list(container.list_blobs())


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["s3://bucket/in/", "--inventory", "s3://reports/data.csv.gz"], "is not the address of an S3 Inventory"),
        (["s3://bucket/in/a", "--inventory", "s3://reports/c/"], "end SRC in '/'"),
        (["s3://bucket/in/", "--inventory", "s3://reports/c/", "--keys-from", "-"], "without --keys-from"),
        (["https://b.s3.amazonaws.com/k?X-Amz-Signature=0", "--inventory", "s3://reports/c/"], "with URLs"),
    ],
)
def test_wrong_use_is_refused(arguments: list[str], says: str, environment: None, capsys: Output) -> None:
    """Before any request."""
    source, *rest = arguments
    assert main(["plan", source, "az://container/", *rest]) == USAGE_ERROR
    assert says in capsys.readouterr().err
