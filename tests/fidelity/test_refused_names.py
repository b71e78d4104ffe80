"""Names that Azure refuses, by each policy, from a real S3 to a real Azure emulator through the command line."""

import json
from typing import Any

import pytest
from azure.storage.blob import ContainerClient

from local_cloud.servers import LocalAzure, LocalS3
from s3_to_azure.cli.main import main
from s3_to_azure.model.names import unmap_blob

KEYS = {
    "in/plain.txt": b"1",
    "in/back\\slash": b"2",
    "in/back~5Cslash": b"3",
    "in/dot./x": b"4",
    "in/dot~2E/x": b"5",
    "in/folder/": b"with content",
    "in/marker/": b"",
    "in/tab\there": b"6",
    "in/ä b+%20?#~": b"7",
    "in/" + "n" * 1_021: b"8",
}


def receipts(capsys: pytest.CaptureFixture[str]) -> dict[str, dict[str, Any]]:
    """Return the receipts printed, by key."""
    return {receipt["key"]: receipt for receipt in map(json.loads, capsys.readouterr().out.splitlines())}


class TestThroughTheCommandLine:
    """Names that Azure refuses, each with a neighbour that it accepts."""

    @pytest.fixture(autouse=True)
    def _places(
        self,
        s3_server: LocalS3,
        azure_server: LocalAzure,
        s3_client: Any,
        bucket: str,
        container: ContainerClient,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        for key, data in KEYS.items():
            s3_client.put_object(Bucket=bucket, Key=key, Body=data)
        monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server.endpoint_url)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", s3_server.access_key)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3_server.secret_key)
        monkeypatch.setenv("AWS_DEFAULT_REGION", s3_server.region)
        monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", azure_server.connection_string)
        self.arguments = [f"s3://{bucket}/in/", f"az://{container.container_name}/ou", "--json", "-q"]

    def test_map(self, container: ContainerClient, capsys: pytest.CaptureFixture[str]) -> None:
        """Every object but the empty folder marker arrives, and its blob's name gives its key back."""
        assert main(["copy", *self.arguments, "--refused-names", "map"]) == 0
        found = receipts(capsys)
        assert {receipt["status"] for key, receipt in found.items() if key != "in/marker/"} == {"copied"}
        assert (found["in/marker/"]["status"], found["in/marker/"]["reason"]) == ("skipped", "folder_marker")
        blobs = {blob.name: bytes(container.download_blob(blob.name).readall()) for blob in container.list_blobs()}
        expected = {key: data for key, data in KEYS.items() if key != "in/marker/"}
        assert {"in/" + unmap_blob(name.removeprefix("ou/")): data for name, data in blobs.items()} == expected
        assert {found[key]["blob"] for key in expected} == set(blobs)
        assert found["in/folder/"]["blob"] == "ou/folder~2F"
        assert main(["copy", *self.arguments, "--refused-names", "map"]) == 0
        again = receipts(capsys)
        assert {receipt["status"] for receipt in again.values()} == {"unchanged", "skipped"}
        assert main(["verify", *self.arguments, "--refused-names", "map"]) == 0
        results = receipts(capsys)
        assert [key for key, result in results.items() if result["status"] != "equal"] == ["in/marker/"]

    @pytest.mark.parametrize(("policy", "status", "exit_status"), [("skip", "skipped", 0), ("fail", "failed", 1)])
    def test_leave_out(self, policy: str, status: str, exit_status: int, capsys: pytest.CaptureFixture[str]) -> None:
        """Refused names are skipped or failed, each with its reason; all others are copied."""
        assert main(["copy", *self.arguments, "--refused-names", policy]) == exit_status
        found = receipts(capsys)
        refused = {"in/back\\slash", "in/dot./x", "in/folder/", "in/tab\there"}
        for key in refused:
            assert found[key]["status"] == status
            assert found[key]["reason"].startswith("name_refused: ")
        others = {key: receipt["status"] for key, receipt in found.items() if key not in refused}
        assert others.pop("in/marker/") == "skipped"
        assert set(others.values()) == {"copied"}


def test_command_undoes_the_mapping(capsys: pytest.CaptureFixture[str]) -> None:
    """``s3-to-azure key`` prints the key of each name; quoted where it holds what a line cannot show."""
    assert main(["key", "dir~2F", "a~5Cb", "plain", "a~09b"]) == 0
    assert capsys.readouterr().out.splitlines() == ["dir/", "a\\b", "plain", '"a\\tb"']
