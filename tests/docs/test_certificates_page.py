"""What docs/certificates.md tells a person to run is run here, on another directory with nothing of ours."""

import base64
import itertools
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import botocore.session
import pytest
from botocore.validate import ParamValidator

from s3_to_azure.runs.certificate import Certification
from s3_to_azure.runs.signatures import ED25519, ES256, read_signing_key
from tests.docs.pages import blocks, text_of
from tests.fakes.key_services import P256Key
from tests.runs.planned_run import PlannedRun

PAGE: Final = "docs/certificates.md"
KEY: Final = "daily/2026-03-01.csv"
_SHELL: Final = [block.text for block in blocks("sh") if block.page == PAGE]
(_SNIPPET,) = (block.text for block in blocks("python") if block.page == PAGE and "hashlib" in block.text)
(_FOR_ES256,) = (block.text for block in blocks("python") if block.page == PAGE and "encode_dss" in block.text)


def _named(part: str) -> str:
    """Return the only block of the page with these characters."""
    (block,) = (text for text in _SHELL if part in text)
    return block


def shell(script: str, folder: Path) -> str:
    """Run a block of the page; return its output."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {"PATH": path, "HOME": str(folder)}
    done = subprocess.run(
        ["sh", "-euc", script], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def check_script(folder: Path) -> str:
    """Return the snippet for the algorithm that the certificate names, as the page says how to make it."""
    if json.loads((folder / "certificate.json").read_bytes())["algorithm"] == ED25519:
        return _SNIPPET
    changed, count = re.subn(r"(?m)^load_pem_public_key\(.*\n", lambda _: _FOR_ES256, _SNIPPET)
    assert count == 1
    return changed


@pytest.fixture(scope="module", params=[ED25519, ES256])
def folder(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    """Return a folder in which a key pair, a run's certificate and receipts, and the snippet lie."""
    folder = tmp_path_factory.mktemp("auditor")
    key: Any = P256Key()
    if request.param == ED25519:
        shell(_named("genpkey"), folder)
        key = read_signing_key((folder / "signing.pem").read_text(), name="signing.pem")
    else:
        (folder / "public.pem").write_bytes(key.public_pem())
    run = PlannedRun(4)
    run.source.put("bucket", KEY, b"abc")
    _, _, _ = run.night.run()
    run.pointer = run.night.make_manifest()
    run.report(certification=Certification(key))
    for name in ("certificate.json", "receipts.jsonl.gz"):
        (folder / name).write_bytes(run.files.files[name])
    (folder / "check.py").write_text(check_script(folder))
    return folder


def test_every_block_runs_as_it_stands(folder: Path) -> None:
    """The commands check, the snippet prints the receipt, OpenSSL verifies."""
    assert "all receipts are those of the certificate" in shell(_named("--receipts receipts.jsonl.gz\n"), folder)
    assert repr(KEY) in shell(_named("certificate show"), folder)
    assert json.loads(shell(_named("python check.py"), folder))["key"] == KEY
    is_es256 = "ES256" in (folder / "certificate.json").read_text()
    with_openssl = shell(_named("openssl dgst" if is_es256 else "pkeyutl"), folder)
    assert ("Verified OK" if is_es256 else "Verified Successfully") in with_openssl


def test_the_commands_of_kms_fit_its_service_model() -> None:
    """Their options are the operations' parameters, with values that these have."""
    model = botocore.session.get_session().get_service_model("kms")
    lines = _named("aws kms").replace("\\\n", " ").splitlines()
    for line, name in zip(lines, ("CreateKey", "GetPublicKey"), strict=True):
        words = shlex.split(line.partition("|")[0])
        assert words[2] == {"CreateKey": "create-key", "GetPublicKey": "get-public-key"}[name]
        given = dict(itertools.pairwise(words[3:]))
        own = {option: given[option] for option in ("--key-spec", "--key-usage", "--key-id") if option in given}
        values = {"".join(part.title() for part in option[2:].split("-")): value for option, value in own.items()}
        shape = model.operation_model(name).input_shape
        assert not ParamValidator().validate(values, shape).has_errors()
        assert set(values) >= set(shape.required_members)
        assert all(value in shape.members[key].enum for key, value in values.items() if key != "KeyId")


def test_a_public_key_is_exported_as_openssl_reads_it(tmp_path: Path) -> None:
    """KMS returns base64 of DER; of the command line only the end of the pipe can run here."""
    (pipe,) = (line for line in _named("kms get-public-key").splitlines() if "openssl" in line)
    key = P256Key()
    encoded = base64.b64encode(key.public_key()).decode()
    shell(f"echo {encoded} {pipe}", tmp_path)
    assert (tmp_path / "public.pem").read_bytes() == key.public_pem()


def test_the_snippet_is_short_and_knows_nothing_of_ours() -> None:
    """Some twenty lines that a person can read, with the standard library and cryptography."""
    assert "s3_to_azure" not in _SNIPPET
    lines = [line for line in _SNIPPET.splitlines() if line.strip()]
    assert len(lines) <= 22
    assert max(map(len, lines)) <= 120


@pytest.mark.parametrize("step", [11, pytest.param(1, marks=pytest.mark.slow)])
def test_the_snippet_finds_every_changed_byte(folder: Path, monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """In certificate, path and receipt; it runs in this process, because there are thousands of changes."""
    shell(_named("certificate show"), folder)
    snippet = compile(check_script(folder), "check.py", "exec")
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
