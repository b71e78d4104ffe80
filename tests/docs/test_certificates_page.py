"""What docs/certificates.md tells a person to run is run here, on another directory with nothing of ours."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from s3_to_azure.runs.certificate import Certification, read_signing_key
from tests.docs.pages import blocks, text_of
from tests.runs.planned_run import PlannedRun

PAGE: Final = "docs/certificates.md"
KEY: Final = "daily/2026-03-01.csv"
_SHELL: Final = [block.text for block in blocks("sh") if block.page == PAGE]
(_SNIPPET,) = (block.text for block in blocks("python") if block.page == PAGE and "hashlib" in block.text)


def shell(script: str, folder: Path) -> str:
    """Run a block of the page; return its output."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {"PATH": path, "HOME": str(folder)}
    done = subprocess.run(
        ["sh", "-euc", script], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder in which the page's key pair, a run's certificate and receipts, and the snippet lie."""
    folder = tmp_path_factory.mktemp("auditor")
    shell(_SHELL[0], folder)
    key = read_signing_key((folder / "signing.pem").read_text(), name="signing.pem")
    run = PlannedRun(4)
    run.source.put("bucket", KEY, b"abc")
    _, _, _ = run.night.run()
    run.pointer = run.night.make_manifest()
    run.report(certification=Certification(key))
    for name in ("certificate.json", "receipts.jsonl.gz"):
        (folder / name).write_bytes(run.files.files[name])
    (folder / "check.py").write_text(_SNIPPET)
    return folder


def test_every_block_runs_as_it_stands(folder: Path) -> None:
    """In the page's order: the commands check, the snippet prints the receipt, OpenSSL verifies."""
    _, whole, one, without_us, with_openssl = _SHELL
    assert "all receipts are those of the certificate" in shell(whole, folder)
    assert repr(KEY) in shell(one, folder)
    assert json.loads(shell(without_us, folder))["key"] == KEY
    assert "Verified Successfully" in shell(with_openssl, folder)


def test_the_snippet_is_short_and_knows_nothing_of_ours() -> None:
    """Some twenty lines that a person can read, with the standard library and cryptography."""
    assert "s3_to_azure" not in _SNIPPET
    lines = [line for line in _SNIPPET.splitlines() if line.strip()]
    assert len(lines) <= 22
    assert max(map(len, lines)) <= 120


@pytest.mark.parametrize("step", [11, pytest.param(1, marks=pytest.mark.slow)])
def test_the_snippet_finds_every_changed_byte(folder: Path, monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """In certificate, path and receipt; it runs in this process, because there are thousands of changes."""
    shell(_SHELL[2], folder)
    snippet = compile(_SNIPPET, "check.py", "exec")
    monkeypatch.chdir(folder)

    def check() -> None:
        exec(snippet, {"__builtins__": __builtins__, "print": lambda _: None})

    check()
    for name in ("certificate.json", "proof.json"):
        data = (folder / name).read_bytes()
        for place in range(0, len(data), step):
            byte = data[place]
            # The case of a letter, which hexadecimal numbers do not tell apart.
            changed = bytes([byte ^ (0x20 if chr(byte).isalpha() else 1)])
            (folder / name).write_bytes(data[:place] + changed + data[place + 1 :])
            assert _is_refused(check), (name, place)
        (folder / name).write_bytes(data)
    check()


def _is_refused(check: Callable[[], None]) -> bool:
    try:
        check()
    except (Exception, SystemExit):  # noqa: BLE001 - the snippet ends with whatever error it meets
        return True
    return False


def test_the_page_names_every_field(folder: Path) -> None:
    """An auditor reads the file with the page beside it."""
    table = text_of(PAGE).split("## Format\n")[1]
    named = re.findall(r"`(\w+)`", "".join(row.split("|")[1] for row in re.findall(r"^\| `.*$", table, re.MULTILINE)))
    assert named == list(json.loads((folder / "certificate.json").read_bytes()))
