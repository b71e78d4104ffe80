"""Copies by presigned URLs, without credentials for S3: one object, a list, a resume with a new URL, and no secret."""

import json
import logging
import re
from pathlib import Path
from typing import Any, Final

import pytest
from azure.storage.blob import ContainerClient

from local_cloud.servers import LocalAzure, LocalS3
from s3_to_azure.cli.main import main
from s3_to_azure.cli.output import FAILED, OK, USAGE_ERROR
from s3_to_azure.model.limits import MIB
from s3_to_azure.stores.presigned import source as presigned_source
from s3_to_azure.stores.presigned.url import parse_url
from tests.fakes.contexts import some_bytes
from tests.fakes.presigned_urls import expired_url

_SECRETS: Final = re.compile(r"(?i)X-Amz-(?:Signature|Credential)=(?!\*\*\*)|[0-9a-f]{64}")


@pytest.fixture(autouse=True)
def only_azure(monkeypatch: pytest.MonkeyPatch, azure_server: LocalAzure) -> None:
    """Set the variables of Azure, and take away those of AWS."""
    for name in ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", azure_server.connection_string)


def url_of(s3_client: Any, bucket: str, key: str, **more: str) -> str:
    """Return a URL that boto3 has presigned."""
    request = {"Bucket": bucket, "Key": key, **more}
    return str(s3_client.generate_presigned_url("get_object", Params=request, ExpiresIn=600))


def receipts(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """Return what --json has printed; no secret is in any output."""
    printed = capsys.readouterr()
    assert not _SECRETS.search(printed.out + printed.err)
    return [json.loads(line) for line in printed.out.splitlines()]


def test_one_object_is_copied_and_verified(
    s3_client: Any, bucket: str, container: ContainerClient, capsys: pytest.CaptureFixture[str]
) -> None:
    """The receipt names bucket and key, and the checksum where the URL is signed for it."""
    s3_client.put_object(Bucket=bucket, Key="d/a b+c", Body=b"data", ChecksumAlgorithm="CRC64NVME")
    signed = url_of(s3_client, bucket, "d/a b+c", ChecksumMode="ENABLED")
    plain = url_of(s3_client, bucket, "d/a b+c")
    destination = f"az://{container.container_name}"
    assert main(["copy", signed, f"{destination}/", "--json"]) == OK
    assert main(["copy", plain, f"{destination}/other", "--json"]) == OK
    assert main(["copy", plain, f"{destination}/", "--json"]) == OK
    first, second, third = receipts(capsys)
    assert (first["bucket"], first["key"], first["blob"]) == (bucket, "d/a b+c", "a b+c")
    assert (first["status"], first["verified_by"]) == ("copied", "crc64nvme")
    assert (second["status"], second["verified_by"]) == ("copied", "md5")
    assert third["status"] == "unchanged"
    assert container.download_blob("a b+c").readall() == container.download_blob("other").readall() == b"data"


@pytest.mark.usefixtures("environment")
def test_a_later_copy_with_credentials_recognises_the_blob(
    s3_client: Any, bucket: str, container: ContainerClient, capsys: pytest.CaptureFixture[str]
) -> None:
    """The record of the copy is the same, however the object was read."""
    s3_client.put_object(Bucket=bucket, Key="d/k", Body=b"data")
    destination = f"az://{container.container_name}/k"
    assert main(["copy", url_of(s3_client, bucket, "d/k"), destination, "--json"]) == OK
    assert main(["copy", f"s3://{bucket}/d/k", destination, "--json"]) == OK
    assert [receipt["status"] for receipt in receipts(capsys)] == ["copied", "unchanged"]


def test_a_list_of_urls_is_copied(
    s3_server: LocalS3,
    s3_client: Any,
    bucket: str,
    container: ContainerClient,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    """Blobs are named as below a prefix; a URL that fails does not stop the others, and the plan and verify work."""
    for key in ("d/one", "d/sub/two"):
        s3_client.put_object(Bucket=bucket, Key=key, Body=key.encode())
    urls = [url_of(s3_client, bucket, key) for key in ("d/sub/two", "d/none", "d/one", "d/one")]
    path = tmp_path / "urls.txt"
    path.write_text("\n".join(["", *urls, expired_url(s3_server, bucket, "d/expired")]))
    source = parse_url(urls[0], name="SRC").shown.removesuffix("sub/two")
    arguments = ["--urls-from", str(path), source, f"az://{container.container_name}/to", "--json"]
    assert main(["plan", "--list", *arguments]) == OK
    planned = receipts(capsys)
    assert {item["key"]: (item["status"], item["blob"]) for item in planned} == {
        "d/one": ("copy", "to/one"),
        "d/sub/two": ("copy", "to/sub/two"),
        "d/none": ("failed", "to/none"),
        "d/expired": ("failed", "to/expired"),
    }
    assert main(["copy", *arguments]) == FAILED
    found = {receipt["key"]: (receipt["status"], receipt["blob"]) for receipt in receipts(capsys)}
    assert found == {
        "d/one": ("copied", "to/one"),
        "d/sub/two": ("copied", "to/sub/two"),
        "d/none": ("failed", "to/none"),
        "d/expired": ("failed", "to/expired"),
    }
    assert container.download_blob("to/sub/two").readall() == b"d/sub/two"
    arguments[2] = f"s3://{bucket}/d/"
    assert main(["verify", *arguments]) == FAILED
    assert {item["key"]: item["status"] for item in receipts(capsys)} == {
        "d/one": "equal",
        "d/sub/two": "equal",
        "d/none": "failed",
        "d/expired": "failed",
    }


def test_a_url_that_expires_halfway_resumes_with_a_new_one(
    s3_server: LocalS3,
    s3_client: Any,
    bucket: str,
    container: ContainerClient,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """S3 itself refuses the expired URL; with a new one only what Azure does not hold is sent, and the proof holds."""
    data = some_bytes(6 * MIB)
    s3_client.put_object(Bucket=bucket, Key="k", Body=data, ChecksumAlgorithm="CRC64NVME")
    url = url_of(s3_client, bucket, "k", ChecksumMode="ENABLED")
    expired = parse_url(expired_url(s3_server, bucket, "k"), name="SRC")
    opened: list[int] = []
    really_open = presigned_source.PresignedSource.open

    def expiring_open(source: presigned_source.PresignedSource, version: Any, start: int = 0, end: Any = None) -> Any:
        opened.append(start)
        if len(opened) > 3:
            source._urls[bucket, "k"] = expired
        return really_open(source, version, start, end)

    arguments = [f"az://{container.container_name}/k", "--json", "--block-size", "1MiB", "--connections", "1"]
    with monkeypatch.context() as patched:
        patched.setattr(presigned_source.PresignedSource, "open", expiring_open)
        assert main(["copy", url, *arguments]) == FAILED
    assert main(["copy", url_of(s3_client, bucket, "k", ChecksumMode="ENABLED"), *arguments]) == OK
    first, second = receipts(capsys)
    assert (first["status"], first["reason"].partition(":")[0]) == ("failed", "url_refused")
    assert "The URL has expired: run again with a new URL" in first["reason"]
    assert first["retries"] == 0
    assert (second["status"], second["verified_by"]) == ("copied", "crc64nvme")
    assert second["blocks_resumed"] >= 1
    assert second["bytes_sent"] == len(data) - second["blocks_resumed"] * MIB
    assert container.download_blob("k").readall() == data


def test_no_secret_is_logged_at_debug(
    s3_server: LocalS3,
    s3_client: Any,
    bucket: str,
    container: ContainerClient,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
) -> None:
    """Neither by a copy nor by any failure: in receipts, messages and the log of every library."""
    caplog.set_level(logging.DEBUG)
    s3_client.put_object(Bucket=bucket, Key="k", Body=b"data")
    url, expired = url_of(s3_client, bucket, "k"), expired_url(s3_server, bucket, "k")
    listed = tmp_path / "urls.txt"
    listed.write_text(f"{url}\n{url}&x\n{url}\n".replace("127.0.0.1", "unknown.invalid"))
    destination = f"az://{container.container_name}/k"
    caplog.clear()
    for source, status in (
        (url, OK),
        (url.replace("X-Amz-Expires=600", "X-Amz-Expires=601"), FAILED),
        (expired, FAILED),
        (url.replace("127.0.0.1", "unknown-host"), USAGE_ERROR),
        (url.replace("http://127.0.0.1", "http://example.com"), USAGE_ERROR),
        (url.replace("&", "&amp;"), USAGE_ERROR),
        (f"'{url}'", USAGE_ERROR),
        (url.rpartition("&X-Amz-SignedHeaders")[0], USAGE_ERROR),
    ):
        assert main(["copy", source, destination, "--json", "-vv"]) == status
    for arguments in (
        ["ls", url],
        ["compare", url, destination],
        ["copy", "--urls-from", str(listed), url, destination],
    ):
        assert main(arguments) == USAGE_ERROR
    with pytest.raises(SystemExit):
        main(["copy", url, destination, url])
    with pytest.raises(SystemExit):
        main(["copy", url, destination, "--via", url])
    printed = capsys.readouterr()
    signature = url.rpartition("=")[2]
    for text in (printed.out, printed.err, caplog.text):
        assert text
        assert signature not in text
        assert not _SECRETS.search(text)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["https://h/k?a", "--version-id", "v"], "--version-id cannot be used with URLs"),
        (["https://h/k?a", "--keys-from", "f"], "--keys-from cannot be used with URLs"),
        (
            ["https://h/k?a", "--checksums-from", "s3://bucket/manifest.json"],
            "--checksums-from cannot be used with URLs",
        ),
        (["https://h/k?a", "--request-payer"], "--request-payer cannot be used with URLs"),
        (["https://h/k?a", "--processes", "0"], "--processes=0 is not at least 1"),
        (["https://h/k?a", "--include", "*"], "leave out --keys-from and --urls-from"),
        (["s3://bucket/p/", "--urls-from", "none.txt"], "--urls-from 'none.txt' cannot be read: No such file"),
        (["s3://bucket/k", "--urls-from", "none.txt"], "With --urls-from, SRC is a bucket or a prefix"),
        (["https://h/k", "--urls-from", "none.txt"], "what all listed URLs begin with"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before any request."""
    source, *options = arguments
    assert main(["copy", source, "az://container/x", *options]) == USAGE_ERROR
    assert says in capsys.readouterr().err


def test_tags_fail_with_a_sentence(
    s3_client: Any, bucket: str, container: ContainerClient, capsys: pytest.CaptureFixture[str]
) -> None:
    """A URL gives none, and a copy without them would be less than was asked for."""
    s3_client.put_object(Bucket=bucket, Key="k", Body=b"data")
    destination = f"az://{container.container_name}/k"
    assert main(["copy", url_of(s3_client, bucket, "k"), destination, "--json", "--tags"]) == USAGE_ERROR
    (receipt,) = receipts(capsys)
    assert "gives no tags: copy without tags" in receipt["reason"]
