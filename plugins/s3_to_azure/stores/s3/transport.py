"""boto3's HTTP session under the rules of our own connections."""

from typing import Any

from botocore.awsrequest import (
    AWSHTTPConnection,
    AWSHTTPConnectionPool,
    AWSHTTPSConnection,
    AWSHTTPSConnectionPool,
)
from botocore.httpsession import ProxyConfiguration, URLLib3Session

from s3_to_azure.stores.http.response import StrictConnection
from s3_to_azure.stores.http.settings import HttpSettings, Proxies


class _StrictAWSHTTPConnection(StrictConnection, AWSHTTPConnection):  # type: ignore[misc]  # botocore has no types
    pass


class _StrictAWSHTTPSConnection(StrictConnection, AWSHTTPSConnection):  # type: ignore[misc]  # botocore has no types
    pass


class _StrictAWSHTTPPool(AWSHTTPConnectionPool):  # type: ignore[misc]  # botocore has no types
    ConnectionCls = _StrictAWSHTTPConnection


class _StrictAWSHTTPSPool(AWSHTTPSConnectionPool):  # type: ignore[misc]  # botocore has no types
    ConnectionCls = _StrictAWSHTTPSConnection


def settings_of(client: Any, proxies: Proxies) -> HttpSettings:
    """Return the settings that a boto3 client has from its configuration, its profile and the environment.

    Args:
        client: The client.
        proxies: Those of the environment, for a client whose configuration names none.

    Raises:
        UsageError: Every request would fail with them.
    """
    config = client.meta.config
    of_proxy = config.proxies_config or {}
    settings = HttpSettings(
        # botocore resolves this setting when the client is made, and shows it nowhere else.
        verify=client._endpoint.http_session._verify,  # noqa: SLF001
        client_certificate=_certificate(config.client_cert),
        proxies=proxies if config.proxies is None else Proxies.of_mapping(config.proxies),
        proxy_ca_bundle=of_proxy.get("proxy_ca_bundle"),
        proxy_client_certificate=_certificate(of_proxy.get("proxy_client_cert")),
        forwards_https=bool(of_proxy.get("proxy_use_forwarding_for_https")),
        connect_timeout_s=config.connect_timeout,
        read_timeout_s=config.read_timeout,
    )
    settings.check(client.meta.endpoint_url)
    return settings


def use_settings(client: Any, settings: HttpSettings) -> None:
    """Make a boto3 client send its requests with these settings, and read responses as our own connections do.

    botocore has no public setting for this: it makes its session with the client.
    """
    endpoint = client._endpoint  # noqa: SLF001
    replaced = endpoint.http_session
    endpoint.http_session = _Session(client, settings, socket_options=replaced._socket_options)  # noqa: SLF001
    replaced.close()


class _Session(URLLib3Session):  # type: ignore[misc]  # botocore has no types
    def __init__(self, client: Any, settings: HttpSettings, *, socket_options: Any) -> None:
        self._settings = settings
        self._uses_tls = client.meta.endpoint_url.startswith("https:")
        super().__init__(
            verify=settings.verify,
            proxies_config={"proxy_use_forwarding_for_https": settings.forwards_https},
            timeout=(settings.connect_timeout_s, settings.read_timeout_s),
            max_pool_connections=client.meta.config.max_pool_connections,
            socket_options=socket_options,
        )
        self._proxy_config = _Proxies(settings)
        self._pool_classes_by_scheme = {"http": _StrictAWSHTTPPool, "https": _StrictAWSHTTPSPool}
        self._manager.pool_classes_by_scheme = self._pool_classes_by_scheme

    def _get_ssl_context(self) -> Any:
        # Without TLS no CA bundle is loaded. A request over TLS would be refused then, by urllib3's own settings.
        return self._settings.tls_context() if self._uses_tls else None

    def _setup_ssl_cert(self, conn: Any, url: str, verify: bool | str) -> None:
        """Leave the connections as the TLS settings make them."""

    def _proxies_kwargs(self, **kwargs: Any) -> dict[str, Any]:
        """Return the arguments of a proxy's manager: those of a tunnel, or those of a proxy that forwards requests."""
        if "proxy_ssl_context" not in kwargs:
            return dict(super()._proxies_kwargs(**kwargs))
        context = kwargs["proxy_ssl_context"]
        if context is None or not self._settings.forwards_https:
            return {"proxy_ssl_context": context} if context else {}
        return {"proxy_ssl_context": context, "use_forwarding_for_https": True, "ssl_context": None}

    def _setup_proxy_ssl_context(self, proxy_url: str) -> Any:
        return self._settings.proxy_tls_context() if proxy_url.startswith("https:") else None


class _Proxies(ProxyConfiguration):  # type: ignore[misc]  # botocore has no types
    def __init__(self, settings: HttpSettings) -> None:
        super().__init__(proxies_settings={"proxy_use_forwarding_for_https": settings.forwards_https or None})
        self._settings = settings

    def proxy_url_for(self, url: str) -> str | None:
        return self._settings.proxies.for_url(url)


def _certificate(given: Any) -> Any:
    """Return a client certificate; JSON has lists where Python has tuples."""
    return tuple(given) if isinstance(given, list) else given
