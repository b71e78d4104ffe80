"""The rules that all HTTP clients of one service share: trust, certificates, proxies and timeouts.

boto3, requests below the Azure SDK, our own connections and the event loop take them from one object, so that a setting
holds for all requests or for none. Common to all of them: HTTP/1.1, TLS 1.2 or later, a certificate is matched by its
subject alternative names only, and redirects are never followed.
"""

import ipaddress
import ssl
import threading
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, urlsplit

import certifi

from s3_to_azure.model.errors import UsageError
from s3_to_azure.stores.http.redaction import hide_in

CONNECT_TIMEOUT_S: Final = 10.0
READ_TIMEOUT_S: Final = 60.0

ClientCertificate = str | tuple[str, str]
"""The path of a PEM file with certificate and key, or the paths of both."""

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_ANY_SCHEME: Final = "all"
_EXCEPTIONS: Final = ("no", "no_proxy")


class Proxies:
    """Which proxy a URL is requested through.

    Args:
        urls: Proxy URLs by the scheme of the request, by ``scheme://host``, or for ``all``.
        no_proxy: Hosts that are reached directly, separated by commas: ``host`` and all below it, each with or without
            a leading dot or ``*.``, a ``:port`` or both; addresses, networks (``10.0.0.0/8``), and ``*``.
    """

    def __init__(self, urls: Mapping[str, str] | None = None, no_proxy: str = "") -> None:
        self._urls = {name.lower(): url.strip() for name, url in (urls or {}).items() if url and url.strip()}
        # A proxy's password may be in an error text of any library.
        hide_in(*self._urls.values())
        self._exceptions = tuple(item for item in no_proxy.replace(",", " ").split() if item)
        # Every small object asks, and always for one of few hosts.
        self._of_host = lru_cache(maxsize=256)(self._find)

    @classmethod
    def of_mapping(cls, given: Mapping[str, str]) -> "Proxies":
        """Return the proxies of a connection, which may hold exceptions as ``no_proxy``.

        Raises:
            UsageError: They are not given by scheme.
        """
        if not isinstance(given, Mapping):
            raise UsageError(detail='Proxies must be given by scheme, such as {"https": "http://proxy:3128"}.')
        exceptions = ",".join(str(given[name]) for name in _EXCEPTIONS if given.get(name))
        return cls({name: str(url) for name, url in given.items() if name not in _EXCEPTIONS and url}, exceptions)

    @classmethod
    def of_environment(cls, environment: Mapping[str, str]) -> "Proxies":
        """Return the proxies of ``HTTPS_PROXY``, ``HTTP_PROXY``, ``ALL_PROXY`` and ``NO_PROXY``.

        Each may be written in lower case, which then takes precedence, also to unset the other one.
        """
        found = {
            name: environment.get(f"{name}_proxy", environment.get(f"{name}_proxy".upper(), ""))
            for name in ("http", "https", _ANY_SCHEME, "no")
        }
        return cls.of_mapping(found)

    def __bool__(self) -> bool:
        """Whether there is a proxy."""
        return bool(self._urls)

    def for_url(self, url: str) -> str | None:
        """Return the URL of the proxy, or None if the URL is requested directly.

        Raises:
            UsageError: The proxy is not an HTTP proxy.
        """
        if not self._urls:
            return None
        scheme, _, rest = url.partition("://")
        return self._of_host(scheme.lower(), rest.partition("/")[0].partition("?")[0].lower())

    def _find(self, scheme: str, authority: str) -> str | None:
        target = urlsplit(f"{scheme}://{authority}")
        host = target.hostname or ""
        names = (f"{scheme}://{host}", scheme, f"{_ANY_SCHEME}://{host}", _ANY_SCHEME)
        proxy = next((self._urls[name] for name in names if name in self._urls), None)
        if proxy is None or any(_is_exception(item, target) for item in self._exceptions):
            return None
        proxy_scheme, separator, rest = proxy.partition("://")
        if not separator:
            return f"http://{proxy.removeprefix('//')}"
        if proxy_scheme.lower() not in _DEFAULT_PORTS:
            raise UsageError(detail=f"A proxy must be an http:// or https:// URL, not {proxy_scheme}://.")
        return f"{proxy_scheme.lower()}://{rest}"


def _is_exception(item: str, target: SplitResult) -> bool:
    """Return whether an item of ``no_proxy`` names the target's host, and its port if it names one."""
    if item == "*":
        return True
    host, port = _host_and_port(item)
    if port is not None and port != (target.port or _DEFAULT_PORTS.get(target.scheme)):
        return False
    name = (target.hostname or "").rstrip(".")
    address = _address(name)
    if address is not None:
        return _is_in(address, host)
    suffix = host.lower().removeprefix("*").strip(".")
    return bool(suffix) and (name == suffix or name.endswith(f".{suffix}"))


def _host_and_port(item: str) -> tuple[str, int | None]:
    if item.startswith("["):
        host, _, port = item[1:].partition("]")
        return host, int(port[1:]) if port[1:].isdecimal() else None
    host, separator, port = item.rpartition(":")
    # More than one colon: an IPv6 address or network.
    return (host, int(port)) if separator and port.isdecimal() and ":" not in host else (item, None)


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _is_in(address: ipaddress.IPv4Address | ipaddress.IPv6Address, text: str) -> bool:
    try:
        return address in ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False


class HttpSettings:
    """The settings of all clients of one service.

    Args:
        verify: True, False to accept any certificate, or the path of a CA bundle or of a directory of certificates.
        client_certificate: Shown to the service.
        proxies: Which requests go through a proxy.
        proxy_ca_bundle: The path of the CA bundle for a proxy that is reached over TLS; None: ``verify``.
        proxy_client_certificate: Shown to such a proxy.
        forwards_https: Send such a proxy the requests themselves instead of a tunnel's.
        connect_timeout_s: For a connection.
        read_timeout_s: For each read and write, and the window of the minimum rate.
    """

    def __init__(
        self,
        *,
        verify: bool | str = True,
        client_certificate: ClientCertificate | None = None,
        proxies: Proxies | None = None,
        proxy_ca_bundle: str | None = None,
        proxy_client_certificate: ClientCertificate | None = None,
        forwards_https: bool = False,
        connect_timeout_s: float | None = None,
        read_timeout_s: float | None = None,
    ) -> None:
        # An empty text is no wish to accept any certificate.
        self.verify = verify if verify is False else verify or True
        self.client_certificate = client_certificate
        self.proxies = proxies or Proxies()
        self.proxy_verify = proxy_ca_bundle or self.verify
        self.proxy_client_certificate = proxy_client_certificate
        self.forwards_https = forwards_https
        self.connect_timeout_s = float(connect_timeout_s or CONNECT_TIMEOUT_S)
        self.read_timeout_s = float(read_timeout_s or READ_TIMEOUT_S)
        self._context: ssl.SSLContext | None = None
        self._proxy_context: ssl.SSLContext | None = None
        self._lock = threading.Lock()

    def check(self, url: str) -> None:
        """Raise what would make every request to the URL fail.

        Raises:
            UsageError: The proxy, the CA bundle or the client certificate cannot be used.
        """
        proxy = self.proxies.for_url(url)
        if url.startswith("https:"):
            self.tls_context()
        if proxy and proxy.startswith("https:"):
            self.proxy_tls_context()

    def tls_context(self) -> ssl.SSLContext:
        """Return the TLS settings for the service, made once: loading a CA bundle takes milliseconds.

        Raises:
            UsageError: The CA bundle or the client certificate cannot be used.
        """
        with self._lock:
            if self._context is None:
                self._context = _tls_context(self.verify, self.client_certificate)
            return self._context

    def proxy_tls_context(self) -> ssl.SSLContext:
        """Return the TLS settings for a proxy, which is never shown the certificate that is meant for the service."""
        with self._lock:
            if self._proxy_context is None:
                self._proxy_context = _tls_context(self.proxy_verify, self.proxy_client_certificate)
            return self._proxy_context


def ca_bundle(environment: Mapping[str, str]) -> bool | str:
    """Return the CA bundle that the environment names for requests; True, the default bundle, if it names none."""
    return environment.get("REQUESTS_CA_BUNDLE") or environment.get("CURL_CA_BUNDLE") or True


def aws_ca_bundle(environment: Mapping[str, str]) -> bool | str | None:
    """Return the CA bundle for boto3; None: it finds the bundle itself, in the environment or its profile.

    boto3 refuses an empty variable, which is none elsewhere.
    """
    variables = (environment.get("AWS_CA_BUNDLE"), environment.get("REQUESTS_CA_BUNDLE"))
    return variables[0] or variables[1] or True if "" in variables else None


def ca_path(verify: bool | str) -> str:
    """Return the path of the trusted certificates."""
    return verify if isinstance(verify, str) else certifi.where()


def _tls_context(verify: bool | str, certificate: ClientCertificate | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.hostname_checks_common_name = False
    # A trusted certificate may be one that was issued by another.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    if verify is False:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    else:
        trusted = ca_path(verify)
        try:
            if Path(trusted).is_dir():
                context.load_verify_locations(capath=trusted)
            else:
                context.load_verify_locations(cafile=trusted)
        except (OSError, ValueError) as error:
            raise UsageError(
                detail=f"The CA bundle {trusted!r} cannot be used ({_cause(error)}). Correct the connection's setting, "
                "AWS_CA_BUNDLE or REQUESTS_CA_BUNDLE."
            ) from None
    if certificate is not None:
        path, key = (certificate, None) if isinstance(certificate, str) else certificate
        try:
            # A password would be asked for on a terminal.
            context.load_cert_chain(path, key, password="")
        except (OSError, ValueError, TypeError) as error:
            raise UsageError(
                detail=f"The client certificate {path!r} cannot be used ({_cause(error)}). Its file must hold "
                "certificate and key in PEM, or be named together with the key's, which must have no password."
            ) from None
        context.post_handshake_auth = True
    return context


def _cause(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror and not isinstance(error, ssl.SSLError):
        return error.strerror
    return "it is not in PEM, or not valid"
