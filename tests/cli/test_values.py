"""The texts that people type: choices, moments, files of patterns, and what SRC selects."""

import io
import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from s3_to_azure.cli.arguments import command_line
from s3_to_azure.cli.values import Selection, choice, filter_file, read_selection
from s3_to_azure.model.errors import UsageError
from s3_to_azure.model.options import OVERWRITE, RESTORE_TIERS
from s3_to_azure.model.uris import S3Uri


@pytest.mark.parametrize("text", ["if_changed", "if-changed", "If-Changed", "IF_CHANGED"])
def test_choice_may_have_hyphens_and_capitals(text: str) -> None:
    """The value is the one that the settings know."""
    assert choice(OVERWRITE)(text) == "if_changed"


def test_choice_keeps_the_case_of_its_value_and_leaves_others_to_be_refused() -> None:
    """Azure's and S3's own words have capitals."""
    assert choice(RESTORE_TIERS)("expedited") == "Expedited"
    assert choice(OVERWRITE)("some-times") == "some-times"


def test_filter_file(tmp_path: Path) -> None:
    """A pattern is the rest of its line, spaces included; comments and empty lines say nothing."""
    file = tmp_path / "filters"
    file.write_bytes("\ufeff# nightly\r\n\n+ *.csv\n+ with space \n- *.tmp\n- # hash\n".encode())
    assert filter_file(str(file)) == (["*.csv", "with space "], ["*.tmp", "# hash"])


@pytest.mark.parametrize("line", ["*.csv", "+*.csv", "+ ", "! x", "-"])
def test_line_that_is_no_pattern(tmp_path: Path, line: str) -> None:
    """The error names file and line, and shows the form."""
    file = tmp_path / "filters"
    file.write_text(f"+ a\n{line}\n")
    with pytest.raises(UsageError, match=r"filters', line 2: write '\+ PATTERN'"):
        filter_file(str(file))


@pytest.mark.parametrize(
    ("data", "says"),
    [(b"+ \xff\n", "is not UTF-8"), (b"# " + b"x" * 2**20, "longer than 1 MiB"), (None, "No such file")],
    ids=["bytes", "long", "missing"],
)
def test_filter_file_that_cannot_be_used(tmp_path: Path, data: bytes | None, says: str) -> None:
    """A file of another kind is refused before anything is copied."""
    file = tmp_path / "filters"
    if data is not None:
        file.write_bytes(data)
    with pytest.raises(UsageError, match=says):
        filter_file(str(file))


def selected(*arguments: str) -> Selection:
    """Return what a copy with these arguments selects."""
    return read_selection(command_line().parse_args(["copy", *arguments, "az://container/to"]))


def test_selection_of_one_object_a_prefix_and_keys(tmp_path: Path) -> None:
    """Only the objects of a listing have no keys yet."""
    path = tmp_path / "keys.txt"
    path.write_text("d/two\nd/one\n")
    one, below, listed = (
        selected("s3://bucket/k"),
        selected("s3://bucket/d/"),
        selected("--keys-from", str(path), "s3://bucket/d/"),
    )
    assert (one.is_listed, below.is_listed, listed.is_listed) == (False, True, False)
    assert list(one.keys() or ()) == ["k"]
    assert below.keys() is None
    assert list(listed.keys() or ()) == ["d/one", "d/two"]
    assert (one.urls, below.urls, listed.urls) == ((), (), ())


def test_selection_of_a_url() -> None:
    """Its bucket and key are what SRC is."""
    found = selected("https://bucket.s3.eu-west-1.amazonaws.com/d/k?versionId=v")
    assert found.source == S3Uri("bucket", "d/k")
    assert [url.key for url in found.urls] == ["d/k"]
    assert list(found.keys() or ()) == ["d/k"]


ROOT = "https://bucket.s3.eu-west-1.amazonaws.com"
V2 = "AWSAccessKeyId=a&Signature=5ec4e7&Expires="


@pytest.mark.parametrize("source", ["s3://bucket/d/", f"{ROOT}/d/", "https://s3.amazonaws.com/bucket/d/"])
@pytest.mark.parametrize("form", ["txt", "jsonl", "stdin"])
def test_urls_of_a_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, form: str) -> None:
    """SRC may be an address of either kind, and of two URLs of one object the one that is valid longer counts."""
    urls = [f"{ROOT}/d/two?{V2}1", f"{ROOT}/d/one?{V2}3", f"{ROOT}/d/one?{V2}2"]
    lines = [json.dumps(url) for url in urls] if form == "jsonl" else urls
    data = ("\ufeff" + "\r\n\n".join(lines)).encode()
    name = "-" if form == "stdin" else str(tmp_path / f"urls.{form}")
    if form == "stdin":
        monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(data)))
    else:
        Path(name).write_bytes(data)
    found = selected("--urls-from", name, source)
    assert not found.is_listed
    assert list(found.keys() or ()) == ["d/one", "d/two"]
    assert {url.url for url in found.urls} == set(urls[:2])


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ("https://bucket.s3.amazonaws.com/d/k\nk", "Line 2 of {name} is not a URL"),
        ("https://other.s3.amazonaws.com/d/k?secret", "is the URL of 's3://other/d/k', which is not below SRC"),
        ("https://bucket.s3.amazonaws.com/k?secret", "is the URL of 's3://bucket/k', which is not below SRC"),
        (f"{ROOT}/d/k?versionId=a\n{ROOT}/d/k?versionId=b", "names another version of 'd/k'"),
        ("\n", "has no URL"),
        ("https://bucket.s3.amazonaws.com/d/" + "k" * 16_384, "Line 1 of {name} is not a URL: it has more than"),
    ],
)
def test_a_list_that_cannot_be_used(tmp_path: Path, lines: str, says: str) -> None:
    """The error names the line, and never shows it."""
    path = tmp_path / "urls.txt"
    path.write_text(lines)
    with pytest.raises(UsageError) as raised:
        selected("--urls-from", str(path), "s3://bucket/d/")
    assert says.format(name=path) in str(raised.value)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("line", ["https://bucket.s3.amazonaws.com/d/k", "{}", "[", "1"])
def test_json_lines_are_strings(tmp_path: Path, line: str) -> None:
    """As in a list of keys."""
    path = tmp_path / "urls.jsonl"
    path.write_text(line)
    with pytest.raises(UsageError, match=r"Line 1 of .* is not a JSON string"):
        selected("--urls-from", str(path), "s3://bucket/d/")


def test_a_list_of_urls_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All URLs are in memory."""
    monkeypatch.setattr("s3_to_azure.cli.values._MAX_URLS", 1)
    path = tmp_path / "urls.txt"
    path.write_text(f"{ROOT}/d/one\n{ROOT}/d/one\n")
    assert len(selected("--urls-from", str(path), "s3://bucket/d/").urls) == 1
    path.write_text(f"{ROOT}/d/one\n{ROOT}/d/two\n")
    with pytest.raises(UsageError, match="has more than 1 URLs"):
        selected("--urls-from", str(path), "s3://bucket/d/")


def test_no_verify_tls_takes_urls_without_tls(tmp_path: Path) -> None:
    """Of SRC and of a list."""
    path = tmp_path / "urls.txt"
    path.write_text("http://10.0.0.7/bucket/d/k\n")
    for source in (["http://10.0.0.7/bucket/d/k"], ["--urls-from", str(path), "http://10.0.0.7/bucket/d/"]):
        with pytest.raises(UsageError, match="begins with http"):
            selected(*source)
        assert [url.key for url in selected(*source, "--no-verify-tls").urls] == ["d/k"]
