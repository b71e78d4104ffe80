"""The HTTP session under both stores: pooled, without redirects, netrc or rewritten paths."""

import http.client
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter

from s3_to_azure.model.errors import UnexpectedAnswer

CONNECT_TIMEOUT_S: Final = 10.0
READ_TIMEOUT_S: Final = 60.0


class GuardedSession(requests.Session):
    """A session that sends a URL as it was built, or not at all.

    HTTP clients normalise ``.`` and ``..`` segments; such a request could reach another container.

    Args:
        pool: Connections kept for each host; as many as there are threads.
        verify: True, False, or the path of a CA bundle.
        proxies: Scheme to proxy URL; the environment is not read.
    """

    def __init__(self, *, pool: int, verify: bool | str = True, proxies: dict[str, str] | None = None) -> None:
        """Mount pooled adapters without retries."""
        super().__init__()
        self.trust_env = False
        self.verify = verify
        self.proxies = dict(proxies or {})
        adapter = HTTPAdapter(pool_connections=4, pool_maxsize=pool, max_retries=0, pool_block=False)
        self.mount("https://", adapter)
        self.mount("http://", adapter)

    def prepare_request(self, request: requests.Request) -> requests.PreparedRequest:
        """Prepare as requests does, then compare the path with the one intended.

        Raises:
            UnexpectedAnswer: requests rewrote the path; nothing was sent.
        """
        prepared = super().prepare_request(request)
        intended = urlsplit(str(request.url)).path
        actual = urlsplit(str(prepared.url)).path
        if (actual or "/") != (intended or "/"):
            raise UnexpectedAnswer(
                service="the HTTP client",
                thing=repr(intended),
                detail="it would send another path; nothing was sent",
            )
        return prepared

    @contextmanager
    def answer(
        self, method: str, url: str, headers: Mapping[str, str], body: memoryview | None = None
    ) -> Iterator[http.client.HTTPResponse]:
        """Do as ``HttpConnections.answer`` does.

        Raises:
            requests.RequestException: The connection failed, or the answer was none.
        """
        with self.request(
            method, url, headers=headers, data=body, stream=True, timeout=(CONNECT_TIMEOUT_S, READ_TIMEOUT_S)
        ) as response:
            # urllib3's readinto reads into a new object and copies it; http.client's below it fills the view itself.
            answer: Any = response.raw._fp  # noqa: SLF001
            yield answer
            if answer.isclosed():
                # urllib3 did not see the body end, so it would close the connection instead of keeping it.
                response.raw.release_conn()

    def request(self, method: str | bytes, url: str | bytes, *args: Any, **kwargs: Any) -> requests.Response:
        """Send a request; redirects are handed back, never followed."""
        kwargs["allow_redirects"] = False
        return super().request(method, url, *args, **kwargs)
