"""Names: what is never sent, and metadata that comes back as it went."""

import json
import re
from typing import Any

import pytest
from azure.storage.blob import ContainerClient
from hypothesis import assume, given
from hypothesis import strategies as st

from local_cloud.servers import LocalAzure, LocalS3
from s3_to_azure.cli.main import main
from s3_to_azure.model.errors import NameRefused, UsageError
from s3_to_azure.model.names import (
    blob_name,
    check_blob,
    check_bucket,
    check_container,
    check_key,
    dot_segment,
    map_blob,
    metadata_from_azure,
    metadata_to_azure,
    problem_with_blob,
    unmap_blob,
)

IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# Letters that make up escapes, so that hypothesis finds names that look like one.
tricky_names = st.text(alphabet="_x04f-.A1", min_size=1, max_size=24)
header_names = st.text(alphabet=st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=20)


@pytest.mark.parametrize("name", [".", "..", "a/../b", "./a", "a/.", "a/./b", "../x", "pre/../../other/x", "a//.."])
def test_dot_segments_are_refused_before_anything_is_sent(name: str) -> None:
    """Invariant 8: HTTP clients would rewrite such a path, as a key and as a blob."""
    assert dot_segment(name)
    with pytest.raises(NameRefused):
        check_key(name)
    with pytest.raises(NameRefused):
        check_blob(name)


@pytest.mark.parametrize("name", ["...", ".a", "a..b", "%2e%2e/a", "..%2f", ".hidden/x", "a/..b/c", "…/a"])
def test_what_only_looks_like_a_dot_segment(name: str) -> None:
    """Dots inside a segment, and percent signs that are the name's own, are no dot segments."""
    assert not dot_segment(name)
    assert check_key(name) == name


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "empty"),
        ("a" * 1_025, "1025 characters"),
        ("a/" * 254 + "b", "255 path segments"),
        ("a/b.", "ends in a dot"),
        ("a./b", "ends in a dot"),
        ("a/", "ends in a slash"),
        ("a\\b", "backslash"),
        ("a\tb", "control"),
        ("a\nb", "control"),
        ("a\x7fb", "control"),
        ("a\x85b", "control"),
        ("a\ud800b", "Unicode"),
    ],
)
def test_blob_names_that_azure_refuses(name: str, reason: str) -> None:
    """Each with a reason that a person can act on."""
    assert reason in (problem_with_blob(name) or "")
    with pytest.raises(NameRefused, match=reason):
        check_blob(name)


@pytest.mark.parametrize(
    "name",
    [
        "a",
        "a" * 1_024,
        "a/" * 253 + "b",
        "ä b+%20?#&=;,:@!$'()*",
        "//a",
        "a//b",
        "日本/🙂",
        " a ",
        "%",
        "a/b.c",
        "\xa0",
    ],
)
def test_blob_names_that_are_fine(name: str) -> None:
    """Everything else is Azure's to judge."""
    assert check_blob(name) == name


@given(st.text(max_size=40))
def test_a_name_is_taken_or_refused_with_a_reason(name: str) -> None:
    """No name is an error of another kind."""
    problem = problem_with_blob(name)
    if problem is None:
        assert check_blob(name) == name
        assert name.encode("utf-8")
    else:
        with pytest.raises(NameRefused):
            check_blob(name)


@pytest.mark.parametrize("key", ["", "\udcff", "a/\ud800"])
def test_keys_that_cannot_be_sent(key: str) -> None:
    """Bytes of a key file that are no UTF-8 arrive as surrogates: no URL can hold them."""
    with pytest.raises(NameRefused):
        check_key(key)


@pytest.mark.parametrize(
    ("key", "s3_prefix", "blob_prefix", "expected"),
    [
        ("a/b", "", "", "a/b"),
        ("a/b", "a/", "", "b"),
        ("a/b", "a/", "x/", "x/b"),
        ("a/b", "a", "x", "x/b"),
        ("a/b", "", "x/", "x/a/b"),
    ],
)
def test_blob_name(key: str, s3_prefix: str, blob_prefix: str, expected: str) -> None:
    """blob_prefix and the key without s3_prefix, as strings: no slash is added or lost."""
    assert blob_name(key, s3_prefix=s3_prefix, blob_prefix=blob_prefix) == expected


def test_key_outside_its_prefix() -> None:
    """A key that is not below the prefix is no key of this copy."""
    with pytest.raises(UsageError):
        blob_name("a/b", s3_prefix="b/")


@pytest.mark.parametrize("name", ["abc", "a" * 63, "my-bucket", "my.bucket", "Old_Bucket", "123"])
def test_buckets(name: str) -> None:
    """Names that S3 has, old ones included."""
    assert check_bucket(name) == name


@pytest.mark.parametrize(
    "name", ["", "ab", "s3://a", "a/b", "a..b", "-ab", "ab-", "a b", "a?b", "arn:aws:s3:::x", "abc\n"]
)
def test_no_buckets(name: str) -> None:
    """Paths, URLs and ARNs are refused with nothing sent."""
    with pytest.raises(UsageError):
        check_bucket(name)


@pytest.mark.parametrize("name", ["abc", "a-b", "a" * 63, "$root", "$web", "$logs", "0ab"])
def test_containers(name: str) -> None:
    """Names that Azure has."""
    assert check_container(name) == name


@pytest.mark.parametrize(
    "name", ["", "ab", "A-b", "a--b", "-ab", "ab-", "a/b", "a" * 64, "$other", "abc\n", "a_b", ".."]
)
def test_no_containers(name: str) -> None:
    """Everything else is refused with nothing sent."""
    with pytest.raises(UsageError):
        check_container(name)


@given(st.dictionaries(st.one_of(tricky_names, header_names, st.text(min_size=1, max_size=8)), st.text(max_size=30)))
def test_metadata_comes_back(metadata: dict[str, str]) -> None:
    """Any names and values map to what Azure takes, and back again."""
    assume(all(not any(0xD800 <= ord(c) <= 0xDFFF for c in text) for item in metadata.items() for text in item))
    azure = metadata_to_azure(metadata)
    assert metadata_from_azure(azure) == metadata
    assert len(azure) == len(metadata)
    for name, value in azure.items():
        assert IDENTIFIER.fullmatch(name), name
        assert value.isascii()
        assert value.isprintable()
        assert value == value.strip(" ")


@given(st.dictionaries(st.text(alphabet="_x04f-.a1", min_size=1, max_size=20), st.just("v"), min_size=1))
def test_metadata_names_survive_lower_casing(metadata: dict[str, str]) -> None:
    """S3's names are lower case; Azure compares without case and may answer in another one."""
    azure = metadata_to_azure(metadata)
    assert metadata_from_azure({name.lower(): value for name, value in azure.items()}) == metadata
    lower_in_answer = {name.upper() if "_x" in name.lower() else name: value for name, value in azure.items()}
    back = metadata_from_azure(lower_in_answer)
    assert {name.lower(): value for name, value in back.items()} == metadata


@given(st.dictionaries(st.text(alphabet="_x04f-.a1", min_size=1, max_size=20), st.just("v")))
def test_metadata_names_stay_apart(metadata: dict[str, str]) -> None:
    """No two names become one for a service that compares without case."""
    assert len({name.lower() for name in metadata_to_azure(metadata)}) == len(metadata)


@pytest.mark.parametrize(
    ("name", "azure"),
    [
        ("plain", "plain"),
        ("my-key", "my_x002d_key"),
        ("1abc", "_x0031_abc"),
        ("a.b", "a_x002e_b"),
        ("_x0041_", "_x005f_x0041_"),
        ("_x0041-", "_x005f_x0041_x002d_"),
        ("a1", "a1"),
    ],
)
def test_metadata_names(name: str, azure: str) -> None:
    """Readable where they can be, and no name that looks like an escape is taken for one."""
    assert metadata_to_azure({name: ""}) == {azure: ""}


@pytest.mark.parametrize(
    ("value", "azure"),
    [
        ("plain text, with: punctuation/&=?", "plain text, with: punctuation/&=?"),
        ("100%", "100%25"),
        (" padded  ", "%20padded%20%20"),
        ("   ", "%20%20%20"),
        ("日本", "%E6%97%A5%E6%9C%AC"),
        ("two\nlines\r\0", "two%0Alines%0D%00"),
        ("tab\t", "tab%09"),
        ("", ""),
    ],
)
def test_metadata_values(value: str, azure: str) -> None:
    """Readable where they can be; nothing that breaks a header or that Azure trims."""
    assert metadata_to_azure({"n": value}) == {"n": azure}


def test_foreign_metadata_is_read_without_error() -> None:
    """Metadata that another tool wrote may hold anything."""
    assert metadata_from_azure({"_xffffff_": "%ZZ%E6"}).keys() == {"_xffffff_"}


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
