"""A key in AWS KMS that signs certificates, as a ``Signer``."""

import re
from collections.abc import Mapping
from functools import partial
from hashlib import sha256
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from s3_to_azure.model import errors
from s3_to_azure.model.errors import UsageError
from s3_to_azure.model.retry import Retrier
from s3_to_azure.stores.http.redaction import protect_logs
from s3_to_azure.stores.http.refusals import Cause, Refusal, codes, error_of, unexpected_response
from s3_to_azure.stores.s3.errors import SERVICE_CAUSES, request_errors

KMS: Final = "AWS KMS"
"""The service's name in errors."""

ARN: Final = re.compile(r"arn:aws[a-z-]*:kms:(?P<region>[a-z0-9-]+):\d{12}:(?:key/[\w-]+|alias/[\w/-]+)")
"""The ARN of a key or of an alias."""

# https://docs.aws.amazon.com/kms/latest/APIReference/API_Sign.html: a digest, since a message has at most 4,096 bytes.
# That leaves out KMS's Ed25519 keys, whose plain signatures need the message.
_SPEC: Final = "ECC_NIST_P256"
_USAGE: Final = "SIGN_VERIFY"
_ALGORITHM: Final = "ECDSA_SHA_256"
_NUMBER_BYTES: Final = 32
_NEEDS: Final = f"Certificates need a key of the spec {_SPEC} and the usage {_USAGE}."
_CAUSES: Final = (Cause(codes("AccessDenied(?:Exception)?"), errors.AccessDenied), *SERVICE_CAUSES)
_SENTENCES: Final = {
    "NotFoundException": "{name} does not exist. Check region, account and id in its ARN.",
    "InvalidArnException": "{name} has no valid ARN.",
    "DisabledException": "{name} is disabled ({said}). Enable it, or name another one.",
    "KMSInvalidStateException": "{name} cannot be used in its present state ({said}). Enable it, or name another one.",
    "InvalidKeyUsageException": f"{{name}} cannot sign ({{said}}). {_NEEDS}",
    "UnsupportedOperationException": f"{{name}} cannot sign ({{said}}). {_NEEDS}",
    "ValidationException": f"{{name}} cannot sign ({{said}}). {_NEEDS}",
}


class KmsKey:
    """A key of KMS; the private part never leaves it.

    Args:
        session: A boto3 session.
        client_options: Keyword arguments of ``session.client("kms", …)``: endpoint_url, config, verify.
        arn: The key's ARN, or an alias's.
        retrier: Repeats each request.
    """

    def __init__(self, session: Any, client_options: Mapping[str, Any], arn: str, retrier: Retrier) -> None:
        match = ARN.fullmatch(arn)
        if match is None:
            raise UsageError(
                detail=f"{arn!r} is no ARN of a KMS key, such as arn:aws:kms:REGION:ACCOUNT:key/ID or …:alias/NAME."
            )
        self.name = f"the KMS key {arn!r}"
        self._arn = arn
        self._retrier = retrier
        protect_logs()
        with self._errors():
            self._client = session.client("kms", **{**client_options, "region_name": match["region"]})
        protect_logs()

    def public_key(self) -> bytes:
        """Return the public key."""
        found = self._call("read", partial(self._client.get_public_key, KeyId=self._arn))
        spec, usage = found.get("KeySpec"), found.get("KeyUsage")
        if (spec, usage) != (_SPEC, _USAGE):
            raise UsageError(detail=f"{self.name} has the spec {spec} and the usage {usage}. {_NEEDS}")
        with self._errors():
            # That of the key itself: an alias may name another one by the time of the signature.
            self._arn = str(found["KeyId"])
            return bytes(found["PublicKey"])

    def sign(self, data: bytes) -> bytes:
        """Return the signature."""
        found = self._call(
            "sign with",
            partial(
                self._client.sign,
                KeyId=self._arn,
                Message=sha256(data).digest(),
                MessageType="DIGEST",
                SigningAlgorithm=_ALGORITHM,
            ),
        )
        with self._errors():
            numbers = decode_dss_signature(found["Signature"])
            return b"".join(number.to_bytes(_NUMBER_BYTES) for number in numbers)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _call(self, action: str, request: Any) -> Mapping[str, Any]:
        def once() -> Mapping[str, Any]:
            with self._errors():
                answer: Mapping[str, Any] = request()
                return answer

        return self._retrier.call(f"{action} {self.name}", once)

    def _errors(self) -> Any:
        return request_errors(partial(_error, name=self.name), lambda: self.name, KMS)


def _error(refusal: Refusal, *, name: str) -> errors.TransferError:
    """Return the error that a refusal of KMS means."""
    sentence = _SENTENCES.get(refusal.code)
    if sentence:
        detail = sentence.format(name=name, said=refusal.said)
        return UsageError(detail=detail[0].upper() + detail[1:])
    cure = "Grant the identity of this connection kms:GetPublicKey and kms:Sign on it, in its key policy too."
    request = {"service": KMS, "resource": name, "cure": cure}
    found = error_of(refusal, _CAUSES, request)
    return found or unexpected_response(KMS, name, refusal, check="the region in the key's ARN")
