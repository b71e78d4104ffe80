"""The certificate of a run: the root of a Merkle tree over its receipts, with counts, signed where a key is given.

Each line of ``receipts.jsonl.gz`` is a leaf, without its line end. The signature covers every byte of the file before
it, so the signed text needs no canonical form; what follows it is fixed. docs/certificates.md has the format.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Final

from s3_to_azure import __version__
from s3_to_azure.model.errors import PermanentError
from s3_to_azure.model.names import CERTIFICATE_NAME
from s3_to_azure.model.objects import AmountCounter, TaskTry
from s3_to_azure.model.ports import Signer, StateFiles
from s3_to_azure.model.reasons import COPIED, FINAL_STATUSES, UNCHANGED
from s3_to_azure.runs.proven import UNRECORDED, ProvenAmounts
from s3_to_azure.runs.signatures import ED25519, PublicKey, public_key_of, sign
from s3_to_azure.state.manifest import ManifestPointer
from s3_to_azure.state.merkle import MerkleTree, root_by_path
from s3_to_azure.state.plan import PlanIndex
from s3_to_azure.state.reported import read_reported

KIND: Final = "s3-to-azure run certificate"
FORMAT: Final = "1.0"
TREE: Final = "RFC 6962, SHA-256, over the lines of receipts.jsonl.gz"
MAX_FILE_BYTES: Final = 64_000

_SIGNATURE: Final = ',\n "signature": "'
_END: Final = '"\n}\n'
_KEY: Final = re.compile(r"(?:[0-9a-f]{64}|04[0-9a-f]{128})?")
_HASH: Final = re.compile(r"[0-9a-f]{64}")
_FILE: Final = re.compile(f"(.*){_SIGNATURE}((?:[0-9a-f]{{128}})?){_END}".encode(), re.DOTALL)
# There are few levels, but a damaged receipt could hold any text.
_MAX_LEVELS: Final = 50
_OTHER: Final = "other"


@dataclass(frozen=True, slots=True)
class Certification:
    """What a report's certificate says besides the receipts.

    Attributes:
        signer: Signs it; None: it is unsigned.
        account: The storage account's endpoint; empty if it is not known.
    """

    signer: Signer | None = None
    account: str = ""


class ReceiptSums:
    """The tree and the sums of receipts, line by line in constant memory.

    Attributes:
        tree: The tree over the lines.
    """

    def __init__(self) -> None:
        self.tree = MerkleTree()
        self._size_bytes = 0
        self._statuses: dict[str, AmountCounter] = {status: AmountCounter() for status in FINAL_STATUSES}
        self._levels: dict[str, AmountCounter] = {}
        self._began: datetime | None = None
        self._ended: datetime | None = None

    def add(self, line: bytes, *, path_of: str | None = None) -> bool:
        """Add a receipt as it is written, without its line end.

        Args:
            line: The receipt's JSON.
            path_of: The key whose path is wanted.

        Returns:
            Whether it is that key's receipt.

        Raises:
            PermanentError: It is not a receipt.
        """
        receipt = read_reported(line)
        if receipt is None:
            raise PermanentError(detail=f"Line {self.tree.leaves + 1:,} of the receipts is not a receipt.")
        is_wanted = path_of is not None and receipt.key == path_of
        self.tree.add(line, wants_path=is_wanted)
        self._size_bytes += receipt.size_bytes
        self._statuses.setdefault(receipt.status, AmountCounter()).add(receipt.size_bytes)
        if receipt.status in (COPIED, UNCHANGED):
            level = receipt.verified_by or UNRECORDED
            if level not in self._levels and len(self._levels) >= _MAX_LEVELS:
                level = _OTHER
            self._levels.setdefault(level, AmountCounter()).add(receipt.size_bytes)
        self._extend(receipt.times())
        return is_wanted

    @property
    def proven(self) -> ProvenAmounts:
        """What is in Azure, by verification level."""
        return ProvenAmounts({level: counter.amount() for level, counter in self._levels.items()})

    def values(self) -> dict[str, Any]:
        """Return the sums as they stand in a certificate."""
        return {
            "began_at": self._began.isoformat() if self._began else "",
            "ended_at": self._ended.isoformat() if self._ended else "",
            "receipts": self.tree.leaves,
            "size_bytes": self._size_bytes,
            "statuses": {status: asdict(counter.amount()) for status, counter in self._statuses.items()},
            "levels": {level: asdict(amount) for level, amount in sorted(self.proven.levels.items())},
            "tree": TREE,
            "root": self.tree.root().hex(),
        }

    def _extend(self, times: tuple[datetime, datetime] | None) -> None:
        if times:
            self._began = min(self._began or times[0], times[0])
            self._ended = max(self._ended or times[1], times[1])


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate as it was written or read.

    Attributes:
        values: Its fields, without the signature.
        data: The file's bytes.
    """

    values: Mapping[str, Any]
    data: bytes

    @property
    def is_signed(self) -> bool:
        """Whether it carries a signature."""
        return bool(self.public_key)

    @property
    def public_key(self) -> str:
        """The key that it says it is signed with, in hexadecimal; empty if it is unsigned."""
        return str(self.values["public_key"])

    @property
    def root(self) -> str:
        """The root over the receipts, in hexadecimal."""
        return str(self.values["root"])

    @property
    def receipts(self) -> int:
        """Number of receipts."""
        return int(self.values["receipts"])

    @property
    def signed_by(self) -> str:
        """Who signed it, for a person."""
        return f"signed by the {self.key.text}" if self.is_signed else "unsigned"

    @property
    def key(self) -> PublicKey:
        """The key that it says it is signed with; one of before this field existed is signed with Ed25519."""
        return PublicKey(str(self.values.get("algorithm", ED25519)), bytes.fromhex(self.public_key))

    def summary(self) -> dict[str, Any]:
        """Return what the report's summary holds of it."""
        return {"file": CERTIFICATE_NAME, "root": self.root, "public_key": self.public_key}

    def text(self) -> str:
        """Return one line for a person."""
        return f"{CERTIFICATE_NAME}, root {self.root}, {self.signed_by}"


def make_certificate(
    sums: ReceiptSums,
    pointer: ManifestPointer,
    index: PlanIndex | None,
    *,
    run: str,
    certification: Certification,
    now: datetime | None = None,
) -> Certificate:
    """Return the certificate of a run.

    Args:
        sums: All receipts.
        pointer: The listing.
        index: The plan; None if the run has none.
        run: Where the run's files are.
        certification: The key, and the account.
        now: The current time, for tests.

    Raises:
        TransferError: It cannot be signed.
    """
    signer = certification.signer
    key = public_key_of(signer) if signer else None
    values = {
        "kind": KIND,
        "format": FORMAT,
        "program": f"s3-to-azure {__version__}",
        "source": f"s3://{pointer.bucket}/{pointer.prefix}",
        "destination": f"az://{index.container}/{index.blob_prefix}" if index else "",
        "account": certification.account,
        "run": run,
        "plan": index.token if index else "",
        "issued_at": (now or datetime.now(UTC)).isoformat(timespec="seconds"),
        **sums.values(),
        "algorithm": key.algorithm if key else "",
        "public_key": key.data.hex() if key else "",
    }
    signed = json.dumps(values, indent=1).removesuffix("\n}").encode("ascii")
    signature = sign(signer, key, signed).hex() if signer and key else ""
    return Certificate(values, signed + f"{_SIGNATURE}{signature}{_END}".encode("ascii"))


def write_certificate(files: StateFiles, certificate: Certificate, by: TaskTry | None = None) -> None:
    """Write the certificate into the run's files, unless a later try of the report has."""
    with files.write(CERTIFICATE_NAME, by=by) as out:
        out.write(certificate.data)


def read_certificate(data: bytes, public_key: PublicKey | None = None) -> Certificate:
    """Read a certificate, and check its signature.

    Args:
        data: The file's bytes.
        public_key: The key that must have signed it. Without it, the key that it names is used, which anyone can put
            there; an unsigned one is accepted then.

    Raises:
        PermanentError: It is not a certificate of this format, or not signed by the key, or not as it was signed.
    """
    parts = _FILE.fullmatch(data) if len(data) <= MAX_FILE_BYTES else None
    values = _json_object(data) if parts else None
    if parts is None or values is None or values.get("kind") != KIND:
        raise PermanentError(detail="The file is not a certificate of a run, or it was changed.")
    if str(values.get("format")).partition(".")[0] != FORMAT.partition(".")[0]:
        raise PermanentError(
            detail=f"The certificate has format {values.get('format')!r}, and this version reads {FORMAT}: upgrade."
        )
    certificate = Certificate(values, data)
    if not (
        _KEY.fullmatch(str(values.get("public_key")))
        and _HASH.fullmatch(str(values.get("root")))
        and isinstance(values.get("receipts"), int)
    ):
        raise PermanentError(detail="The certificate lacks its root, its key or its count of receipts.")
    if public_key is None and not certificate.is_signed and not parts[2]:
        return certificate
    if not certificate.is_signed or not parts[2]:
        raise PermanentError(detail="The certificate is not signed, or its signature was removed.")
    if public_key is not None and public_key != certificate.key:
        raise PermanentError(
            detail=f"The certificate is {certificate.signed_by}, which is not the given key: {public_key.text}."
        )
    if not certificate.key.has_signed(parts[1], bytes.fromhex(parts[2].decode())):
        raise PermanentError(detail="The certificate was changed after it was signed.")
    return certificate


@dataclass(frozen=True, slots=True)
class ReceiptProof:
    """One receipt, and the hashes that lead from it to the certificate's root.

    Attributes:
        index: The receipt's place among all, from 0.
        path: The hashes, from the bottom.
        receipt: The receipt's JSON, as it was hashed.
    """

    index: int
    path: tuple[bytes, ...]
    receipt: str

    def data(self) -> bytes:
        """Return the proof as a file; whoever checks it uses each of its fields, so none can be changed unseen."""
        values = {"index": self.index, "path": [each.hex() for each in self.path], "receipt": self.receipt}
        return (json.dumps(values, indent=1) + "\n").encode("ascii")


def check_receipts(certificate: Certificate, lines: Iterable[bytes], *, key: str | None = None) -> ReceiptProof | None:
    """Compare all receipts with the certificate: each line, their number and order, and the certificate's sums.

    Args:
        certificate: The certificate.
        lines: The receipts, without line ends.
        key: The key whose proof to return.

    Returns:
        The key's proof; None without a key.

    Raises:
        PermanentError: They are not the certificate's receipts, or none of them is the key's.
    """
    sums, found = ReceiptSums(), None
    for index, line in enumerate(lines):
        if sums.add(line, path_of=key if found is None else None):
            found = index, line
    if sums.tree.root().hex() != certificate.root:
        raise PermanentError(
            detail="The receipts are not those of the certificate: one was changed, added, removed or moved."
        )
    differing = [name for name, value in sums.values().items() if certificate.values.get(name) != value]
    if differing:
        raise PermanentError(detail=f"The certificate does not sum up its receipts: {', '.join(differing)}.")
    if key is None:
        return None
    if found is None:
        raise PermanentError(detail=f"None of the {sums.tree.leaves:,} receipts is of the key {key!r}.")
    return ReceiptProof(found[0], sums.tree.path(), found[1].decode())


def check_proof(certificate: Certificate, data: bytes) -> Mapping[str, Any]:
    """Return the receipt of a proof, after it was shown to be among the certificate's receipts.

    Raises:
        PermanentError: It is not, or the file is not as it was written.
    """
    values = _json_object(data) or {}
    index, path, receipt = values.get("index"), values.get("path"), values.get("receipt")
    if (
        not isinstance(index, int)
        or not isinstance(receipt, str)
        or not isinstance(path, list)
        or not all(isinstance(each, str) and _HASH.fullmatch(each) for each in path)
    ):
        raise PermanentError(detail="The file is not a proof of one receipt, or it was changed.")
    proof = ReceiptProof(index, tuple(map(bytes.fromhex, path)), receipt)
    # Equal bytes, so that nothing in the file is left unchecked.
    if proof.data() != data:
        raise PermanentError(detail="The proof was changed.")
    leaf = receipt.encode(errors="surrogatepass")
    root = root_by_path(leaf, index, certificate.receipts, proof.path)
    if root is None or root.hex() != certificate.root:
        raise PermanentError(detail="The receipt is not among those of the certificate, or the proof was changed.")
    shown = _json_object(leaf)
    if shown is None or read_reported(leaf) is None:
        raise PermanentError(detail="The proof holds no receipt.")
    return shown


def _json_object(data: bytes) -> dict[str, Any] | None:
    try:
        values = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return values if isinstance(values, dict) else None
