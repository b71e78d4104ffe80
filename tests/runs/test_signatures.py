"""The keys of certificates, in files and in memory: what is read, and what is refused."""

from pathlib import Path
from typing import Any, Final

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
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
from s3_to_azure.runs.signatures import (
    ED25519,
    ES256,
    FileKey,
    PublicKey,
    check_signer,
    public_key_of,
    read_public_key,
    read_signing_key,
    sign,
)
from tests.fakes.key_services import P256Key

KEY: Final = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


def pem(key: Any) -> str:
    """Return a private key as OpenSSL writes it."""
    text: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return text.decode()


@pytest.mark.parametrize("signer", [FileKey(KEY), P256Key()], ids=[ED25519, ES256])
def test_a_signature_is_of_its_data_and_its_key(signer: Any) -> None:
    """Neither of other data nor by another key, of the same kind or of the other; nothing else is a signature."""
    key = public_key_of(signer)
    signature = sign(signer, key, b"data")
    assert key.has_signed(b"data", signature)
    assert not key.has_signed(b"date", signature)
    others = [public_key_of(P256Key()), public_key_of(FileKey(Ed25519PrivateKey.generate()))]
    for other in (*others, PublicKey("RS256", key.data), PublicKey(key.algorithm, b"")):
        assert not other.has_signed(b"data", signature)
    for wrong in (b"", bytes(64), b"\xff" * 64, signature[1:], signature + b"0"):
        assert not key.has_signed(b"data", wrong)
    check_signer(signer)


def test_a_signer_that_signs_with_another_key_is_found_before_the_run() -> None:
    """As one whose public key is of another kind."""

    class Other(P256Key):
        def sign(self, data: bytes) -> bytes:
            return P256Key().sign(data)

    with pytest.raises(PermanentError, match="no signature by its own public key"):
        check_signer(Other())

    class Unknown(P256Key):
        def public_key(self) -> bytes:
            return (
                ec.generate_private_key(ec.SECP384R1())
                .public_key()
                .public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
            )

    with pytest.raises(UsageError, match="neither Ed25519 nor ECDSA on P-256"):
        check_signer(Unknown())


@pytest.mark.parametrize(
    "text", [pem(KEY), pem(KEY).replace("\n", "\r\n"), pem(KEY).split("\n")[1], pem(KEY).replace("\n", " ")]
)
def test_a_signing_key_is_pem_or_its_line(text: str) -> None:
    """A connection's password is one line."""
    assert read_signing_key(text, name="x").public_key() == FileKey(KEY).public_key()


def test_what_is_no_signing_key_is_refused_without_being_shown() -> None:
    """Another kind of key, an encrypted one, or any text; the message holds nothing of it."""
    encrypted = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")).decode()
    for text in ("", "secret", pem(X25519PrivateKey.generate()), encrypted, "AAAA" * 20):
        with pytest.raises(UsageError, match="x is no unencrypted Ed25519 private key") as caught:
            read_signing_key(text, name="x")
        assert not text or text[:40] not in str(caught.value)


def test_a_public_key_is_read_from_a_file(tmp_path: Path) -> None:
    """Of either algorithm; a missing file and another kind of key are wrong use."""
    path = tmp_path / "public.pem"
    with pytest.raises(UsageError, match="cannot be read: No such file"):
        read_public_key(str(path))
    path.write_bytes(KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    assert read_public_key(str(path)) == PublicKey(ED25519, KEY.public_key().public_bytes_raw())
    signer = P256Key()
    path.write_bytes(signer.public_pem())
    assert read_public_key(str(path)) == public_key_of(signer)
    others: list[Any] = [X25519PrivateKey.generate().public_key(), ec.generate_private_key(ec.SECP384R1()).public_key()]
    for other in others:
        path.write_bytes(other.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
        with pytest.raises(UsageError, match="is no Ed25519 public key in PEM, and none of ECDSA on P-256"):
            read_public_key(str(path))
    path.write_text(pem(KEY))
    with pytest.raises(UsageError, match="is no Ed25519 public key"):
        read_public_key(str(path))
