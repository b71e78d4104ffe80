"""AWS KMS and Azure Key Vault on loopback, as far as signing needs them: their protocols, with real signatures.

A test chooses the refusals.
"""

import base64
import json
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.certificates import HOST

VERSION: Final = "0123456789abcdef0123456789abcdef"
ARN: Final = "arn:aws:kms:eu-central-1:111122223333:key/"


class KeyService:
    """What both services have: one key, and refusals.

    Attributes:
        key: The private key.
        refusals: Answers in place of the service's own, by operation: status and document; used up one after another.
        requests: The operations that were asked for.
        changes: Fields of the answers that are replaced.
    """

    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.refusals: dict[str, list[tuple[int, Any]]] = {}
        self.requests: list[str] = []
        self.tokens: list[str] = []
        self.changes: dict[str, Any] = {}
        self.url = ""

    @property
    def public_pem(self) -> bytes:
        """The public key as both services' command lines export it."""
        return self.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def signed(self, digest: bytes) -> bytes:
        """Return the signature of a digest, in DER."""
        return self.key.sign(digest, ec.ECDSA(Prehashed(SHA256())))

    def answer(self, operation: str, values: Mapping[str, Any]) -> tuple[int, Any]:
        """Return status and document."""
        self.requests.append(operation)
        if self.refusals.get(operation):
            return self.refusals[operation].pop(0)
        return 200, self.document(operation, values) | self.changes

    def document(self, operation: str, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the service's own answer."""
        raise NotImplementedError


class P256Key:
    """A signer of ES256 without a service."""

    name = "a key of a test"

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())

    def public_key(self) -> bytes:
        """Return the public key."""
        return self._key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    def public_pem(self) -> bytes:
        """Return the public key as OpenSSL writes it."""
        return self._key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def sign(self, data: bytes) -> bytes:
        """Return the signature."""
        numbers = decode_dss_signature(self._key.sign(data, ec.ECDSA(SHA256())))
        return b"".join(number.to_bytes(32) for number in numbers)

    def close(self) -> None:
        """Do nothing."""


class Kms(KeyService):
    """https://docs.aws.amazon.com/kms/latest/APIReference/API_Sign.html and API_GetPublicKey.html."""

    def document(self, operation: str, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the public key, or a signature."""
        found = {"KeyId": f"{ARN}of-the-alias" if "alias/" in values["KeyId"] else values["KeyId"]}
        if operation == "GetPublicKey":
            der = self.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
            public = {"PublicKey": base64.b64encode(der).decode(), "KeySpec": "ECC_NIST_P256"}
            return found | public | {"KeyUsage": "SIGN_VERIFY"}
        assert (values["MessageType"], values["SigningAlgorithm"]) == ("DIGEST", "ECDSA_SHA_256")
        signature = self.signed(base64.b64decode(values["Message"]))
        return found | {"Signature": base64.b64encode(signature).decode()}


class Vault(KeyService):
    """https://learn.microsoft.com/rest/api/keyvault/keys/sign/sign and get-key."""

    @property
    def address(self) -> str:
        """The key's identifier, without a version."""
        return f"{self.url}/keys/Audit"

    def document(self, operation: str, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the public key, or a signature."""
        identifier = f"{self.address}/{VERSION}"
        if operation == "get":
            point = self.key.public_key().public_numbers()
            numbers = {"x": _encoded(point.x.to_bytes(32)), "y": _encoded(point.y.to_bytes(32))}
            key = {"kid": identifier, "kty": "EC", "crv": "P-256", "key_ops": ["sign", "verify"]}
            return {"key": key | numbers, "attributes": {"enabled": True}}
        assert values["alg"] == "ES256"
        numbers_of_it = decode_dss_signature(self.signed(base64.urlsafe_b64decode(values["value"] + "=")))
        return {"kid": identifier, "value": _encoded(b"".join(number.to_bytes(32) for number in numbers_of_it))}


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@contextmanager
def kms() -> Iterator[Kms]:
    """Run a KMS."""
    service = Kms()

    class Handler(_Handler):
        def do_POST(self) -> None:
            operation = self.headers["X-Amz-Target"].removeprefix("TrentService.")
            assert "AWS4-HMAC-SHA256" in self.headers["Authorization"]
            self.reply(*service.answer(operation, self.values()))

    with _running(Handler) as port:
        service.url = f"http://{HOST}:{port}"
        yield service


@contextmanager
def key_vault(certificate: Path) -> Iterator[Vault]:
    """Run a Key Vault behind TLS.

    Args:
        certificate: The server's certificate and key.
    """
    service = Vault()

    class Handler(_Handler):
        def do_GET(self) -> None:
            self._answer("get")

        def do_POST(self) -> None:
            assert self.path.partition("?")[0] == f"/keys/Audit/{VERSION}/sign"
            self._answer("sign")

        def _answer(self, operation: str) -> None:
            assert self.path.endswith("?api-version=7.4")
            service.tokens.append(self.headers["Authorization"])
            self.reply(*service.answer(operation, self.values()))

    with _running(Handler, certificate) as port:
        service.url = f"https://{HOST}:{port}"
        yield service


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def values(self) -> dict[str, Any]:
        """Return the request's document."""
        length = int(self.headers.get("Content-Length") or 0)
        found: dict[str, Any] = json.loads(self.rfile.read(length)) if length else {}
        return found

    def reply(self, status: int, document: Any) -> None:
        """Send a document, or bytes as they are."""
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Log nothing."""


@contextmanager
def _running(handler: type[BaseHTTPRequestHandler], certificate: Path | None = None) -> Iterator[int]:
    server = ThreadingHTTPServer((HOST, 0), handler)
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
