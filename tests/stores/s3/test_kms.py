"""A key in KMS: what it signs is checked without KMS, and each refusal is one sentence."""

import socket
import threading
from collections.abc import Iterator
from typing import Any

import boto3
import pytest

from local_cloud.servers import localstack
from s3_to_azure.model import errors
from s3_to_azure.model.errors import TransferError, UsageError
from s3_to_azure.model.retry import Retrier
from s3_to_azure.model.settings import RetryBudget
from s3_to_azure.runs.signatures import ES256, check_signer, public_key_of, sign
from s3_to_azure.stores.s3.kms import KmsKey
from s3_to_azure.stores.s3.options import botocore_config
from tests.fakes.key_services import ARN, Kms, kms

SESSION = boto3.Session(aws_access_key_id="test", aws_secret_access_key="test")


@pytest.fixture
def service() -> Iterator[Kms]:
    """Run a KMS."""
    with kms() as running:
        yield running


def key_at(url: str, arn: str = f"{ARN}1234") -> KmsKey:
    """Return a key, whose requests are tried twice."""
    options = {"config": botocore_config(1), "endpoint_url": url}
    retrier = Retrier(RetryBudget(attempts=2, first_wait_s=0, longest_wait_s=0), threading.Event())
    return KmsKey(SESSION, options, arn, retrier)


def test_a_signature_is_checked_with_the_public_key_alone(service: Kms) -> None:
    """It has the form of ES256; of an alias the key that it names now signs, whatever it names later."""
    for name, signing in (("key/1234", f"{ARN}1234"), ("alias/audit/a_b", f"{ARN}of-the-alias")):
        key = key_at(service.url, ARN.removesuffix("key/") + name)
        check_signer(key)
        public = public_key_of(key)
        assert key._arn == signing
        signature = sign(key, public, b"data" * 10_000)
        assert (public.algorithm, len(signature), len(public.data)) == (ES256, 64, 65)
        assert public.has_signed(b"data" * 10_000, signature)
        assert not public.has_signed(b"other", signature)
        key.close()


@pytest.mark.parametrize(
    ("operation", "status", "code", "kind", "text"),
    [
        ("Sign", 400, "AccessDeniedException", errors.AccessDenied, "kms:GetPublicKey and kms:Sign"),
        ("GetPublicKey", 400, "AccessDeniedException", errors.AccessDenied, "AWS KMS denied access to the KMS key"),
        ("GetPublicKey", 400, "NotFoundException", UsageError, "does not exist. Check region, account and id"),
        ("GetPublicKey", 400, "InvalidArnException", UsageError, "has no valid ARN"),
        ("Sign", 400, "DisabledException", UsageError, "is disabled (DisabledException: words)"),
        ("Sign", 400, "KMSInvalidStateException", UsageError, "present state (KMSInvalidStateException: words)"),
        ("Sign", 400, "InvalidKeyUsageException", UsageError, "ECC_NIST_P256"),
        ("GetPublicKey", 400, "UnsupportedOperationException", UsageError, "ECC_NIST_P256"),
        ("Sign", 400, "ValidationException", UsageError, "ECC_NIST_P256"),
        ("Sign", 400, "UnrecognizedClientException", errors.CredentialsRefused, "AWS KMS refused the credentials"),
        ("Sign", 418, "Other", errors.UnexpectedResponse, "AWS KMS gave an answer that cannot be trusted"),
    ],
)
def test_each_refusal_is_one_permanent_sentence(
    service: Kms, operation: str, status: int, code: str, kind: type[TransferError], text: str
) -> None:
    """It says what to do, and is not tried again."""
    service.refusals[operation] = [(status, {"__type": code, "message": "words"})]
    with pytest.raises(kind) as caught:
        check_signer(key_at(service.url))
    assert text in str(caught.value)
    assert service.requests.count(operation) == 1
    assert not isinstance(caught.value, errors.TransientError)


@pytest.mark.parametrize(
    ("status", "code"),
    [(500, "KMSInternalException"), (500, "DependencyTimeoutException"), (400, "ThrottlingException")],
)
def test_a_failure_that_may_pass_is_tried_again(service: Kms, status: int, code: str) -> None:
    """The budget is that of every request."""
    service.refusals["Sign"] = [(status, {"__type": code, "message": "words"})]
    check_signer(key_at(service.url))
    assert service.requests == ["GetPublicKey", "Sign", "Sign"]
    service.refusals["Sign"] = [(status, {"__type": code, "message": "words"})] * 2
    with pytest.raises(errors.TransientError):
        check_signer(key_at(service.url))


@pytest.mark.parametrize(("spec", "usage"), [("RSA_2048", "SIGN_VERIFY"), ("ECC_NIST_P256", "KEY_AGREEMENT")])
def test_another_kind_of_key_is_refused(service: Kms, spec: str, usage: str) -> None:
    """Before anything is signed."""
    service.changes = {"KeySpec": spec, "KeyUsage": usage}
    with pytest.raises(UsageError, match=f"has the spec {spec} and the usage {usage}. Certificates need"):
        check_signer(key_at(service.url))
    assert service.requests == ["GetPublicKey"]


def test_a_signature_by_another_key_is_refused(service: Kms) -> None:
    """Nobody could check the certificate."""
    key = key_at(service.url)
    public = public_key_of(key)
    service.key = Kms().key
    with pytest.raises(errors.PermanentError, match="no signature by its own public key"):
        sign(key, public, b"data")


@pytest.mark.parametrize(
    "arn", ["arn:aws:kms:eu:1:key/1", "arn:aws:s3:eu-central-1:111122223333:key/1", f"{ARN}a/b", f"{ARN}", "alias/x"]
)
def test_what_is_no_arn_of_a_key_is_refused(arn: str) -> None:
    """Before a client is made."""
    with pytest.raises(UsageError, match="is no ARN of a KMS key"):
        key_at("http://127.0.0.1:9", arn)


@pytest.mark.parametrize("missing", ["KeyId", "PublicKey"])
def test_an_answer_without_the_key_is_none(service: Kms, monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    """It is the service's fault, in a sentence."""
    key = key_at(service.url)
    answer = {"KeyId": f"{ARN}1234", "PublicKey": b"x", "KeySpec": "ECC_NIST_P256", "KeyUsage": "SIGN_VERIFY"}
    del answer[missing]
    monkeypatch.setattr(key._client, "get_public_key", lambda **_: answer)
    with pytest.raises(errors.UnexpectedResponse, match="AWS KMS"):
        key.public_key()


def test_an_unknown_region_has_no_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its host is not found; the error names it, and retrying does not help."""

    def no_address(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", no_address)
    key = key_at("http://kms.eu-nowhere-1.invalid", "arn:aws:kms:eu-nowhere-1:111122223333:key/1")
    with pytest.raises(UsageError, match=r"The host 'kms\.eu-nowhere-1\.invalid' of AWS KMS has no address"):
        key.public_key()


@pytest.mark.slow
def test_localstacks_kms_signs(tmp_path: Any) -> None:
    """An implementation by somebody else: the same signatures, and the refusals of missing and disabled keys."""
    with localstack(tmp_path, services="kms") as server:
        client: Any = boto3.client(
            "kms",
            endpoint_url=server.endpoint_url,
            aws_access_key_id=server.access_key,
            aws_secret_access_key=server.secret_key,
            region_name=server.region,
        )
        arn = client.create_key(KeyUsage="SIGN_VERIFY", KeySpec="ECC_NIST_P256")["KeyMetadata"]["Arn"]
        check_signer(key_at(server.endpoint_url, arn))
        rsa = client.create_key(KeyUsage="SIGN_VERIFY", KeySpec="RSA_2048")["KeyMetadata"]["Arn"]
        with pytest.raises(UsageError, match="has the spec RSA_2048"):
            check_signer(key_at(server.endpoint_url, rsa))
        client.disable_key(KeyId=arn)
        with pytest.raises(UsageError, match=r"disabled|present state"):
            check_signer(key_at(server.endpoint_url, arn))
        missing = f"{arn.rpartition('/')[0]}/00000000-0000-0000-0000-000000000000"
        with pytest.raises(UsageError, match="does not exist"):
            check_signer(key_at(server.endpoint_url, missing))
