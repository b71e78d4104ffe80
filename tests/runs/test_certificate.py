"""A run's certificate: what it says, and that a change of one byte anywhere is found."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from s3_to_azure.model.errors import AccessDenied, PermanentError
from s3_to_azure.model.names import CERTIFICATE_NAME, REPORT_RECEIPTS_NAME
from s3_to_azure.model.ports import Signer
from s3_to_azure.runs.certificate import (
    Certificate,
    Certification,
    ReceiptSums,
    check_proof,
    check_receipts,
    read_certificate,
)
from s3_to_azure.runs.signatures import FileKey, public_key_of
from s3_to_azure.state.lines import lines
from tests.fakes.key_services import P256Key
from tests.runs.planned_run import PlannedRun

KEY: Final = FileKey(Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
OTHER: Final = FileKey(Ed25519PrivateKey.from_private_bytes(bytes(32)))
PUBLIC: Final = public_key_of(KEY)
NOW: Final = datetime(2026, 3, 1, 3, tzinfo=UTC)


class CertifiedRun:
    """A run of six objects with all statuses, and its certificate."""

    def __init__(self, key: Signer | None = KEY) -> None:
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
        return read_certificate(self.data, PUBLIC)

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
    assert values["public_key"] == PUBLIC.data.hex()
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
    assert all_refused(certified.data, lambda data: read_certificate(data, PUBLIC)) > 5_000
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
    assert read_certificate(forged.data).public_key == public_key_of(OTHER).data.hex()
    with pytest.raises(PermanentError, match="which is not the given key"):
        read_certificate(forged.data, PUBLIC)


def test_an_unsigned_certificate_is_none_of_a_key(certified: CertifiedRun) -> None:
    """It has the same root, and says that it is unsigned; a removed signature does not make one of a signed one."""
    unsigned = CertifiedRun(None)
    found = read_certificate(unsigned.data)
    assert (found.is_signed, found.root) == (False, certified.certificate().root)
    assert list(unsigned.report.lines())[-1].endswith("unsigned")
    with pytest.raises(PermanentError, match="not signed"):
        read_certificate(unsigned.data, PUBLIC)
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
        read_certificate(certified.data.replace(b'"format": "1.0"', b'"format": "2.0"'), PUBLIC)


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


def test_a_certificate_of_a_key_service_is_checked_in_the_same_way() -> None:
    """The file names the algorithm, and a change of one byte is found; a key of the other algorithm is another key."""
    signer = P256Key()
    public, certified = public_key_of(signer), CertifiedRun(signer)
    found = read_certificate(certified.data, public)
    assert (found.values["algorithm"], found.key) == ("ES256", public)
    assert found.signed_by == f"signed by the ES256 key {public.data.hex()}"
    assert all_refused(certified.data, lambda data: read_certificate(data, public)) > 5_000
    with pytest.raises(PermanentError, match="which is not the given key: Ed25519 key"):
        read_certificate(certified.data, PUBLIC)
    with pytest.raises(PermanentError, match="changed after it was signed"):
        read_certificate(certified.data.replace(b'"ES256"', b'"Ed25519"'))


def test_a_certificate_from_before_the_algorithms_name_is_ed25519s(certified: CertifiedRun) -> None:
    """It is read as it was written."""
    signed = certified.data.rpartition(b',\n "signature"')[0].replace(b'\n "algorithm": "Ed25519",', b"")
    data = signed + b',\n "signature": "%b"\n}\n' % KEY.sign(signed).hex().encode()
    assert read_certificate(data, PUBLIC).key == PUBLIC


def test_a_run_whose_key_cannot_sign_has_no_certificate() -> None:
    """Never an unsigned one in its place."""

    class Refusing(P256Key):
        def sign(self, data: bytes) -> bytes:
            raise AccessDenied(service="KMS", resource="key", code="no", cure="Grant it.")

    with pytest.raises(AccessDenied):
        CertifiedRun(Refusing())
