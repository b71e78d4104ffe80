"""Clients of an account: the SDK's session, and the query and headers that authorise Put Blob in one container."""

import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from azure.core.credentials import AccessToken, AzureNamedKeyCredential, AzureSasCredential
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError
from azure.storage.blob import BlobServiceClient, ContainerClient

from local_cloud.servers import LocalAzure
from s3_to_azure.model.errors import CredentialsRefused, UnexpectedResponse
from s3_to_azure.model.objects import BlobContents, Condition, ContentHeaders
from s3_to_azure.stores.azure.client import ContainerAuthorization, GuardedSession, service_client
from s3_to_azure.stores.azure.container import AzureContainer
from s3_to_azure.stores.http.settings import HttpSettings, Proxies
from tests.certificates import certified
from tests.real_stores import azure_container
from tests.stores.http.forward_proxy import ForwardProxy
from tests.stores.http.recording_server import RecordingServer, serving

NOW = 1_800_000_000.0
URL = "https://account.blob.core.windows.net"
KEY = "a2V5"


class Clock:
    """A clock that tests set."""

    def __init__(self) -> None:
        self.now = NOW

    def time(self) -> float:
        """Return the time."""
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Replace the module's clock."""
    made = Clock()
    monkeypatch.setattr("s3_to_azure.stores.azure.client.time", made)
    return made


@dataclass
class Tokens:
    """A token credential that records its calls and returns tokens of one hour."""

    clock: Clock
    calls: list[tuple[str, ...]] = field(default_factory=list)

    def get_token(self, *scopes: str, **_: Any) -> AccessToken:
        """Return the next token."""
        self.calls.append(scopes)
        return AccessToken(f"token-{len(self.calls)}", int(self.clock.now) + 3600)


@pytest.mark.parametrize(
    "credential", [{"account_name": "account", "account_key": KEY}, AzureNamedKeyCredential("account", KEY)]
)
def test_shared_key_makes_a_sas_for_one_container_that_creates_and_writes(clock: Clock, credential: Any) -> None:
    """It expires in an hour and permits nothing else, so that one read in a proxy's log is of little use."""
    query, headers = ContainerAuthorization(BlobServiceClient(URL, credential=credential), "some-container").current()
    fields = {name: values[0] for name, values in parse_qs(query).items()}
    assert (fields["sr"], set(fields["sp"])) == ("c", {"c", "w"})
    expires = datetime.fromisoformat(fields["se"]).timestamp()
    assert NOW + 3500 < expires <= NOW + 3600
    assert "Authorization" not in headers
    assert headers["x-ms-date"] == "Fri, 15 Jan 2027 08:00:00 GMT"
    assert KEY not in f"{query}{headers}"


def test_sas_is_kept_and_renewed_before_it_expires(clock: Clock) -> None:
    """Every request has at least 14 minutes to arrive."""
    made = ContainerAuthorization(
        BlobServiceClient(URL, credential={"account_name": "account", "account_key": KEY}), "c"
    )
    first, _ = made.current()
    seen = set()
    for minutes in range(180):
        clock.now = NOW + 60 * minutes
        query, _ = made.current()
        seen.add(query)
        expires = datetime.fromisoformat(parse_qs(query)["se"][0]).astimezone(UTC).timestamp()
        assert expires - clock.now >= 840
    assert first in seen
    assert len(seen) == 4


def test_sas_permits_nothing_else(azure_server: LocalAzure, container: ContainerClient, blob_service: Any) -> None:
    """On the server: it writes, but does not read, list or delete, and does not work in another container."""
    named = {"account_name": azure_server.account_name, "account_key": azure_server.account_key}
    service = BlobServiceClient(azure_server.account_url, credential=named)
    query, _ = ContainerAuthorization(service, str(container.container_name)).current()
    other = blob_service.create_container(f"{container.container_name}-2")
    with BlobServiceClient(azure_server.account_url, credential=AzureSasCredential(query)) as opened:
        own = opened.get_container_client(container.container_name)
        own.upload_blob("b", b"data")
        blob = own.get_blob_client("b")
        acts: list[Callable[[], Any]] = [
            lambda: blob.download_blob().readall(),
            blob.get_blob_properties,
            blob.delete_blob,
            lambda: list(own.list_blobs()),
            lambda: opened.get_container_client(other.container_name).upload_blob("b", b"data"),
        ]
        for act in acts:
            with pytest.raises(HttpResponseError) as refused:
                act()
            assert refused.value.status_code == 403


def test_token_is_kept_and_renewed_early(clock: Clock) -> None:
    """The credential is calls once an hour, not once an object, and never for a token that has ended."""
    tokens = Tokens(clock)
    made = ContainerAuthorization(BlobServiceClient(URL, credential=tokens), "c")
    for second in range(0, 3 * 3600, 30):
        clock.now = NOW + second
        query, headers = made.current()
        assert query == ""
        assert headers["Authorization"] == f"Bearer token-{len(tokens.calls)}"
    assert tokens.calls == [("https://storage.azure.com/.default",)] * 4


def test_token_near_its_expiry_is_not_requested_each_time(clock: Clock) -> None:
    """A credential may return a cached token with ten minutes left: it is used, and not requested again."""
    tokens = Tokens(clock)
    made = ContainerAuthorization(BlobServiceClient(URL, credential=tokens), "c")
    made.current()
    for second in range(0, 3299, 100):
        clock.now = NOW + second
        made.current()
    assert len(tokens.calls) == 1


def test_credential_without_a_token_is_a_refused_credential(azure_server: LocalAzure) -> None:
    """As in any other request: the SDK's exception is translated."""

    class Refused:
        def get_token(self, *_: str, **__: Any) -> AccessToken:
            raise ClientAuthenticationError("no identity here")

    destination = azure_container(azure_server, "container", account_url=URL, credential=Refused())
    with pytest.raises(CredentialsRefused, match="no identity here"):
        destination.authorised_put_blob("b", 0, BlobContents({}, ContentHeaders()), Condition(None))
    destination.close()


def test_sas_credential_is_read_for_each_request(clock: Clock) -> None:
    """Its owner may replace the SAS, as Airflow and the SDK's own rotation do."""
    credential = AzureSasCredential("?sig=first")
    made = ContainerAuthorization(BlobServiceClient(URL, credential=credential), "c")
    assert made.current()[0] == "sig=first"
    credential.update("sig=second")
    assert made.current()[0] == "sig=second"


def test_sas_in_the_accounts_url_is_kept(azure_server: LocalAzure) -> None:
    """Nothing is added, and the URL contains the SAS once."""
    client = service_client(BlobServiceClient(f"{URL}/?sv=1&sig=abc"), connections=1)
    destination = AzureContainer(client, "container")
    url, headers = destination.authorised_put_blob("a b", 0, BlobContents({}, ContentHeaders()), Condition("0x1"))
    assert url == f"{URL}/container/a%20b?sv=1&sig=abc"
    assert headers["If-Match"] == '"0x1"'
    assert "Authorization" not in headers
    destination.close()
    client.close()


# -- the SDK's session -------------------------------------------------------------------------------------------------


@pytest.fixture
def server() -> Iterator[RecordingServer]:
    """Run a server that records its requests."""
    with serving() as made:
        yield made


@pytest.fixture
def session() -> Iterator[GuardedSession]:
    """Return a session."""
    with GuardedSession(pool=2, settings=HttpSettings()) as made:
        yield made


@pytest.mark.parametrize("path", ["/c/pre/../../other/x", "/c/./x", "/c/..", "/../x", "/c/%2e%2e/x", "/c/a b"])
def test_changed_path_is_never_sent(server: RecordingServer, session: GuardedSession, path: str) -> None:
    """Invariant 8: a request whose path requests would change is not sent."""
    with pytest.raises(UnexpectedResponse, match="nothing was sent"):
        session.request("GET", server.url + path)
    assert server.seen == []


@pytest.mark.parametrize(
    "path", ["/", "/c/a%20b", "/c//x", "/c/%252e%252e/x", "/c/a~b-c._", "/c/%C3%BC?comp=block&x=%2F"]
)
def test_other_paths_are_sent_unchanged(server: RecordingServer, session: GuardedSession, path: str) -> None:
    """Every other path arrives byte for byte."""
    with session.request("GET", server.url + path, stream=True) as response:
        assert response.status_code == 200
    assert [line for line, _, _ in server.seen] == [f"GET {path}"]


def test_session_returns_redirects(server: RecordingServer, session: GuardedSession) -> None:
    """Even if the caller asks to follow them."""
    with session.request("GET", f"{server.url}/redirect", allow_redirects=True, stream=True) as response:
        assert response.status_code == 302
    assert [line for line, _, _ in server.seen] == ["GET /redirect"]


def test_session_does_not_read_the_environment(
    server: RecordingServer, session: GuardedSession, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Neither a proxy nor a netrc password of the machine affects a request."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login someone password secret\n", encoding="ascii")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with session.request("GET", f"{server.url}/x", stream=True) as response:
        assert response.status_code == 200
    assert "authorization" not in server.seen[0][1]


def test_session_uses_its_proxy(server: RecordingServer) -> None:
    """The request goes to the proxy, with the whole URL in its first line."""
    with (
        ForwardProxy() as proxy,
        GuardedSession(pool=1, settings=HttpSettings(proxies=Proxies({"http": proxy.url}))) as session,
    ):
        with session.request("GET", f"{server.url}/c/k", stream=True) as response:
            assert response.status_code == 200
        assert proxy.lines == [f"GET {server.url}/c/k"]
    assert [line for line, _, _ in server.seen] == ["GET /c/k"]


# -- Put Block and Put Blob --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("credential", "authorised"),
    [
        ({"account_name": "account", "account_key": KEY}, "SharedKey account:"),
        (AzureSasCredential("sv=1&sig=abc"), "sv=1&sig=abc"),
        (Tokens(Clock()), "Bearer token-1"),
    ],
    ids=["key", "sas", "token"],
)
def test_put_is_authorised_by_the_sdks_policies(credential: Any, authorised: str, certificate: Path) -> None:
    """With a shared key, a SAS, and a token; the body and its length are sent as they are."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with serving(context) as server:
        client = service_client(
            BlobServiceClient(server.url, credential=credential),
            connections=1,
            settings=HttpSettings(verify=str(certificate)),
        )
        url = f"{server.url}/c/b?comp=block&blockid=QQ%3D%3D"
        response = client.signed.put(url, {"x-ms-content-crc64": "AA=="}, memoryview(b"0123456789"))
        client.close()
    line, headers, body = server.seen[0]
    assert line.startswith("PUT /c/b?comp=block&blockid=QQ%3D%3D")
    assert authorised in f"{line} {headers.get('authorization')}"
    assert (headers["content-length"], body) == ("10", b"0123456789")
    assert headers["x-ms-content-crc64"] == "AA=="
    assert (response.status, response.headers["location"]) == (200, "/elsewhere")
    assert response.body == f"{line} 10".encode()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a certificate for 127.0.0.1."""
    return certified(tmp_path_factory.mktemp("tls") / "good.pem")
