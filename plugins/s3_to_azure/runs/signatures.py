"""The keys that sign certificates and those that check them: Ed25519 from a file, ECDSA on P-256 from a key service.

A signature has 64 bytes with either algorithm; that of ES256 is r and s, as RFC 7518 has it. Checking needs no network.
"""

import re
from base64 import b64decode
from binascii import Error as NotBase64
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_private_key,
    load_der_public_key,
    load_pem_public_key,
)

from s3_to_azure.model.errors import PermanentError, UsageError
from s3_to_azure.model.ports import Signer

ED25519: Final = "Ed25519"
ES256: Final = "ES256"
MAX_KEY_BYTES: Final = 64_000

_SIGNATURE_BYTES: Final = 64
_ARMOUR: Final = re.compile(r"-----(?:BEGIN|END) PRIVATE KEY-----|\s+")
# It is no certificate, so that nobody can use its signature as one of a run.
_TRIAL: Final = b"s3-to-azure tries whether this key may sign."


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A key that checks signatures.

    Attributes:
        algorithm: ``Ed25519`` or ``ES256``.
        data: The key as certificates name it: the 32 bytes of Ed25519, or the uncompressed point of P-256.
    """

    algorithm: str
    data: bytes

    @classmethod
    def of(cls, key: object) -> Self | None:
        """Return a key of the package ``cryptography``; None if it is of another kind."""
        if isinstance(key, Ed25519PublicKey):
            return cls(ED25519, key.public_bytes_raw())
        if isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1):
            return cls(ES256, key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint))
        return None

    @property
    def text(self) -> str:
        """The key for a person."""
        return f"{self.algorithm} key {self.data.hex()}"

    def has_signed(self, data: bytes, signature: bytes) -> bool:
        """Return whether the signature is of these bytes and by this key."""
        if len(signature) != _SIGNATURE_BYTES:
            return False
        try:
            if self.algorithm == ED25519:
                Ed25519PublicKey.from_public_bytes(self.data).verify(signature, data)
            elif self.algorithm == ES256:
                point = EllipticCurvePublicKey.from_encoded_point(SECP256R1(), self.data)
                half = _SIGNATURE_BYTES // 2
                r, s = (int.from_bytes(number) for number in (signature[:half], signature[half:]))
                point.verify(encode_dss_signature(r, s), data, ECDSA(SHA256()))
            else:
                return False
        except (InvalidSignature, ValueError):
            return False
        return True


class FileKey:
    """An Ed25519 private key that this process holds."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.name = "the signing key"

    def public_key(self) -> bytes:
        """Return the public key."""
        return self._key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    def sign(self, data: bytes) -> bytes:
        """Return the signature."""
        return self._key.sign(data)

    def close(self) -> None:
        """Do nothing."""


def public_key_of(signer: Signer) -> PublicKey:
    """Return the public key of a signer.

    Raises:
        UsageError: It is of a kind that certificates do not have.
    """
    try:
        key = PublicKey.of(load_der_public_key(signer.public_key()))
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if key is None:
        raise UsageError(detail=f"{signer.name} is no key for certificates: neither Ed25519 nor ECDSA on P-256.")
    return key


def sign(signer: Signer, key: PublicKey, data: bytes) -> bytes:
    """Return a signature of the data that the key was seen to accept.

    Args:
        signer: Signs.
        key: Its public key.
        data: What is signed.

    Raises:
        TransferError: The signer cannot sign.
        PermanentError: What it returned is no signature by its key.
    """
    signature = signer.sign(data)
    if not key.has_signed(data, signature):
        raise PermanentError(detail=f"What {signer.name} has returned is no signature by its own public key.")
    return signature


def check_signer(signer: Signer) -> None:
    """Let a signer sign something of no use, to learn before a run whether it can.

    Raises:
        TransferError: It cannot.
    """
    sign(signer, public_key_of(signer), _TRIAL)


def read_signing_key(text: str, *, name: str) -> FileKey:
    """Read an Ed25519 private key: PKCS #8 as PEM, or the line between PEM's first and last.

    Args:
        text: The key.
        name: Where it comes from, for errors; the key itself is in none.

    Raises:
        UsageError: It is something else.
    """
    try:
        key = load_der_private_key(b64decode(_ARMOUR.sub("", text), validate=True), password=None)
    except (NotBase64, ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise UsageError(
            detail=f"{name} is no unencrypted Ed25519 private key in PEM. `openssl genpkey -algorithm ed25519 -out "
            "signing.pem` makes one."
        )
    return FileKey(key)


def read_public_key(path: str) -> PublicKey:
    """Read a public key in PEM from a file.

    Raises:
        UsageError: There is none of a kind that certificates have.
    """
    try:
        key = PublicKey.of(load_pem_public_key(Path(path).read_bytes()[:MAX_KEY_BYTES]))
    except OSError as error:
        raise UsageError(detail=f"The public key {path!r} cannot be read: {error.strerror}.") from None
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if key is None:
        raise UsageError(
            detail=f"{path!r} is no Ed25519 public key in PEM, and none of ECDSA on P-256. `openssl pkey -in "
            "signing.pem -pubout -out public.pem` makes it from the private key; docs/certificates.md says how to get "
            "it from AWS KMS and Azure Key Vault."
        )
    return key
