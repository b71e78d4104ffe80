"""Names that Azure refuses: mapped so that no two keys meet, and back."""

import json
from typing import Any

import pytest
from azure.storage.blob import ContainerClient
from hypothesis import given
from hypothesis import strategies as st

from local_cloud.servers import LocalAzure, LocalS3
from s3_to_azure.cli.main import main
from s3_to_azure.model.names import blob_name, map_blob, problem_with_blob, unmap_blob

# Everything that is escaped, and what escapes are made of.
tricky = st.text(alphabet="~./\\\n\x85AFaf052 é", max_size=12)


@pytest.mark.parametrize(
    ("name", "blob"),
    [
        ("a/b c.txt", "a/b c.txt"),
        ("a\\b", "a~5Cb"),
        ("dir/", "dir~2F"),
        ("dir//", "dir/~2F"),
        ("a./b", "a~2E/b"),
        ("a../b..", "a.~2E/b.~2E"),
        ("./a/../b", "~2E/a/.~2E/b"),
        ("a\tb\x85c\x7f", "a~09b~85c~7F"),
        ("file.txt~", "file.txt~"),
        ("a~5Cb", "a~7E5Cb"),
        ("a~5cb", "a~5cb"),
        ("~~41", "~~7E41"),
        ("year=2024/50%/ä+?#", "year=2024/50%/ä+?#"),
    ],
)
def test_examples(name: str, blob: str) -> None:
    """Only what must be is escaped, and an escape in the name itself too."""
    assert map_blob(name) == blob
    assert unmap_blob(blob) == name


@given(tricky)
def test_there_and_back(name: str) -> None:
    """Every name comes back, so no two names have one blob."""
    assert unmap_blob(map_blob(name)) == name


@given(st.one_of(tricky, st.text(max_size=30)))
def test_mapped_names_are_taken(name: str) -> None:
    """What is refused after mapping cannot be spelled at all."""
    problem = problem_with_blob(map_blob(name))
    assert problem is None or name in ("", "/") or "Unicode" in problem


def test_longest_name() -> None:
    """A name of 1,024 characters that grows beyond Azure's limit stays refused, one that does not is taken."""
    assert problem_with_blob(map_blob("a" * 1_024)) is None
    assert "1026 characters" in (problem_with_blob(map_blob("a" * 1_023 + ".")) or "")


def test_boundary_of_the_prefix() -> None:
    """The whole name is looked at: prefix and rest may only together end a segment in a dot."""
    assert blob_name("a/x", s3_prefix="a", blob_prefix="p.", mapped=True) == "p~2E/x"
    assert blob_name("a./x", s3_prefix="a", blob_prefix="", mapped=True) == "~2E/x"
    assert blob_name("a./x", s3_prefix="a", blob_prefix="") == "./x"


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
    """Hostile names, by policy, from a real S3 to a real Azure emulator."""

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
        """Every object but the empty folder marker arrives, and its key can be told from its blob."""
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
