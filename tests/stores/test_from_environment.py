"""Both stores from environment variables: credentials, TLS, proxies, and what is missing."""

import base64
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from azure.core.credentials import AzureSasCredential
from botocore import UNSIGNED
from botocore.credentials import DeferredRefreshableCredentials
from botocore.exceptions import ClientError, EndpointConnectionError

from s3_to_azure.model.errors import ConnectionMissing, CredentialsRefused, UsageError
from s3_to_azure.stores.azure.container import AzureContainer
from s3_to_azure.stores.from_environment import azure_container, current, s3_session, s3_source
from s3_to_azure.stores.http.redaction import redact
from s3_to_azure.stores.s3.options import ReadOptions
from s3_to_azure.stores.s3.source import S3Source
from tests.certificates import certified

KEY = base64.b64encode(b"k" * 64).decode()
CONNECTION_STRING = f"DefaultEndpointsProtocol=https;AccountName=acc;AccountKey={KEY};EndpointSuffix=core.windows.net"
NAMES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


@pytest.fixture(autouse=True)
def _empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let boto3 and requests find nothing of this machine."""
    for name in [name for name in current() if name.startswith(("AWS_", "AZURE_", "REQUESTS_", "CURL_"))]:
        monkeypatch.delenv(name)
    for name in (*NAMES, *map(str.lower, NAMES)):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")


@pytest.fixture
def _credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKID")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")


@pytest.fixture
def bundles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder with two CA bundles."""
    monkeypatch.chdir(tmp_path)
    for name in ("a.pem", "b.pem"):
        certified(tmp_path / name)
    return tmp_path


def s3(environment: Mapping[str, str] | None = None, *, verify: bool = True) -> S3Source:
    """Return the source, closed."""
    source = s3_source(current() if environment is None else environment, connections=3, verify=verify)
    source.close()
    return source


def azure(environment: Mapping[str, str], account_url: str | None = None, *, verify: bool = True) -> AzureContainer:
    """Return the container, closed."""
    container = azure_container(environment, "container", account_url=account_url, connections=3, verify=verify)
    container.close()
    return container


# -- S3 ----------------------------------------------------------------------------------------------------------------


def test_s3_without_credentials_says_how_to_provide_them() -> None:
    """The three usual ways."""
    with pytest.raises(ConnectionMissing, match="AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or attach"):
        s3()


@pytest.mark.parametrize(
    ("variables", "sign", "is_signed"),
    [
        ({}, True, True),
        ({}, False, False),
        ({"AWS_NO_SIGN_REQUEST": "true"}, True, False),
        ({"AWS_NO_SIGN_REQUEST": "YES"}, True, False),
        ({"AWS_NO_SIGN_REQUEST": "false"}, True, True),
    ],
)
@pytest.mark.usefixtures("_credentials")
def test_s3_without_a_signature(variables: dict[str, str], *, sign: bool, is_signed: bool) -> None:
    """Asked for, credentials that are there are not used: neither by boto3 nor by our own requests."""
    source = s3_source({**current(), **variables}, connections=1, verify=True, sign=sign)
    source._addresses._regions["bucket"] = None
    address = source._address_of("bucket")
    assert (address.signer() is not None) == is_signed
    assert (source._client.meta.config.signature_version is not UNSIGNED) == is_signed
    source.close()


def test_s3_without_a_signature_needs_no_credentials() -> None:
    """A public bucket can be read by anyone."""
    source = s3_source(current(), connections=1, verify=True, sign=False)
    source._addresses._regions["bucket"] = None
    assert source._address_of("bucket").credentials is None
    source.close()


@pytest.mark.usefixtures("_credentials")
@pytest.mark.parametrize(
    ("variables", "verify", "expected"),
    [
        ({}, True, True),
        ({"AWS_CA_BUNDLE": "a.pem", "REQUESTS_CA_BUNDLE": "b.pem"}, True, "a.pem"),
        ({"REQUESTS_CA_BUNDLE": "b.pem"}, True, "b.pem"),
        ({"AWS_PROFILE": "with-bundle"}, True, "b.pem"),
        ({"AWS_CA_BUNDLE": "", "REQUESTS_CA_BUNDLE": ""}, True, True),
        ({"AWS_CA_BUNDLE": "", "REQUESTS_CA_BUNDLE": "b.pem"}, True, "b.pem"),
        ({"AWS_CA_BUNDLE": "a.pem", "REQUESTS_CA_BUNDLE": ""}, True, "a.pem"),
        ({"AWS_CA_BUNDLE": "a.pem"}, False, False),
    ],
)
def test_s3_trusts_the_bundle_of_the_environment(
    monkeypatch: pytest.MonkeyPatch, bundles: Path, variables: dict[str, str], *, verify: bool, expected: bool | str
) -> None:
    """For boto3 and for our own requests; an empty variable does not switch the verification off."""
    (bundles / "config").write_text("[profile with-bundle]\nca_bundle = b.pem\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(bundles / "config"))
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert s3(verify=verify).http_connections.settings.verify == expected


class Role:
    """A role whose credentials are obtained when they are first needed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *outcomes: Exception) -> None:
        """Let boto3 find it, and fail as told; then succeed."""
        self.asked = 0
        self._outcomes = list(outcomes)
        self.credentials = DeferredRefreshableCredentials(self._ask, "assume-role")
        monkeypatch.setattr("botocore.session.Session.get_credentials", lambda _self: self.credentials)

    def _ask(self) -> dict[str, str]:
        self.asked += 1
        if self._outcomes:
            raise self._outcomes.pop(0)
        later = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
        return {"access_key": "key", "secret_key": "secret", "token": "token", "expiry_time": later}


def of_sts(status: int, code: str) -> ClientError:
    """Return the refusal of STS that boto3 raises."""
    response: Any = {"Error": {"Code": code, "Message": "no"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(response, "AssumeRole")


def test_role_is_assumed_before_processes_are_forked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A person is asked for one MFA code, and not once for each process."""
    role = Role(monkeypatch)
    s3()
    assert role.asked == 1
    assert role.credentials.get_frozen_credentials().access_key == "key"
    assert role.asked == 1


def test_sources_of_one_session_obtain_its_credentials_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as that of the objects and that of an inventory."""
    role, session = Role(monkeypatch), s3_session()
    for _ in range(2):
        s3_source(current(), connections=1, verify=True, session=session).close()
    assert role.asked == 1


@pytest.mark.parametrize(
    "outage", [of_sts(500, "InternalFailure"), EndpointConnectionError(endpoint_url="https://sts")]
)
def test_outage_of_sts_is_left_to_the_retries(monkeypatch: pytest.MonkeyPatch, outage: Exception) -> None:
    """The first request asks again, as often as any request is tried."""
    role = Role(monkeypatch, outage)
    s3()
    assert role.credentials.get_frozen_credentials().access_key == "key"
    assert role.asked == 2


def test_refusal_of_sts_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """As at the first request, and without one."""
    Role(monkeypatch, of_sts(403, "AccessDenied"))
    with pytest.raises(CredentialsRefused, match="may assume the role"):
        s3()


@pytest.mark.usefixtures("_credentials")
@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, None),
        ({"HTTPS_PROXY": "http://p:1"}, "http://p:1"),
        ({"HTTPS_PROXY": "http://p:1", "NO_PROXY": "amazonaws.com"}, None),
    ],
)
def test_s3_uses_the_proxy_of_the_environment(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], expected: str | None
) -> None:
    """Unless NO_PROXY excludes S3."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert s3().http_connections.settings.proxies.for_url("https://b.s3.amazonaws.com/k") == expected


@pytest.mark.usefixtures("_credentials")
def test_s3_reading_options() -> None:
    """The customer key comes from the environment, since a command line is visible to others."""
    source = s3_source(
        {"S3_SSE_CUSTOMER_KEY": base64.b64encode(bytes(32)).decode()},
        connections=1,
        verify=True,
        requester_pays=True,
        version_id="v",
    )
    assert source._options == ReadOptions(requester_pays=True, customer_key=bytes(32), version_id="v")
    source.close()


# -- Azure -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variables", "account_url", "url"),
    [
        ({"AZURE_STORAGE_CONNECTION_STRING": CONNECTION_STRING}, None, "https://acc.blob.core.windows.net/container"),
        (
            {"AZURE_STORAGE_ACCOUNT": "acc", "AZURE_STORAGE_KEY": KEY},
            None,
            "https://acc.blob.core.windows.net/container",
        ),
        (
            {"AZURE_STORAGE_KEY": KEY},
            "https://other.blob.core.windows.net",
            "https://other.blob.core.windows.net/container",
        ),
        (
            {"AZURE_STORAGE_CONNECTION_STRING": CONNECTION_STRING},
            "https://acc.blob.core.windows.net",
            "https://acc.blob.core.windows.net/container",
        ),
    ],
)
def test_azure_account(variables: dict[str, str], account_url: str | None, url: str) -> None:
    """Named by the connection string, the account, or the destination."""
    assert azure(variables, account_url)._client.url == url


@pytest.mark.parametrize("account", ["https://acc.blob.core.windows.net/", "acc.blob.core.windows.net", "ACC", " acc "])
def test_azure_account_may_be_a_host_or_a_url(account: str) -> None:
    """Its key is signed with the name in it."""
    client = azure({"AZURE_STORAGE_ACCOUNT": account, "AZURE_STORAGE_KEY": KEY})._client
    assert client.url == "https://acc.blob.core.windows.net/container"
    assert client.credential.account_name == "acc"


@pytest.mark.parametrize(
    ("variables", "account_url", "setting"),
    [
        ({"AZURE_STORAGE_ACCOUNT": "my acc", "AZURE_STORAGE_KEY": KEY}, None, "AZURE_STORAGE_ACCOUNT"),
        (
            {"AZURE_STORAGE_ACCOUNT": "acc.dfs.core.windows.net", "AZURE_STORAGE_KEY": KEY},
            None,
            "AZURE_STORAGE_ACCOUNT",
        ),
        ({"AZURE_STORAGE_KEY": KEY}, "https://acc.dfs.core.windows.net", "the destination"),
        (
            {"AZURE_STORAGE_CONNECTION_STRING": f"AccountName=https://acc;AccountKey={KEY}"},
            None,
            "AZURE_STORAGE_CONNECTION_STRING",
        ),
    ],
)
def test_azure_account_that_cannot_be_one_is_refused_by_its_setting(
    variables: dict[str, str], account_url: str | None, setting: str
) -> None:
    """Before any request: its host would not exist."""
    with pytest.raises(ConnectionMissing, match=f"{setting} cannot be used"):
        azure(variables, account_url)


def test_azure_sas() -> None:
    """With or without its question mark."""
    for token in ("sv=1&sig=x", "?sv=1&sig=x"):
        variables = {"AZURE_STORAGE_ACCOUNT": "acc", "AZURE_STORAGE_SAS_TOKEN": token}
        credential = azure(variables)._service.credential
        assert isinstance(credential, AzureSasCredential)
        assert credential.signature == "sv=1&sig=x"


def test_azure_without_key_or_sas_signs_in() -> None:
    """DefaultAzureCredential tries the ways of azure-identity when the first request is sent."""
    credential = azure({"AZURE_STORAGE_ACCOUNT": "acc"})._service.credential
    assert type(credential).__name__ == "DefaultAzureCredential"


@pytest.mark.parametrize(
    "sas",
    ['"sv=1&sig=SECRET"', "sv=1&sig=SECRET ", "https://a.blob.core.windows.net/c?sv=1&sig=SECRET"],
    ids=["quotes", "space", "url"],
)
def test_azure_sas_that_was_not_copied_alone_is_refused_unquoted(sas: str) -> None:
    """Azure would only say that it cannot authenticate the request."""
    with pytest.raises(UsageError, match="pass only what follows the question mark") as refused:
        azure({"AZURE_STORAGE_ACCOUNT": "acc", "AZURE_STORAGE_SAS_TOKEN": sas})
    assert "SECRET" not in str(refused.value)


def test_azure_without_an_account_says_how_to_name_it() -> None:
    """The variables that can."""
    with pytest.raises(ConnectionMissing, match="AZURE_STORAGE_CONNECTION_STRING, or AZURE_STORAGE_ACCOUNT with"):
        azure({})


def test_azure_of_another_account_is_refused() -> None:
    """The connection string's key must not be sent to the destination's host."""
    with pytest.raises(UsageError, match="is not the account of AZURE_STORAGE_CONNECTION_STRING"):
        azure({"AZURE_STORAGE_CONNECTION_STRING": CONNECTION_STRING}, "https://other.blob.core.windows.net")


EMULATOR = "http://emulator.example:10000/acc"


@pytest.mark.parametrize(
    ("account_url", "is_same"),
    [(EMULATOR, True), ("http://EMULATOR.example:10000/acc/", True), ("http://emulator.example:10000", False)],
)
def test_azure_account_in_the_path_is_a_part_of_the_address(account_url: str, *, is_same: bool) -> None:
    """Else the first segment of an emulator's URL, its account, would be taken for a container and created."""
    text = f"DefaultEndpointsProtocol=http;AccountName=acc;AccountKey=a2V5;BlobEndpoint={EMULATOR};"
    environment = {"AZURE_STORAGE_CONNECTION_STRING": text}
    if is_same:
        assert azure(environment, account_url)._service.url.rstrip("/") == EMULATOR
    else:
        with pytest.raises(UsageError, match=EMULATOR):
            azure(environment, account_url)


@pytest.mark.parametrize(
    ("account_url", "account"),
    [
        ("https://other.blob.core.windows.net", "other"),
        ("http://[::1]:10000/devstoreaccount1", "devstoreaccount1"),
        ("http://azurite:10000/devstoreaccount1", "devstoreaccount1"),
    ],
)
def test_azure_key_belongs_to_the_account_of_the_url(account_url: str, account: str) -> None:
    """The SDK finds the name only in some hosts."""
    credential = azure({"AZURE_STORAGE_KEY": "a2V5"}, account_url)._service.credential
    assert credential.account_name == account


def test_azure_key_belongs_to_the_account_that_is_named() -> None:
    """A host of its own says nothing of the account."""
    environment = {"AZURE_STORAGE_KEY": "a2V5", "AZURE_STORAGE_ACCOUNT": "acc"}
    assert azure(environment, "https://files.example.com")._service.credential.account_name == "acc"


def test_azure_invalid_connection_string_is_not_quoted() -> None:
    """It may contain the key."""
    with pytest.raises(UsageError, match="AZURE_STORAGE_CONNECTION_STRING cannot be used") as refused:
        azure({"AZURE_STORAGE_CONNECTION_STRING": "AccountName;secret"})
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("variables", "verify", "expected"),
    [
        ({}, True, True),
        ({"REQUESTS_CA_BUNDLE": "b.pem"}, True, "b.pem"),
        ({"CURL_CA_BUNDLE": "b.pem"}, True, "b.pem"),
        ({"REQUESTS_CA_BUNDLE": "b.pem"}, False, False),
    ],
)
@pytest.mark.usefixtures("bundles")
def test_azure_trusts_the_bundle_of_the_environment(
    variables: dict[str, str], *, verify: bool, expected: bool | str
) -> None:
    """For the blocks and for the SDK."""
    container = azure(variables | {"AZURE_STORAGE_CONNECTION_STRING": CONNECTION_STRING}, verify=verify)
    assert container.http_connections.settings is container._service.http.settings
    assert container._service.http.settings.verify == expected


def test_azure_uses_the_proxy_of_the_environment() -> None:
    """For the blocks and for the SDK."""
    container = azure({"AZURE_STORAGE_CONNECTION_STRING": CONNECTION_STRING, "HTTPS_PROXY": "http://p:1"})
    assert container.http_connections.settings is container._service.http.settings
    assert container._service.http.settings.proxies.for_url(container._client.url) == "http://p:1"


# -- Secrets -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "S3_SSE_CUSTOMER_KEY"),
        *("AZURE_STORAGE_KEY", "AZURE_STORAGE_SAS_TOKEN", "AZURE_STORAGE_CONNECTION_STRING", "AZURE_CLIENT_SECRET"),
    ],
)
def test_a_secret_with_a_line_end_is_refused_by_its_name(name: str) -> None:
    """As ``$(cat file)`` in a manifest leaves it; a library that meets it quotes it."""
    for open_store in (lambda: s3({name: "VALUE\n"}), lambda: azure({name: "VALUE\n"})):
        with pytest.raises(UsageError, match=f"^{name} has a line end") as caught:
            open_store()
        assert "VALUE" not in str(caught.value)


def test_secrets_of_the_environment_are_masked() -> None:
    """In every log and error of the process, also where no name beside them tells what they are."""
    azure({"AZURE_STORAGE_CONNECTION_STRING": CONNECTION_STRING, "https_proxy": "http://u:proxy-password@proxy:1"})
    azure({"AZURE_STORAGE_SAS_TOKEN": "?sv=1&sig=SIG-SIG-SIG"}, "https://acc.blob.core.windows.net")
    assert redact(f"{KEY} proxy-password SIG-SIG-SIG 'acc' {KEY[:5]}") == f"*** *** *** 'acc' {KEY[:5]}"
