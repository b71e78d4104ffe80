"""`s3-to-azure certificate`: checks offline, proves one receipt, and says what is wrong."""

import gzip
import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from s3_to_azure.cli.main import main
from s3_to_azure.cli.output import FAILED, OK, USAGE_ERROR
from s3_to_azure.runs.certificate import Certification
from s3_to_azure.runs.signatures import FileKey
from tests.runs.planned_run import PlannedRun

Output = pytest.CaptureFixture[str]
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the working directory: a signed certificate, an unsigned one, the receipts, and the public key."""
    run = PlannedRun(3)
    run.report(certification=Certification(FileKey(KEY)))
    (tmp_path / "signed.json").write_bytes(run.files.files["certificate.json"])
    (tmp_path / "receipts.jsonl.gz").write_bytes(run.files.files["receipts.jsonl.gz"])
    run.report()
    (tmp_path / "unsigned.json").write_bytes(run.files.files["certificate.json"])
    public = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "public.pem").write_bytes(public)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_certificate_and_all_its_receipts(folder: Path, capsys: Output) -> None:
    """The lines say who signed, what the run was, and that the receipts are the certificate's; gzipped or not."""
    receipts = gzip.decompress((folder / "receipts.jsonl.gz").read_bytes())
    (folder / "receipts.jsonl").write_bytes(receipts)
    for name in ("receipts.jsonl.gz", "receipts.jsonl"):
        assert main(["certificate", "verify", "signed.json", "--public-key", "public.pem", "--receipts", name]) == OK
        out, err = capsys.readouterr()
        assert f"signed by the Ed25519 key {KEY.public_key().public_bytes_raw().hex()}" in out
        assert "Receipts:    3: 0 copied, 0 unchanged, 0 skipped, 3 failed" in out
        assert "all receipts are those of the certificate" in out
        assert err == ""


def test_one_receipt_by_its_proof(folder: Path, capsys: Output) -> None:
    """What `show` prints is what `verify` checks, without the other receipts."""
    assert main(["certificate", "show", "signed.json", "--receipts", "receipts.jsonl.gz", "--key", "0001"]) == OK
    (folder / "proof.json").write_text(capsys.readouterr().out)
    (folder / "receipts.jsonl.gz").unlink()
    command = ["certificate", "verify", "signed.json", "--public-key", "public.pem", "--proof", "proof.json"]
    assert main(command) == OK
    assert "'0001': failed, 3 bytes, ETag " in capsys.readouterr().out
    assert main([*command, "--json"]) == OK
    found = json.loads(capsys.readouterr().out)
    assert (found["receipt"]["key"], found["certificate"]["receipts"]) == ("0001", 3)


def test_what_is_not_proven_is_a_warning(folder: Path, capsys: Output) -> None:
    """An unsigned certificate, and one whose signer nobody named."""
    assert main(["certificate", "verify", "unsigned.json"]) == OK
    out, err = capsys.readouterr()
    assert "Certificate: unsigned" in out
    assert "warning: the certificate is unsigned" in err
    assert main(["certificate", "verify", "signed.json"]) == OK
    assert "--public-key" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "status", "text"),
    [
        (["verify", "unsigned.json", "--public-key", "public.pem"], FAILED, "not signed"),
        (["verify", "public.pem"], FAILED, "not a certificate"),
        (["verify", "signed.json", "--receipts", "public.pem"], FAILED, "'public.pem'|is not a receipt"),
        (["verify", "signed.json", "--receipts", "cut.gz"], FAILED, "'cut.gz' holds no receipts: it is truncated"),
        (["verify", "signed.json", "--receipts", "empty"], FAILED, "one was changed, added, removed or moved"),
        (["verify", "signed.json", "--proof", "signed.json"], FAILED, "not a proof"),
        (["show", "signed.json", "--receipts", "receipts.jsonl.gz", "--key", "x"], FAILED, "is of the key 'x'"),
        (["verify", "missing.json"], USAGE_ERROR, "'missing.json' cannot be read: No such file"),
        (["verify", "signed.json", "--public-key", "signed.json"], USAGE_ERROR, "no Ed25519 public key"),
        (["show", "signed.json", "--key", "0001"], USAGE_ERROR, "takes --key and --receipts"),
        (["verify", "signed.json", "--key", "0001"], USAGE_ERROR, "--key is for"),
    ],
)
def test_what_is_wrong_is_a_sentence(
    folder: Path, capsys: Output, arguments: list[str], status: int, text: str
) -> None:
    """No traceback, nothing on standard output, and the exit status of a failure or of wrong use."""
    (folder / "cut.gz").write_bytes((folder / "receipts.jsonl.gz").read_bytes()[:-20])
    (folder / "empty").write_bytes(b"")
    assert main(["certificate", *arguments]) == status
    out, err = capsys.readouterr()
    assert out == ""
    assert any(each in err for each in text.split("|"))
    assert "does not expect" not in err
