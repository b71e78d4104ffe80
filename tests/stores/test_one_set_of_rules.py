"""All clients follow the same settings: boto3, the Azure SDK's session, our own connections, and the event loop."""

import logging
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from azure.core.credentials import AzureSasCredential
from azure.storage.blob import BlobServiceClient
from botocore.config import Config

from s3_to_azure.model.errors import CertificateRefused, TransferError, UsageError
from s3_to_azure.model.objects import BlobContents, Condition, ContentHeaders, ListedObject
from s3_to_azure.model.ports import HandedBack
from s3_to_azure.stores.azure.client import service_client
from s3_to_azure.stores.azure.container import AzureContainer
from s3_to_azure.stores.event_loop.loop import LoopSmallObjectClient, small_object_client
from s3_to_azure.stores.http.settings import HttpSettings, Proxies
from s3_to_azure.stores.presigned.source import PresignedSource
from s3_to_azure.stores.presigned.url import PresignedUrl
from s3_to_azure.stores.s3.options import botocore_config
from s3_to_azure.stores.s3.source import S3Source
from tests.certificates import HOST, certified, issue
from tests.fakes.memory_source import EPOCH
from tests.real_stores import s3_session
from tests.stores.http.forward_proxy import ForwardProxy
from tests.stores.http.recording_server import RecordingServer, serving

LISTED = ListedObject("bucket", "k", "e", 10, EPOCH)
BODY = memoryview(b"0123456789")
NOTHING = BlobContents({}, ContentHeaders())


@contextmanager
def stores(url: str, settings: dict[str, Any]) -> Iterator[tuple[S3Source, AzureContainer]]:
    """Open both stores at one server, with the same settings given in the ways of the two SDKs."""
    names = {
        "connect_timeout_s": "connect_timeout",
        "read_timeout_s": "read_timeout",
        "client_certificate": "client_cert",
    }
    given = {names[name]: value for name, value in settings.items() if name in names}
    of_proxy = {
        "proxy_ca_bundle": settings.get("proxy_ca_bundle"),
        "proxy_client_cert": settings.get("proxy_client_certificate"),
        "proxy_use_forwarding_for_https": settings.get("forwards_https"),
    }
    config = Config(proxies_config={name: value for name, value in of_proxy.items() if value}, **given)
    options = {"endpoint_url": url, "region_name": "us-east-1", "verify": settings.get("verify", True)}
    source = S3Source(
        s3_session("access", "secret"),
        options | {"config": botocore_config(2, config)},
        proxies=settings.get("proxies"),
    )
    source._addresses._regions["bucket"] = None
    client = BlobServiceClient(f"{url}/account", credential=AzureSasCredential("sig=x"))
    destination = AzureContainer(service_client(client, connections=2, settings=HttpSettings(**settings)), "container")
    with closing(source), closing(destination):
        yield source, destination


def by_boto3(source: S3Source, _: AzureContainer) -> None:
    """List."""
    next(source.list("bucket", ""))


def by_our_connections_to_s3(source: S3Source, _: AzureContainer) -> None:
    """Read."""
    with source.open(LISTED):
        pass


def by_a_url(source: S3Source, _: AzureContainer) -> None:
    """Read what only a URL names; its source has the settings of S3's."""
    url = PresignedUrl("bucket", "k", f"{source._client.meta.endpoint_url}/bucket/k?X-Amz-Signature=s")
    with closing(PresignedSource([url], source.http_connections.settings)) as presigned, presigned.open(LISTED):
        pass


def by_our_connections_to_azure(_: S3Source, destination: AzureContainer) -> None:
    """Write."""
    destination.put_blob("b", BODY, 1, NOTHING, Condition(None))


def by_the_azure_sdk(_: S3Source, destination: AzureContainer) -> None:
    """List the staged blocks."""
    destination.list_staged("b")


def _by_loop(source: S3Source, destination: AzureContainer, act: Callable[[LoopSmallObjectClient], None]) -> None:
    with closing(LoopSmallObjectClient(source, destination)) as client:
        act(client)
        while not (events := client.finished(0.1)):
            pass
    for event in events:
        if isinstance(event, HandedBack):
            raise event.error


def by_the_event_loop_from_s3(source: S3Source, destination: AzureContainer) -> None:
    """Read."""
    _by_loop(source, destination, lambda client: client.fetch("t", LISTED))


def by_the_event_loop_to_azure(source: S3Source, destination: AzureContainer) -> None:
    """Write."""
    _by_loop(
        source,
        destination,
        lambda client: client.store("t", "b", bytes(BODY), crc64=1, contents=NOTHING, condition=Condition(None)),
    )


Act = Callable[[S3Source, AzureContainer], None]
OURS: list[Act] = [by_boto3, by_our_connections_to_s3, by_a_url, by_our_connections_to_azure, by_the_azure_sdk]
LOOP: list[Act] = [by_the_event_loop_from_s3, by_the_event_loop_to_azure]
THROUGH_PROXIES = {act.__name__ for act in OURS}
ALL = THROUGH_PROXIES | {act.__name__ for act in LOOP}


def reached(server: RecordingServer, url: str | None = None, **settings: Any) -> set[str]:
    """Let each client send a request; return those whose request reached the server, which is neither S3 nor Azure."""
    found = set()
    with stores(url or server.url, settings) as opened:
        for act in OURS + LOOP:
            before = len(server.seen)
            with suppress(TransferError):
                act(*opened)
            if len(server.seen) > before:
                found.add(act.__name__)
    return found


def context_of(certificate: Path, *, client_issuer: Path | None = None) -> ssl.SSLContext:
    """Return a server's settings; with an issuer it demands a client's certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    if client_issuer:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(client_issuer)
    return context


@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
@pytest.mark.parametrize(
    ("common_name", "hosts", "is_accepted"),
    [
        ("any", ("another", "localhost"), True),
        ("localhost", (), False),
        ("localhost", ("another",), False),
        ("localhost", (HOST,), False),
    ],
    ids=["alternative name", "common name alone", "another name", "address alone"],
)
def test_certificates_are_matched_by_alternative_names(
    tmp_path: Path, common_name: str, hosts: tuple[str, ...], is_accepted: bool
) -> None:
    """The common name is nobody's host name, even where a certificate has no other."""
    path = tmp_path / "server.pem"
    issue(path, common_name=common_name, hosts=hosts)
    with serving(context_of(path)) as server:
        url = f"https://localhost:{server.port}"
        assert reached(server, url, verify=str(path)) == (ALL if is_accepted else set())
        assert reached(server, url, verify=False) == ALL


def test_trusted_certificate_may_be_an_intermediate_one(tmp_path: Path) -> None:
    """A bundle that holds only the one below a company's root is enough."""
    root = issue(tmp_path / "root.pem", common_name="root")
    between = issue(tmp_path / "between.pem", common_name="between", issuer=root)
    issue(tmp_path / "server.pem", hosts=(HOST,), issuer=between)
    with serving(context_of(tmp_path / "server.pem")) as server:
        assert reached(server, verify=str(tmp_path / "between.pem")) == ALL
        assert reached(server, verify=True) == set()


@pytest.mark.parametrize("in_one_file", [True, False])
def test_client_certificate_is_shown(tmp_path: Path, in_one_file: bool) -> None:
    """A gateway that demands one is reached with it, and not without."""
    trusted = certified(tmp_path / "server.pem")
    company = issue(tmp_path / "company.pem", common_name="company")
    issue(tmp_path / "client.pem", hosts=("client",), issuer=company)
    shown: str | tuple[str, str] = str(tmp_path / "client.pem")
    if not in_one_file:
        key, certificate = (tmp_path / "client.pem").read_text().split("-----BEGIN CERTIFICATE-----")
        (tmp_path / "key.pem").write_text(key)
        (tmp_path / "certificate.pem").write_text(f"-----BEGIN CERTIFICATE-----{certificate}")
        shown = (str(tmp_path / "certificate.pem"), str(tmp_path / "key.pem"))
    with serving(context_of(trusted, client_issuer=tmp_path / "company.pem")) as server:
        assert reached(server, verify=str(trusted), client_certificate=shown) == ALL
        assert reached(server, verify=str(trusted)) == set()


@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
def test_old_protocols_are_refused(tmp_path: Path) -> None:
    """TLS 1.2 is the oldest, also where certificates are not verified."""
    context = context_of(certified(tmp_path / "server.pem"))
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        context.minimum_version = ssl.TLSVersion.TLSv1
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    with serving(context) as server:
        assert reached(server, verify=str(tmp_path / "server.pem")) == set()
        assert reached(server, verify=False) == set()


@pytest.mark.parametrize(
    ("no_proxy", "is_direct"), [("", False), ("127.0.0.0/8", True), ("another.host", False), ("127.0.0.1:1", False)]
)
def test_proxies_and_their_exceptions(no_proxy: str, is_direct: bool) -> None:
    """The same requests go through the proxy, whoever sends them; the event loop sends none that need it."""
    with serving() as server, ForwardProxy() as proxy:
        sent = reached(server, proxies=Proxies({"all": proxy.url}, no_proxy))
        assert sent == (ALL if is_direct else THROUGH_PROXIES)
        assert len(proxy.lines) == (0 if is_direct else len(server.seen))


def test_proxy_of_another_scheme_is_not_used() -> None:
    """Each scheme has its own."""
    with serving() as server, ForwardProxy() as proxy:
        assert reached(server, proxies=Proxies({"https": proxy.url, "http": ""})) == ALL
        assert proxy.lines == []


def test_proxy_over_tls_has_trust_and_certificate_of_its_own(tmp_path: Path) -> None:
    """The proxy's bundle does not vouch for the service, and the service's does not for the proxy."""
    ours, theirs = certified(tmp_path / "server.pem"), certified(tmp_path / "proxy.pem")
    issue(tmp_path / "client.pem", hosts=("client",))
    of_proxy = {"proxy_ca_bundle": str(theirs), "proxy_client_certificate": str(tmp_path / "client.pem")}
    demanding = context_of(theirs, client_issuer=tmp_path / "client.pem")
    with serving(context_of(ours)) as server, ForwardProxy(tls=demanding) as proxy:
        proxies = Proxies({"all": proxy.url})
        assert reached(server, verify=str(ours), proxies=proxies, **of_proxy) == THROUGH_PROXIES
        assert reached(server, verify=True, proxies=proxies, **of_proxy) == set()
        assert reached(server, verify=str(ours), proxies=proxies) == set()


def test_proxy_that_forwards_requests_over_tls(tmp_path: Path) -> None:
    """With ``proxy_use_forwarding_for_https`` the proxy gets the requests to S3 themselves, and no CONNECT."""
    theirs = certified(tmp_path / "proxy.pem")
    with serving() as server, ForwardProxy(tls=context_of(theirs)) as proxy:
        url = server.url.replace("http:", "https:")
        settings = {"proxies": Proxies({"all": proxy.url}), "verify": str(theirs), "forwards_https": True}
        with stores(url, settings) as opened:
            for act in (by_boto3, by_our_connections_to_s3):
                with pytest.raises(TransferError):
                    act(*opened)
        # The proxy of the test sends them on without TLS.
        assert [line.partition(" ")[0] for line, _, _ in server.seen] == ["GET", "GET"]
        assert [line.startswith(f"GET {url}/bucket") for line in proxy.lines] == [True, True]


def test_silent_server_is_given_up() -> None:
    """The read timeout of the connection's settings ends the wait of each client."""
    ended: list[str] = []
    with socket.create_server((HOST, 0)) as listener:
        url = f"http://{HOST}:{listener.getsockname()[1]}"
        with stores(url, {"read_timeout_s": 1.0}) as opened:

            def run(act: Act) -> None:
                with pytest.raises(TransferError):
                    act(*opened)
                ended.append(act.__name__)

            threads = [threading.Thread(target=run, args=(act,), daemon=True) for act in OURS + LOOP]
            for thread in threads:
                thread.start()
            for thread in threads:
                # Far below the default of 60 seconds.
                thread.join(30)
    assert set(ended) == ALL


def test_certificate_without_alternative_names_is_refused_in_words(tmp_path: Path) -> None:
    """Each client names the cause."""
    issue(tmp_path / "server.pem", common_name="localhost")
    with serving(context_of(tmp_path / "server.pem")) as server:
        url = f"https://localhost:{server.port}"
        with stores(url, {"verify": str(tmp_path / "server.pem")}) as opened:
            for act in OURS + LOOP:
                with pytest.raises(CertificateRefused, match=r"[Hh]ostname|doesn't match"):
                    act(*opened)
        assert server.seen == []


@pytest.mark.parametrize("setting", ["verify", "client_certificate"])
def test_missing_file_is_refused_when_the_stores_are_opened(setting: str) -> None:
    """No retry can help."""
    with pytest.raises(UsageError, match="/nowhere"), stores("https://127.0.0.1:1", {setting: "/nowhere.pem"}):
        pytest.fail("opened")


# -- where the event loop cannot keep the settings ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scheme", "no_proxy", "is_said"), [("http", "", True), ("https", "", False), ("http", "*", False)]
)
def test_proxy_switches_the_event_loop_off_with_one_line(
    caplog: pytest.LogCaptureFixture, scheme: str, no_proxy: str, is_said: bool
) -> None:
    """Only where a request would go through it."""
    caplog.set_level(logging.INFO)
    settings = {"proxies": Proxies({scheme: "http://p:1"}, no_proxy)}
    with stores("http://127.0.0.1:1", settings) as (source, destination):
        assert (small_object_client(source, destination) is None) == is_said
    assert [line.rpartition(", ")[2] for line in caplog.messages if "one by one" in line] == (
        ["because S3 is reached through a proxy"] if is_said else []
    )


def test_older_service_version_steps_aside() -> None:
    """An account of an older service does not know the SAS that the SDK would make from its key."""
    key = {"account_name": "account", "account_key": "QUJD"}
    for api_version, is_possible in (("2019-07-07", False), (None, True)):
        more: dict[str, Any] = {"api_version": api_version} if api_version else {}
        client = BlobServiceClient("http://127.0.0.1:1/account", credential=key, **more)
        service = service_client(client, connections=1)
        assert service.api_version == client.api_version
        with closing(AzureContainer(service, "container")) as container:
            assert container.may_authorise is is_possible
