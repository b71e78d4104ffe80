"""A run's certificate: what it says, and that a change of one byte anywhere is found."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from s3_to_azure.model.errors import PermanentError, UsageError
from s3_to_azure.model.names import CERTIFICATE_NAME, REPORT_RECEIPTS_NAME
from s3_to_azure.runs.certificate import (
    Certificate,
    Certification,
    ReceiptSums,
    check_proof,
    check_receipts,
    read_certificate,
    read_public_key,
    read_signing_key,
)
from s3_to_azure.state.lines import lines
from tests.runs.planned_run import PlannedRun

KEY: Final = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER: Final = Ed25519PrivateKey.from_private_bytes(bytes(32))
NOW: Final = datetime(2026, 3, 1, 3, tzinfo=UTC)


class CertifiedRun:
    """A run of six objects with all statuses, and its certificate."""

    def __init__(self, key: Ed25519PrivateKey | None = KEY) -> None:
        run = PlannedRun(6, unchanged=1)
        run.source.put("bucket", "folder/", b"")
        plan = run.night.plan(run.night.make_manifest())
        (batch,) = plan.batches
        times: dict[str, Any] = {"started_at": "2026-03-01T02:00:00+00:00", "seconds": 1.5}
        copied = [run.receipt(f"{number:04}", **times) for number in range(1, 4)]
        copied[0] = replace(copied[0], verified_by="transport")
        run.write_receipts(batch, *copied, run.receipt("0004", "failed", reason="because"))
        pointer = run.night.make_manifest()
        run.pointer = pointer
        self.report = run.report(certification=Certification(key, "https://account.blob.core.windows.net"), now=NOW)
        self.data = run.files.files[CERTIFICATE_NAME]
        self.receipts = list(lines([run.files.files[REPORT_RECEIPTS_NAME]], path=""))
        self.run = run

    def certificate(self) -> Certificate:
        """Return the certificate as it is read."""
        return read_certificate(self.data, KEY.public_key())

    def proof(self, key: str) -> bytes:
        """Return the file that proves a key's receipt."""
        proof = check_receipts(self.certificate(), self.receipts, key=key)
        assert proof
        return proof.data()


@pytest.fixture(scope="module")
def certified() -> CertifiedRun:
    """Return a run with a signed certificate."""
    return CertifiedRun()


def changes(data: bytes) -> Iterator[bytes]:
    """Yield the data with one byte changed, removed or doubled, at every place."""
    for place, byte in enumerate(data):
        # Bit 5 is the case of a letter, and tells apart what some readers of white space do not.
        for changed in (bytes([byte ^ 1]), bytes([byte ^ 0x20]), bytes([byte ^ 0x80]), b"", bytes([byte, byte])):
            if data[:place] + changed + data[place + 1 :] != data:
                yield data[:place] + changed + data[place + 1 :]


def all_refused(data: bytes, check: Callable[[bytes], object]) -> int:
    """Return how many changes of the data were tried; the check refuses each of them."""
    tried = 0
    for changed in changes(data):
        tried += 1
        with pytest.raises(PermanentError):
            check(changed)
    return tried


def test_a_certificate_says_what_the_run_did(certified: CertifiedRun) -> None:
    """Counts, bytes and levels by the receipts; where from and where to; times; the version; the key."""
    values = json.loads(certified.data)
    listed = certified.report.listed
    assert values["source"] == "s3://bucket/"
    assert values["destination"] == "az://container/"
    assert values["account"] == "https://account.blob.core.windows.net"
    assert values["run"] == certified.run.files.location
    assert values["issued_at"] == "2026-03-01T03:00:00+00:00"
    assert (values["began_at"], values["ended_at"]) == ("2026-03-01T02:00:00+00:00", "2026-03-01T02:00:01.500000+00:00")
    assert (values["receipts"], values["size_bytes"]) == (listed.objects, listed.size_bytes) == (7, 18)
    assert {name: amount["objects"] for name, amount in values["statuses"].items()} == {
        "copied": 3,
        "unchanged": 1,
        "skipped": 1,
        "failed": 2,
    }
    assert values["levels"] == {
        "crc64nvme": {"objects": 2, "size_bytes": 6},
        "none": {"objects": 1, "size_bytes": 3},
        "transport": {"objects": 1, "size_bytes": 3},
    }
    assert values["public_key"] == KEY.public_key().public_bytes_raw().hex()
    assert len(certified.data) < 2_000


def test_the_report_names_its_certificate(certified: CertifiedRun) -> None:
    """The log, the XCom and the page say where it is, its root and who signed it."""
    values = json.loads(certified.data)
    summary = certified.report.summary()
    assert summary["certificate"] == {
        "file": CERTIFICATE_NAME,
        "root": values["root"],
        "public_key": values["public_key"],
    }
    assert CERTIFICATE_NAME in summary["files"]
    last = list(certified.report.lines())[-1]
    assert values["root"] in last
    assert values["public_key"] in last


def test_every_receipt_has_a_proof(certified: CertifiedRun) -> None:
    """The proof of each key leads to its receipt; a key without a receipt has none."""
    certificate = certified.certificate()
    for line in certified.receipts:
        receipt = json.loads(line)
        assert check_proof(certificate, certified.proof(receipt["key"])) == receipt
    with pytest.raises(PermanentError, match=r"None of the 7 receipts is of the key 'missing'"):
        certified.proof("missing")


def test_every_changed_byte_of_a_certificate_is_found(certified: CertifiedRun) -> None:
    """Changed, removed or doubled: no byte of the file is left unchecked, with the signer's key and without."""
    assert all_refused(certified.data, lambda data: read_certificate(data, KEY.public_key())) > 5_000
    assert all_refused(certified.data[-400:], lambda data: read_certificate(certified.data[:-400] + data)) > 1_500


def test_every_changed_byte_of_a_proof_is_found(certified: CertifiedRun) -> None:
    """The path, the place, the receipt, and the file's white space."""
    certificate = certified.certificate()
    assert all_refused(certified.proof("0002"), lambda data: check_proof(certificate, data)) > 2_500


def test_every_changed_byte_of_a_receipt_is_found(certified: CertifiedRun) -> None:
    """One of all receipts, in place."""
    certificate = certified.certificate()
    before, after = certified.receipts[:3], certified.receipts[4:]
    line = certified.receipts[3]
    assert all_refused(line, lambda data: check_receipts(certificate, [*before, data, *after])) > 1_000


def test_removed_added_and_moved_receipts_are_found(certified: CertifiedRun) -> None:
    """Each receipt has its place, and there is none beside them."""
    certificate, receipts = certified.certificate(), certified.receipts
    assert check_receipts(certificate, receipts) is None
    for changed in (receipts[1:], receipts[:-1], [*receipts, receipts[0]], receipts[::-1], []):
        with pytest.raises(PermanentError, match="one was changed, added, removed or moved"):
            check_receipts(certificate, changed)


@pytest.mark.parametrize("name", ["receipts", "size_bytes", "statuses", "levels", "began_at", "ended_at", "tree"])
def test_sums_that_the_receipts_do_not_have_are_found(certified: CertifiedRun, name: str) -> None:
    """A signer whose program sums up wrongly, or an unsigned certificate that was changed."""
    values = json.loads(certified.data)
    wrong = Certificate(values | {name: 8 if isinstance(values[name], int) else ""}, certified.data)
    with pytest.raises(PermanentError, match=rf"does not sum up its receipts: {name}\."):
        check_receipts(wrong, certified.receipts)


def test_the_key_of_another_proves_nothing(certified: CertifiedRun) -> None:
    """Anyone can sign; only the given key counts."""
    forged = CertifiedRun(OTHER)
    assert read_certificate(forged.data).public_key == OTHER.public_key().public_bytes_raw().hex()
    with pytest.raises(PermanentError, match="which is not the given key"):
        read_certificate(forged.data, KEY.public_key())


def test_an_unsigned_certificate_is_none_of_a_key(certified: CertifiedRun) -> None:
    """It has the same root, and says that it is unsigned; a removed signature does not make one of a signed one."""
    unsigned = CertifiedRun(None)
    found = read_certificate(unsigned.data)
    assert (found.is_signed, found.root) == (False, certified.certificate().root)
    assert list(unsigned.report.lines())[-1].endswith("unsigned")
    with pytest.raises(PermanentError, match="not signed"):
        read_certificate(unsigned.data, KEY.public_key())
    signature = json.loads(certified.data)["signature"].encode()
    with pytest.raises(PermanentError, match="its signature was removed"):
        read_certificate(certified.data.replace(signature, b""))


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b"\xff" * 100, b"[" * 60_000, b"{}" + b" " * 100_000])
def test_other_files_are_no_certificate(certified: CertifiedRun, data: bytes) -> None:
    """And no proof: a wrong file is a sentence, whatever it holds."""
    with pytest.raises(PermanentError, match="not a certificate"):
        read_certificate(data)
    with pytest.raises(PermanentError, match="not a proof"):
        check_proof(certified.certificate(), data)


def test_another_major_format_is_named(certified: CertifiedRun) -> None:
    """The person who checks reads that the program is too old, not that somebody has forged."""
    with pytest.raises(PermanentError, match=r"format '2\.0'.*upgrade"):
        read_certificate(certified.data.replace(b'"format": "1.0"', b'"format": "2.0"'), KEY.public_key())


def test_a_run_without_objects_has_a_certificate() -> None:
    """The root over nothing is the hash of nothing."""
    run = PlannedRun(0)
    run.report()
    found = read_certificate(run.files.files[CERTIFICATE_NAME])
    assert (found.receipts, found.root[:8]) == (0, "e3b0c442")
    assert check_receipts(found, []) is None


def test_keys_of_any_text_are_certified() -> None:
    """Half of a surrogate pair, which only JSON can hold, breaks neither the report nor the proof."""
    sums = ReceiptSums()
    assert sums.add(b'{"key":"\\ud800","status":"copied","size_bytes":1}', path_of="\ud800")
    assert not sums.add(b'{"key":"k","status":"copied","size_bytes":1,"started_at":"2026-01-01T00:00:00"}')
    for number in range(100):
        sums.add(b'{"key":"k","status":"copied","size_bytes":1,"verified_by":"%d"}' % number)
    assert len(sums.values()["levels"]) <= 51
    for line in (b"", b"{}", b"[" * 60_000, b'{"key":1,"status":"copied","size_bytes":1}'):
        with pytest.raises(PermanentError, match="is not a receipt"):
            sums.add(line)


def pem(key: Ed25519PrivateKey | X25519PrivateKey) -> str:
    """Return a private key as OpenSSL writes it."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


@pytest.mark.parametrize(
    "text", [pem(KEY), pem(KEY).replace("\n", "\r\n"), pem(KEY).split("\n")[1], pem(KEY).replace("\n", " ")]
)
def test_a_signing_key_is_pem_or_its_line(text: str) -> None:
    """A connection's password is one line."""
    assert read_signing_key(text, name="x").private_bytes_raw() == KEY.private_bytes_raw()


def test_what_is_no_signing_key_is_refused_without_being_shown() -> None:
    """Another kind of key, an encrypted one, or any text; the message holds nothing of it."""
    encrypted = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")).decode()
    for text in ("", "secret", pem(X25519PrivateKey.generate()), encrypted, "AAAA" * 20):
        with pytest.raises(UsageError, match="x is no unencrypted Ed25519 private key") as caught:
            read_signing_key(text, name="x")
        assert not text or text[:40] not in str(caught.value)


def test_a_public_key_is_read_from_a_file(tmp_path: Path) -> None:
    """A missing file and another kind of key are wrong use."""
    path = tmp_path / "public.pem"
    with pytest.raises(UsageError, match="cannot be read: No such file"):
        read_public_key(str(path))
    for public in (X25519PrivateKey.generate().public_key(), OTHER.public_key(), KEY.public_key()):
        path.write_bytes(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
        if public == KEY.public_key():
            assert read_public_key(str(path)).public_bytes_raw() == KEY.public_key().public_bytes_raw()
    path.write_text(pem(KEY))
    with pytest.raises(UsageError, match="is no Ed25519 public key"):
        read_public_key(str(path))
