"""Account names: a name, a host or a URL is understood; whatever else stands there is refused before any request."""

import pytest
from azure.storage.blob import BlobServiceClient

from s3_to_azure.stores.azure.accounts import account_endpoint, check_client

ENDPOINT = "https://acct.blob.core.windows.net"


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("acct", ENDPOINT),
        (" acct ", ENDPOINT),
        ("Acct", ENDPOINT),
        ("acct.blob.core.windows.net", ENDPOINT),
        (f"{ENDPOINT}/", ENDPOINT),
        ("acct-secondary.blob.core.windows.net", "https://acct-secondary.blob.core.windows.net"),
        ("acct.z12.blob.storage.azure.net", "https://acct.z12.blob.storage.azure.net"),
        ("acct.privatelink.blob.core.windows.net", "https://acct.privatelink.blob.core.windows.net"),
        ("acct.blob.core.usgovcloudapi.net", "https://acct.blob.core.usgovcloudapi.net"),
        ("http://127.0.0.1:10000/devstoreaccount1", "http://127.0.0.1:10000/devstoreaccount1"),
        ("http://azurite:10000/devstoreaccount1", "http://azurite:10000/devstoreaccount1"),
        ("https://blobs.example.com", "https://blobs.example.com"),
    ],
)
def test_name_host_and_url_are_understood(text: str, endpoint: str) -> None:
    """People set whichever of them the portal shows."""
    assert account_endpoint(text) == endpoint


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("my acct", "not an account's name"),
        ("my_acct", "not an account's name"),
        ("a" * 25, "not an account's name"),
        ("my_acct.blob.core.windows.net", "not an account's name"),
        ("https://https://acct", "name alone"),
        ("acct.blob.core.windows.net.blob.core.windows.net", "name alone"),
        ("acct.blob..core.windows.net", "name alone"),
        ("acct.dfs.core.windows.net", "another service"),
        ("https://acct.queue.core.windows.net", "another service"),
        ("ftp://acct.example.com", "not the https URL"),
        ("https://user:secret@acct.blob.core.windows.net", "not the https URL"),
        ("https://acct.blob.core.windows.net:x", "not a URL"),
        ("https://", "not the https URL|not an account"),
    ],
)
def test_other_values_are_refused(text: str, words: str) -> None:
    """Without the password that one of them has."""
    with pytest.raises(ValueError, match=words) as caught:
        account_endpoint(text)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "settings",
    [
        f"AccountName={ENDPOINT};EndpointSuffix=core.windows.net",
        "AccountName=acct.blob.core.windows.net",
        "AccountName=acct;EndpointSuffix=blob.core.windows.net",
        "AccountName=acct;EndpointSuffix=https://core.windows.net",
        "AccountName=acct;EndpointSuffix=.core.windows.net",
        "AccountName=my acct",
        "AccountName=acct;BlobEndpoint=https://acct.dfs.core.windows.net",
        f"AccountName=https://acct;BlobEndpoint={ENDPOINT}",
    ],
)
def test_connection_string_with_a_wrong_field_is_refused(settings: str) -> None:
    """The SDK makes a client of each, whose requests would wait for a host that does not exist."""
    with pytest.raises(ValueError, match=r"account|another service"):
        check_client(BlobServiceClient.from_connection_string(f"{settings};AccountKey=a2V5"))


@pytest.mark.parametrize(
    "settings",
    ["AccountName=acct", "AccountName=acct;BlobEndpoint=http://127.0.0.1:1/acct", f"BlobEndpoint={ENDPOINT}"],
)
def test_right_connection_string_does_not_raise(settings: str) -> None:
    """Also one without an account's name."""
    secret = "AccountKey=a2V5" if "AccountName" in settings else "SharedAccessSignature=sig=x"
    check_client(BlobServiceClient.from_connection_string(f"{settings};{secret}"))
