"""Names: what is never sent, what Azure accepts, and mapped names that come back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3_to_azure.model.errors import NameRefused, UsageError
from s3_to_azure.model.names import (
    blob_name,
    check_blob,
    check_blob_prefix,
    check_bucket,
    check_container,
    check_key,
    dot_segment,
    folder_name,
    id_of,
    map_blob,
    problem_with_blob,
    unmap_blob,
)


@pytest.mark.parametrize("name", [".", "..", "a/../b", "./a", "a/.", "a/./b", "../x", "pre/../../other/x", "a//.."])
def test_dot_segments_are_refused_before_anything_is_sent(name: str) -> None:
    """Invariant 8: HTTP clients would rewrite such a path, as a key and as a blob."""
    assert dot_segment(name)
    with pytest.raises(NameRefused):
        check_key(name)
    with pytest.raises(NameRefused):
        check_blob(name)


@pytest.mark.parametrize("name", ["...", ".a", "a..b", "%2e%2e/a", "..%2f", ".hidden/x", "a/..b/c", "…/a"])
def test_other_names_with_dots_are_no_dot_segments(name: str) -> None:
    """A segment is refused only if it is exactly one or two dots; percent signs belong to the name."""
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
def test_other_blob_names_are_accepted(name: str) -> None:
    """Azure decides about everything else."""
    assert check_blob(name) == name


@given(st.text(max_size=40))
def test_a_name_is_accepted_or_refused_with_a_reason(name: str) -> None:
    """No name raises another error."""
    problem = problem_with_blob(name)
    if problem is None:
        assert check_blob(name) == name
        assert name.encode("utf-8")
    else:
        with pytest.raises(NameRefused):
            check_blob(name)


@pytest.mark.parametrize("key", ["", "\udcff", "a/\ud800"])
def test_keys_that_cannot_be_sent_are_refused(key: str) -> None:
    """Bytes that are not UTF-8 arrive as surrogates, which no URL can hold."""
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
def test_a_blobs_name_is_prefix_and_rest_of_the_key(key: str, s3_prefix: str, blob_prefix: str, expected: str) -> None:
    """No slash is added or lost."""
    assert blob_name(key, s3_prefix=s3_prefix, blob_prefix=blob_prefix) == expected


def test_a_key_outside_the_prefix_is_refused() -> None:
    """Such a key does not belong to this copy."""
    with pytest.raises(UsageError):
        blob_name("a/b", s3_prefix="b/")


@pytest.mark.parametrize(
    "name",
    [
        *("abc", "a" * 63, "my-bucket", "my.bucket", "Old_Bucket", "123", "logs--usw2-az1--x-s3", "point-abc-s3alias"),
        "arn:aws:s3:eu-west-1:123456789012:accesspoint/my-point",
        "arn:aws:s3:eu-west-1:123456789012:accesspoint:my-point",
        "arn:aws:s3::123456789012:accesspoint/mfzwi23gnjvgw.mrap",
        "arn:aws-cn:s3-object-lambda:cn-north-1:123456789012:accesspoint/my-point",
        "arn:aws:s3-outposts:us-west-2:123456789012:outpost:op-01ac:accesspoint:my-point",
    ],
)
def test_bucket_names(name: str) -> None:
    """Valid names, old names that S3 no longer gives out, and ARNs of access points."""
    assert check_bucket(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "ab",
        "s3://a",
        "a/b",
        "a..b",
        "-ab",
        "ab-",
        "a b",
        "a?b",
        "arn:aws:s3:::x",
        "abc\n",
        "arn:aws:s3:eu-west-1:12:accesspoint/my-point",
        "arn:aws:s3:eu-west-1:123456789012:accesspoint/my-point/key",
    ],
)
def test_other_bucket_names_are_refused(name: str) -> None:
    """Paths, URLs and other ARNs are refused with nothing sent."""
    with pytest.raises(UsageError):
        check_bucket(name)


@pytest.mark.parametrize("name", ["abc", "a-b", "a" * 63, "$root", "$web", "$logs", "0ab"])
def test_container_names(name: str) -> None:
    """Valid names, with the special containers."""
    assert check_container(name) == name


@pytest.mark.parametrize(
    "name", ["", "ab", "A-b", "a--b", "-ab", "ab-", "a/b", "a" * 64, "$other", "abc\n", "a_b", ".."]
)
def test_other_container_names_are_refused(name: str) -> None:
    """Everything else is refused with nothing sent."""
    with pytest.raises(UsageError):
        check_container(name)


# Every character that is escaped, and the characters of escapes.
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
def test_mapped_names(name: str, blob: str) -> None:
    """Only what Azure refuses is escaped, and what looks like an escape."""
    assert map_blob(name) == blob
    assert unmap_blob(blob) == name


@given(tricky)
def test_mapped_names_come_back(name: str) -> None:
    """Every name comes back, so no two names get the same blob."""
    assert unmap_blob(map_blob(name)) == name


@given(st.one_of(tricky, st.text(max_size=30)))
def test_mapped_names_are_accepted(name: str) -> None:
    """Only an empty name, a lone slash and invalid Unicode cannot be mapped."""
    problem = problem_with_blob(map_blob(name))
    assert problem is None or name in ("", "/") or "Unicode" in problem


def test_a_mapped_name_may_become_too_long() -> None:
    """Escapes count: a name that grows beyond Azure's limit stays refused."""
    assert problem_with_blob(map_blob("a" * 1_024)) is None
    assert "1026 characters" in (problem_with_blob(map_blob("a" * 1_023 + ".")) or "")


def test_mapping_looks_at_the_whole_name() -> None:
    """Prefix and rest together may end a segment in a dot."""
    assert blob_name("a/x", s3_prefix="a", blob_prefix="p.", mapped=True) == "p~2E/x"
    assert blob_name("a./x", s3_prefix="a", blob_prefix="", mapped=True) == "~2E/x"
    assert blob_name("a./x", s3_prefix="a", blob_prefix="") == "./x"


@pytest.mark.parametrize(
    ("prefix", "is_accepted"),
    [("", True), ("a/b", True), ("a/.", True), ("..", True), ("a/.b/", True), ("./", False), ("a/../b", False)],
)
def test_prefix_of_blobs_has_no_dot_segment(prefix: str, is_accepted: bool) -> None:
    """Each blob below it would be refused; after the last slash, names may begin with dots."""
    if is_accepted:
        assert check_blob_prefix(prefix) == prefix
    else:
        with pytest.raises(UsageError, match="which is no folder in Azure"):
            check_blob_prefix(prefix)


@given(text=st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_ids_are_encoded_as_one_segment_and_decoded(text: str) -> None:
    """No id leaves its folder or collides with another one."""
    folder = folder_name(text)
    assert id_of(folder) == text
    assert folder.isascii()
    assert not set(folder) & set("/\\.%?#+ ")


def test_usual_ids_stay_readable() -> None:
    """Airflow's run ids can be recognised in the container."""
    assert folder_name("scheduled__2026-03-01T02:00:00+00:00") == "scheduled__2026-03-01T02:00:00=2B00:00"
    with pytest.raises(UsageError):
        folder_name("")
