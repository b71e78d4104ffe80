"""What authorises Put Blobs to one container: as little as that, and never at its end."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs

import pytest
from azure.core.credentials import AccessToken, AzureNamedKeyCredential, AzureSasCredential
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError
from azure.storage.blob import BlobServiceClient, ContainerClient

from local_cloud.servers import LocalAzure
from s3_to_azure.model.errors import CredentialsRefused
from s3_to_azure.model.objects import BlobContents, Condition, ContentHeaders
from s3_to_azure.stores.azure.client import ContainerPass
from tests.real_stores import azure_container

NOW = 1_800_000_000.0
URL = "https://account.blob.core.windows.net"
KEY = "a2V5"


class Clock:
    """The time that the pass sees."""

    def __init__(self) -> None:
        """Begin."""
        self.now = NOW

    def time(self) -> float:
        """Return it."""
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Stop the pass's clock."""
    made = Clock()
    monkeypatch.setattr("s3_to_azure.stores.azure.client.time", made)
    return made


@dataclass
class Tokens:
    """A token credential that counts how often it is asked, and gives tokens of one hour."""

    clock: Clock
    asked: list[tuple[str, ...]] = field(default_factory=list)

    def get_token(self, *scopes: str, **_: Any) -> AccessToken:
        """Give the next token."""
        self.asked.append(scopes)
        return AccessToken(f"token-{len(self.asked)}", int(self.clock.now) + 3600)


@pytest.mark.parametrize(
    "credential", [{"account_name": "account", "account_key": KEY}, AzureNamedKeyCredential("account", KEY)]
)
def test_shared_key_makes_a_sas_for_one_container_that_creates_and_writes(clock: Clock, credential: Any) -> None:
    """It ends in an hour and permits nothing else, so that who reads it in a proxy's log wins little."""
    query, headers = ContainerPass(BlobServiceClient(URL, credential=credential), "some-container").of_now()
    said = {name: values[0] for name, values in parse_qs(query).items()}
    assert (said["sr"], set(said["sp"])) == ("c", {"c", "w"})
    ends = datetime.fromisoformat(said["se"]).timestamp()
    assert NOW + 3500 < ends <= NOW + 3600
    assert "Authorization" not in headers
    assert headers["x-ms-date"] == "Fri, 15 Jan 2027 08:00:00 GMT"
    assert KEY not in f"{query}{headers}"


def test_sas_is_kept_and_renewed_before_its_end(clock: Clock) -> None:
    """A request signed at any moment has at least a quarter of an hour to arrive."""
    made = ContainerPass(BlobServiceClient(URL, credential={"account_name": "account", "account_key": KEY}), "c")
    first, _ = made.of_now()
    seen = set()
    for minutes in range(180):
        clock.now = NOW + 60 * minutes
        query, _ = made.of_now()
        seen.add(query)
        ends = datetime.fromisoformat(parse_qs(query)["se"][0]).astimezone(UTC).timestamp()
        assert ends - clock.now >= 840
    assert first in seen
    assert len(seen) == 4


def test_sas_opens_nothing_else(azure_server: LocalAzure, container: ContainerClient, blob_service: Any) -> None:
    """Against the server: it writes there, but reads, lists and deletes nothing, and reaches no other container."""
    named = {"account_name": azure_server.account_name, "account_key": azure_server.account_key}
    service = BlobServiceClient(azure_server.account_url, credential=named)
    query, _ = ContainerPass(service, str(container.container_name)).of_now()
    other = blob_service.create_container(f"{container.container_name}-2")
    with BlobServiceClient(azure_server.account_url, credential=AzureSasCredential(query)) as opened:
        there = opened.get_container_client(container.container_name)
        there.upload_blob("b", b"data")
        blob = there.get_blob_client("b")
        acts: list[Callable[[], Any]] = [
            lambda: blob.download_blob().readall(),
            blob.get_blob_properties,
            blob.delete_blob,
            lambda: list(there.list_blobs()),
            lambda: opened.get_container_client(other.container_name).upload_blob("b", b"data"),
        ]
        for act in acts:
            with pytest.raises(HttpResponseError) as refused:
                act()
            assert refused.value.status_code == 403


def test_token_is_kept_and_renewed_early(clock: Clock) -> None:
    """The credential is asked once an hour, not once an object, and never for a token that has ended."""
    tokens = Tokens(clock)
    made = ContainerPass(BlobServiceClient(URL, credential=tokens), "c")
    for second in range(0, 3 * 3600, 30):
        clock.now = NOW + second
        query, headers = made.of_now()
        assert query == ""
        assert headers["Authorization"] == f"Bearer token-{len(tokens.asked)}"
    assert tokens.asked == [("https://storage.azure.com/.default",)] * 4


def test_token_near_its_end_is_not_asked_for_each_time(clock: Clock) -> None:
    """A credential that keeps its tokens gives one that has ten minutes left: it is used, not asked for again."""
    tokens = Tokens(clock)
    made = ContainerPass(BlobServiceClient(URL, credential=tokens), "c")
    made.of_now()
    for second in range(0, 3299, 100):
        clock.now = NOW + second
        made.of_now()
    assert len(tokens.asked) == 1


def test_credential_without_a_token_is_the_objects_error(azure_server: LocalAzure) -> None:
    """As in any other request: an error of ours, without the credential's own text of secrets."""

    class Refused:
        def get_token(self, *_: str, **__: Any) -> AccessToken:
            raise ClientAuthenticationError("no identity here")

    destination = azure_container(azure_server, "container", account_url=URL, credential=Refused())
    with pytest.raises(CredentialsRefused, match="no identity here"):
        destination.authorised_put_blob("b", 0, BlobContents({}, ContentHeaders()), Condition(None))
    destination.close()


def test_sas_credential_is_read_anew_each_time(clock: Clock) -> None:
    """Whoever made it may put a fresh one in, as Airflow and the SDK's own rotation do."""
    credential = AzureSasCredential("?sig=first")
    made = ContainerPass(BlobServiceClient(URL, credential=credential), "c")
    assert made.of_now()[0] == "sig=first"
    credential.update("sig=second")
    assert made.of_now()[0] == "sig=second"


def test_sas_in_the_accounts_url_goes_along(azure_server: LocalAzure) -> None:
    """The pass adds nothing, and the URL holds the SAS once."""
    from s3_to_azure.stores.azure.client import service_client  # noqa: PLC0415
    from s3_to_azure.stores.azure.container import AzureContainer  # noqa: PLC0415

    client = service_client(BlobServiceClient(f"{URL}/?sv=1&sig=abc"), connections=1)
    destination = AzureContainer(client, "container")
    url, headers = destination.authorised_put_blob("a b", 0, BlobContents({}, ContentHeaders()), Condition("0x1"))
    assert url == f"{URL}/container/a%20b?sv=1&sig=abc"
    assert headers["If-Match"] == '"0x1"'
    assert "Authorization" not in headers
    destination.close()
    client.close()
