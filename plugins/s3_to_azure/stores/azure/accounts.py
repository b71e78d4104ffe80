"""The storage account that a setting names: by its name, its host, or the URL of its blob endpoint."""

import re
from typing import Any, Final
from urllib.parse import urlsplit

# https://learn.microsoft.com/azure/storage/common/storage-account-overview#storage-account-name
_NAME: Final = re.compile(r"[a-z0-9]{3,24}")
# Its hosts may have a suffix, such as -secondary or -ipv6.
_LABEL: Final = re.compile(r"[a-z0-9]{3,24}(?:-[a-z0-9]+){0,2}")
_HOST: Final = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9])?\.?|[0-9A-Fa-f:.]+")
_SCHEMES: Final = ("http", "https")
# The other endpoints of an account, as labels of their hosts.
_OTHER_SERVICES: Final = ("dfs", "file", "queue", "table", "web")
_MAX_SHOWN_CHARACTERS: Final = 80


def account_endpoint(text: str) -> str:
    """Return the blob endpoint of the account that a setting names, whether by name, host or URL.

    Raises:
        ValueError: It names none; the text says why.
    """
    given = text.strip().rstrip("/")
    if _NAME.fullmatch(given.lower()):
        return f"https://{given.lower()}.blob.core.windows.net"
    if "." not in given and "://" not in given:
        raise ValueError(f"{_shown(text)} is not an account's name, which has 3 to 24 lower-case letters and digits")
    endpoint = given if "://" in given else f"https://{given}"
    _check_endpoint(endpoint)
    return endpoint


def check_client(client: Any) -> None:
    """Check what the SDK made of settings: it makes a host of whatever stands where the account's name belongs.

    Args:
        client: The SDK's.

    Raises:
        ValueError: It is not the client of an account; the text says why.
    """
    _check_endpoint(client.url.partition("?")[0])
    name = getattr(client.credential, "account_name", None)
    if name is not None and not _HOST.fullmatch(str(name)):
        raise ValueError(f"{_shown(str(name))} is not an account's name")


def _check_endpoint(url: str) -> None:
    """Check that a URL may be the blob endpoint of an account.

    Raises:
        ValueError: It is none; the text says why.
    """
    try:
        parts = urlsplit(url)
        host, _ = (parts.hostname or "").lower(), parts.port
    except ValueError:
        raise ValueError(f"{_shown(url)} is not a URL") from None
    if parts.scheme not in _SCHEMES or parts.username is not None or not _HOST.fullmatch(host):
        raise ValueError(f"{_shown(url)} is not the https URL of an account")
    account, *domain = host.rstrip(".").split(".")
    if {account, *domain} & {"", *_SCHEMES} or any(domain.count(label) > 1 for label in ("blob", "core")):
        raise ValueError(f"a URL or a host stands where the account's name alone belongs: it gives {_shown(url)}")
    if domain and domain[0] in _OTHER_SERVICES and "core" in domain:
        raise ValueError(f"{host} is the endpoint of another service: the blob endpoint has .blob. in its place")
    if domain[:2] == ["blob", "core"] and not _LABEL.fullmatch(account):
        raise ValueError(f"{_shown(account)} is not an account's name")


def _shown(text: str) -> str:
    # A password precedes an @, and a SAS follows a question mark.
    return repr(re.sub("[^/]*@", "…@", text.partition("?")[0])[:_MAX_SHOWN_CHARACTERS])
