"""The pages' entries for the plugin; cheap to import, because scheduler and workers load plugins too."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

_Scope = MutableMapping[str, Any]
_App = Callable[[_Scope, Callable[[], Awaitable[Any]], Callable[[Any], Awaitable[None]]], Awaitable[None]]

URL_PREFIX: Final = "/s3_to_azure"


class LazyApp:
    """An ASGI application that is created at its first request."""

    def __init__(self) -> None:
        self._app: _App | None = None

    async def __call__(
        self, scope: _Scope, receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]
    ) -> None:
        """Serve the request."""
        if self._app is None:
            from s3_to_azure.web.api import web_app  # noqa: PLC0415 - it takes seconds

            self._app = web_app()
        await self._app(scope, receive, send)


FASTAPI_APPS: Final[list[dict[str, Any]]] = [{"app": LazyApp(), "url_prefix": URL_PREFIX, "name": "S3 to Azure"}]


def react_apps(base_path: str) -> list[dict[str, Any]]:
    """Return the pages of the UI.

    Args:
        base_path: The path of Airflow's address, without a last slash. Airflow 3.1 and 3.2 import an address without
            a first slash as the name of a package, and show that the page was not found.
    """
    # The browser stores each page in a global variable of this name, where names such as "History" are taken.
    return [
        {
            "name": "Migration",
            "bundle_url": f"{base_path}{URL_PREFIX}/static/migration.js",
            "destination": "dag_run",
            "url_route": "s3_to_azure_migration",
        },
        {
            "name": "Migrations",
            "bundle_url": f"{base_path}{URL_PREFIX}/static/history.js",
            "destination": "nav",
            "category": "browse",
            "url_route": "s3_to_azure_history",
        },
    ]
