"""Certificates are verified on both sides, and no secret appears in any log or error (invariant 9)."""

import datetime
import logging
import re
import ssl
from base64 import b64encode
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote
from uuid import uuid4

import boto3
import pytest
from azure.core.credentials import AzureSasCredential
from azure.storage.blob import ContainerClient, ContainerSasPermissions, generate_container_sas

from local_cloud.servers import LocalAzure, LocalS3
from s3_to_azure.model.checksums import CRC64NVME
from s3_to_azure.model.errors import CertificateRefused, TransferError
from s3_to_azure.model.limits import MIB
from s3_to_azure.model.objects import BlobContents, Condition, ContentHeaders, ListedObject, ObjectVersion
from s3_to_azure.model.ports import Fetched, HandedBack, Stored
from s3_to_azure.stores.azure.container import AzureContainer
from s3_to_azure.stores.event_loop.loop import LoopSmallObjectClient, small_object_client
from s3_to_azure.stores.s3.options import botocore_config
from s3_to_azure.stores.s3.source import S3Source
from s3_to_azure.transfer.object import copy_object
from s3_to_azure.transfer.pool import copy_many
from tests.certificates import certified
from tests.fakes.contexts import some_bytes, task, transfer_context
from tests.fakes.memory_source import EPOCH
from tests.faults.conftest import Clouds
from tests.faults.faulty_proxy import Answer, Cut, CutRequest, FaultyProxy, Lose, Request
from tests.real_stores import azure_container, s3_source

IGNORE_INSECURE = pytest.mark.filterwarnings("ignore::urllib3.exceptions.InsecureRequestWarning")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a self-signed certificate; key and certificate are in one file."""
    return certified(tmp_path_factory.mktemp("tls") / "self-signed.pem")


@pytest.fixture
def tls(certificate: Path) -> ssl.SSLContext:
    """Return a server's context with that certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


@pytest.fixture
def s3_over_tls(s3_server: LocalS3, tls: ssl.SSLContext) -> Iterator[FaultyProxy]:
    """Run the local S3 behind TLS."""
    with FaultyProxy(s3_server.endpoint_url, tls=tls) as proxy:
        yield proxy


@pytest.fixture
def azure_over_tls(azure_server: LocalAzure, tls: ssl.SSLContext) -> Iterator[FaultyProxy]:
    """Run the local Azure behind TLS."""
    with FaultyProxy(azure_server.account_url, tls=tls) as proxy:
        yield proxy


def test_self_signed_s3_is_refused(s3_server: LocalS3, s3_over_tls: FaultyProxy) -> None:
    """No request is sent over a connection that is not trusted, and the error says what to do."""
    source = s3_source(s3_server, endpoint_url=s3_over_tls.url)
    version = ObjectVersion("some-bucket", "k", "etag", 10, EPOCH)
    source._addresses._regions["some-bucket"] = "us-east-1"
    with pytest.raises(CertificateRefused, match="verify"):
        source.head("some-bucket", "k")
    with pytest.raises(CertificateRefused), source.open(version, 0, 5):
        pytest.fail("opened")
    with pytest.raises(CertificateRefused):
        list(source.list("some-bucket", ""))
    assert s3_over_tls.seen == []
    source.close()


def test_self_signed_azure_is_refused(azure_server: LocalAzure, azure_over_tls: FaultyProxy) -> None:
    """Neither a block nor any other request is sent over a connection that is not trusted."""
    destination = azure_container(azure_server, "container", account_url=azure_over_tls.url)
    data = memoryview(b"x")
    crc64 = CRC64NVME.digest(data)
    nothing = BlobContents({}, ContentHeaders())
    with pytest.raises(CertificateRefused, match="verify"):
        destination.head("b")
    with pytest.raises(CertificateRefused):
        destination.stage_block("b", "x" * 52, data, crc64)
    with pytest.raises(CertificateRefused):
        destination.put_blob("b", data, crc64, nothing, Condition(None))
    with pytest.raises(CertificateRefused):
        destination.commit("b", [], nothing, Condition(None))
    assert azure_over_tls.seen == []
    destination.close()


@IGNORE_INSECURE
@pytest.mark.parametrize("told", ["bundle", "off"])
def test_configured_trust_is_used(
    clouds: Clouds, s3_over_tls: FaultyProxy, azure_over_tls: FaultyProxy, certificate: Path, told: str
) -> None:
    """With its CA bundle, or with verification switched off, the same servers are used over TLS."""
    verify: bool | str = str(certificate) if told == "bundle" else False
    data = some_bytes(3 * MIB)
    clouds.put(data)
    source = s3_source(clouds.s3_server, endpoint_url=s3_over_tls.url, verify=verify)
    name = str(clouds.container.container_name)
    destination = azure_container(clouds.azure_server, name, account_url=azure_over_tls.url, verify=verify)
    with transfer_context(source, destination) as context:
        copy_object(context, task("k", clouds.bucket))
    assert clouds.blob() == data
    assert azure_over_tls.count("put block") == 3
    source.close()
    destination.close()


def ends(client: LoopSmallObjectClient) -> list[Fetched | Stored | HandedBack]:
    """Return the next events of a client."""
    return next(events for _ in range(100) if (events := list(client.finished(0.1))))


LISTED = ListedObject("some-bucket", "k", "etag", 10, EPOCH)


def store_one(client: LoopSmallObjectClient) -> None:
    """Begin to write a blob."""
    data, nothing = b"x", BlobContents({}, ContentHeaders())
    client.store("t", "b", data, crc64=CRC64NVME.digest(memoryview(data)), contents=nothing, condition=Condition(None))


def test_small_objects_are_not_sent_without_trust(
    s3_server: LocalS3,
    azure_server: LocalAzure,
    s3_over_tls: FaultyProxy,
    azure_over_tls: FaultyProxy,
    certificate: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Neither service gets a request over a connection that is not trusted, whatever the environment says."""
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.setenv(name, str(certificate))
    source = s3_source(s3_server, endpoint_url=s3_over_tls.url)
    source._addresses._regions["some-bucket"] = "us-east-1"
    destination = azure_container(azure_server, "container", account_url=azure_over_tls.url)
    client = LoopSmallObjectClient(source, destination)
    acts: list[Callable[[], None]] = [lambda: client.fetch("t", LISTED), lambda: store_one(client)]
    for act in acts:
        act()
        (event,) = ends(client)
        assert isinstance(event, HandedBack)
        assert isinstance(event.error, CertificateRefused)
    assert s3_over_tls.seen == azure_over_tls.seen == []
    client.close()
    source.close()
    destination.close()


@pytest.mark.parametrize("told", ["bundle", "off"])
def test_small_objects_use_configured_trust(
    clouds: Clouds, s3_over_tls: FaultyProxy, azure_over_tls: FaultyProxy, certificate: Path, told: str
) -> None:
    """With its CA bundle, or with verification switched off, small objects are sent over TLS."""
    verify: bool | str = str(certificate) if told == "bundle" else False
    clouds.put(b"0123456789")
    source = s3_source(clouds.s3_server, endpoint_url=s3_over_tls.url, verify=verify)
    source._addresses._regions[clouds.bucket] = "us-east-1"
    name = str(clouds.container.container_name)
    destination = azure_container(clouds.azure_server, name, account_url=azure_over_tls.url, verify=verify)
    client = LoopSmallObjectClient(source, destination)
    client.fetch("t", next(iter(clouds.source.list(clouds.bucket, "k"))))
    (event,) = ends(client)
    assert isinstance(event, Fetched)
    store_one(client)
    assert ends(client) == [Stored("t")]
    assert (s3_over_tls.count("get whole"), azure_over_tls.count("put blob")) == (1, 1)
    client.close()
    source.close()
    destination.close()


def test_trust_is_not_taken_from_the_environment(
    s3_server: LocalS3,
    azure_server: LocalAzure,
    s3_over_tls: FaultyProxy,
    azure_over_tls: FaultyProxy,
    certificate: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Below the entry points no environment variable makes a server trusted."""
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.setenv(name, str(certificate))
    source = s3_source(s3_server, endpoint_url=s3_over_tls.url)
    source._addresses._regions["some-bucket"] = "us-east-1"
    with pytest.raises(CertificateRefused), source.open(ObjectVersion("some-bucket", "k", "e", 10, EPOCH), 0, 5):
        pytest.fail("opened")
    destination = azure_container(azure_server, "container", account_url=azure_over_tls.url)
    with pytest.raises(CertificateRefused):
        destination.head("b")
    source.close()
    destination.close()


SECRET_KEY = "s3cr3t/Key+with=signs0123456789abcdefgh"
SESSION_TOKEN = "FwoGZXIvYXdzEBYaD-very-secret-session-token//////////"


class Everything(logging.Handler):
    """Keeps the text of every record as a handler at the root writes it."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.setFormatter(logging.Formatter("%(name)s %(levelname)s %(message)s"))
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the text with its traceback."""
        self.lines.append(self.format(record))


@pytest.fixture
def everything() -> Iterator[Everything]:
    """Record every log line of every logger at DEBUG."""
    handler, root = Everything(), logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield handler
    root.setLevel(level)
    root.removeHandler(handler)


def secret_source(clouds: Clouds) -> S3Source:
    """Return S3 with credentials that a search can recognise."""
    session = boto3.Session("test", SECRET_KEY, SESSION_TOKEN, region_name="us-east-1")
    options = {"endpoint_url": clouds.s3.url, "config": botocore_config(4), "region_name": "us-east-1"}
    return S3Source(session, options)


def sas(server: LocalAzure, container: ContainerClient) -> str:
    """Return a SAS for the container."""
    return generate_container_sas(
        server.account_name,
        str(container.container_name),
        account_key=server.account_key,
        permission=ContainerSasPermissions(read=True, write=True, create=True, list=True, delete=True),
        expiry=datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=1),
    )


def destinations(clouds: Clouds) -> Iterator[tuple[AzureContainer, list[str]]]:
    """Yield the container by account key, by SAS credential and by SAS in the URL, each with its secrets."""
    name, server = str(clouds.container.container_name), clouds.azure_server
    token = sas(server, clouds.container)
    signature = re.findall("sig=([^&]+)", token)[0]
    yield azure_container(server, name, account_url=clouds.azure.url), [server.account_key]
    for credential, url in ((AzureSasCredential(token), clouds.azure.url), (None, f"{clouds.azure.url}?{token}")):
        if credential is None:
            from azure.storage.blob import BlobServiceClient  # noqa: PLC0415 - without the account key

            from s3_to_azure.stores.azure.client import service_client  # noqa: PLC0415

            made = AzureContainer(service_client(BlobServiceClient(url), connections=4), name)
        else:
            made = azure_container(server, name, account_url=url, credential=credential)
        yield made, [signature, unquote(signature)]


def leaks(text: str, secrets: set[str]) -> list[str]:
    """Return the secrets that the text contains, as they are or in base64."""
    forms = secrets | {b64encode(secret.encode()).decode() for secret in secrets}
    return [form for form in forms if form in text]


def copied_by_the_small_object_client(
    clouds: Clouds, source: S3Source, destination: AzureContainer, key: str
) -> list[TransferError]:
    """Copy an object through the client for small objects, and one by one where that fails; return the errors."""
    data = some_bytes(1000)
    clouds.put(data, key)
    etag = clouds.s3_client.head_object(Bucket=clouds.bucket, Key=key)["ETag"].strip('"')
    listed = ListedObject(clouds.bucket, key, etag, len(data), EPOCH)
    with transfer_context(source, destination, small_object_client=small_object_client(source, destination)) as context:
        outcomes = list(copy_many(context, [task(key, clouds.bucket, listed=listed, condition=Condition(None))]))
    return [outcome.error for outcome in outcomes if outcome.error]


def test_invariant_9_no_secret_in_any_log_or_error(clouds: Clouds, everything: Everything) -> None:
    """At DEBUG no key, token, SAS or signature is written, in copies that succeed and that fail in every way."""
    data = some_bytes(2 * MIB + 5)
    secrets = {SECRET_KEY, SESSION_TOKEN, clouds.azure_server.account_key}
    errors: list[TransferError] = []
    source = secret_source(clouds)
    denied = b"<Error><Code>SignatureDoesNotMatch</Code><StringToSign>x</StringToSign></Error>"
    plans = {
        "nothing": (None, None),
        "S3 refuses": (Answer(403, {}, denied), None),
        "S3 cuts": (Cut(0, reset=True), None),
        "S3 redirects": (Answer(307, {"Location": "http://127.0.0.1:1/x?X-Amz-Signature=abc"}), None),
        "Azure refuses": (None, Answer(403, {"x-ms-error-code": "AuthenticationFailed"}, b"<Error/>")),
        "Azure cuts": (None, CutRequest(0)),
        "Azure loses": (None, Lose()),
    }
    for number, (destination, own) in enumerate(destinations(clouds)):
        secrets.update(own)
        for what, (s3_fault, azure_fault) in plans.items():
            key = f"{number} {what}"
            clouds.put(data, key)
            clouds.s3.plan = lambda request, fault=s3_fault: fault if request.method == "GET" else None  # type: ignore[misc]
            clouds.azure.plan = lambda request, fault=azure_fault: fault if request.method == "PUT" else None  # type: ignore[misc]
            with transfer_context(source, destination) as context:
                try:
                    copy_object(context, task(key, clouds.bucket))
                except TransferError as error:
                    errors.append(error)
                    logging.getLogger("a caller's own").exception("it failed")
            errors += copied_by_the_small_object_client(clouds, source, destination, f"{key} small")
        destination.close()
    source.close()
    secrets |= clouds.s3.secrets | clouds.azure.secrets
    secrets |= {unquote(secret) for secret in secrets}
    assert len(secrets) > 20
    assert len(errors) >= 2 * 3 * 5
    text = "\n".join(everything.lines)
    assert len(everything.lines) > 100
    assert leaks(text, secrets) == []
    assert not re.search(r"Signature=[0-9a-f]{16}|[?&]sig=(?!\*|REDACTED)", text)
    for told in errors:
        assert leaks(f"{told}{told.attributes}{told.__cause__!r}", secrets) == []


def test_leaked_secrets_are_found(everything: Everything) -> None:
    """A secret that is logged is found, so the test of invariant 9 can fail."""
    # No store has held it, and no name beside it tells what it is.
    unknown = f"s3cr3t/Key+{uuid4().hex}"
    logging.getLogger("careless").debug("it is %s", unknown)
    assert leaks("\n".join(everything.lines), {unknown, "not there"}) == [unknown]


def test_refused_connection_shows_no_signature(clouds: Clouds, everything: Everything) -> None:
    """An error below HTTP that quotes the URL has no SAS in it."""
    token = sas(clouds.azure_server, clouds.container)
    nowhere = replace(clouds.azure_server, account_url="http://127.0.0.1:1/devstoreaccount1")
    destination = azure_container(nowhere, "container", credential=AzureSasCredential(token))
    signature = re.findall("sig=([^&]+)", token)[0]
    data = memoryview(b"x")
    acts: list[Callable[[], object]] = [
        lambda: destination.head("b"),
        lambda: destination.stage_block("b", "x" * 52, data, CRC64NVME.digest(data)),
        destination.check,
    ]
    for act in acts:
        with pytest.raises(TransferError) as caught:
            act()
        assert leaks(str(caught.value), {signature, unquote(signature)}) == []
    assert leaks("\n".join(everything.lines), {signature, unquote(signature)}) == []
    destination.close()


def test_signatures_are_sent_in_headers(clouds: Clouds) -> None:
    """No S3 request has its signature in the URL, which proxies write into their logs."""
    clouds.put(some_bytes(2 * MIB))
    clouds.copy()

    def signed_in_url(request: Request) -> bool:
        return "signature" in request.path.lower()

    assert clouds.s3.secrets
    assert not any(map(signed_in_url, clouds.s3.seen))
