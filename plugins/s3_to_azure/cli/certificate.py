"""The command ``certificate``: checks a run's certificate offline, and proves one object's receipt."""

import argparse
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from s3_to_azure.cli.output import OK, print_message, print_text
from s3_to_azure.model.errors import CorruptState, PermanentError, UsageError
from s3_to_azure.transfer.watchdog import StopEvent

if TYPE_CHECKING:
    from s3_to_azure.runs.certificate import Certificate

VERIFY: Final = "verify"
SHOW: Final = "show"
_GZIP_START: Final = b"\x1f\x8b"
_PIECE_BYTES: Final = 1 << 20


def certificate(options: argparse.Namespace, _stop: StopEvent) -> int:
    """Check a certificate, its receipts or one receipt's proof; or print the proof of one object's receipt."""
    # No other command pays for the import of cryptography.
    from s3_to_azure.runs.certificate import (  # noqa: PLC0415
        check_proof,
        check_receipts,
        read_certificate,
    )
    from s3_to_azure.runs.signatures import read_public_key  # noqa: PLC0415

    _check_options(options)
    public_key = read_public_key(options.public_key) if options.public_key else None
    with opened(options.file) as file:
        found = read_certificate(file.read(_PIECE_BYTES), public_key)
    if not found.is_signed:
        print_message("warning: the certificate is unsigned, so anyone can have made it; compare its root.")
    elif public_key is None:
        print_message("warning: anyone can sign with a key of their own; give the signer's with --public-key.")
    if options.receipts:
        with opened(options.receipts) as file:
            proof = check_receipts(found, receipt_lines(file, options.receipts), key=options.key)
        if proof:
            print_text(proof.data().decode("ascii"))
            return OK
    receipt = None
    if options.proof:
        with opened(options.proof) as file:
            receipt = check_proof(found, file.read(_PIECE_BYTES))
    if options.json:
        print_text(json.dumps({"certificate": dict(found.values), "receipt": receipt}) + "\n")
    else:
        print_text("".join(f"{line}\n" for line in _found_lines(found, receipt, with_receipts=bool(options.receipts))))
    return OK


def _check_options(options: argparse.Namespace) -> None:
    if options.action == SHOW:
        if not (options.key and options.receipts) or options.proof:
            raise UsageError(detail="`certificate show` takes --key and --receipts, and no --proof.")
    elif options.key:
        raise UsageError(detail="--key is for `certificate show`; `certificate verify` takes --receipts and --proof.")


def _found_lines(found: "Certificate", receipt: Mapping[str, Any] | None, *, with_receipts: bool) -> Iterator[str]:
    """Yield what was checked, for a person."""
    values = found.values
    statuses = ", ".join(f"{amount['objects']:,} {status}" for status, amount in values["statuses"].items())
    yield f"Certificate: {found.signed_by}, issued at {values['issued_at']}"
    yield f"Run:         {values['source']} to {values['destination']} ({values['run']})"
    yield f"Receipts:    {found.receipts:,}: {statuses}"
    yield f"Root:        {found.root}"
    if with_receipts:
        yield "Checked:     all receipts are those of the certificate"
    if receipt:
        status, size, etag = (receipt.get(name) for name in ("status", "size_bytes", "etag"))
        yield f"Checked:     {receipt.get('key')!r}: {status}, {size:,} bytes, ETag {etag}"
        yield f"             {receipt.get('checksum') or 'no checksum'}, verified by {receipt.get('verified_by')!r}"


@contextmanager
def opened(path: str) -> Iterator[BinaryIO]:
    """Open a file for reading.

    Raises:
        UsageError: It cannot be read.
    """
    try:
        file = Path(path).open("rb")  # noqa: SIM115 - only opening it is this error
    except OSError as error:
        raise UsageError(detail=f"The file {path!r} cannot be read: {error.strerror}.") from None
    with file:
        yield file


def receipt_lines(file: BinaryIO, path: str) -> Iterator[bytes]:
    """Yield the lines of the receipts, gzipped or not, in constant memory."""
    from s3_to_azure.state.lines import lines, split_lines  # noqa: PLC0415

    is_gzip = file.read(len(_GZIP_START)) == _GZIP_START
    file.seek(0)
    pieces = iter(lambda: file.read(_PIECE_BYTES), b"")
    try:
        yield from (lines if is_gzip else split_lines)(pieces, path=path)
    except CorruptState as error:
        raise PermanentError(detail=f"{path!r} holds no receipts: {error.attributes['detail']}.") from None
