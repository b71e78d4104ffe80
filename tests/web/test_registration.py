"""The pages' entries for the plugin: what they name is there, and costs nothing before it is used."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from s3_to_azure.web import api
from s3_to_azure.web.registration import FASTAPI_APPS, URL_PREFIX, LazyApp, react_apps

_STATIC = Path(api.__file__).with_name("static")


@pytest.mark.parametrize("page", react_apps("/below"), ids=lambda page: page["name"])
def test_each_page_has_its_script(page: dict[str, Any]) -> None:
    """The address of the bundle is a whole path, and leads to a file that sets the page's component."""
    prefix = f"/below{URL_PREFIX}/static/"
    assert page["bundle_url"].startswith(prefix)
    script = (_STATIC / page["bundle_url"].removeprefix(prefix)).read_text(encoding="utf-8")
    assert "globalThis.AirflowPlugin = " in script


def test_the_pages_are_where_the_links_lead() -> None:
    """The scripts' own links and the operator's link hold the route of the Migration page."""
    routes = {page["name"]: page["url_route"] for page in react_apps("")}
    assert routes == {"Migration": "s3_to_azure_migration", "Migrations": "s3_to_azure_history"}
    assert f"/plugin/{routes['Migration']}" in (_STATIC / "links.js").read_text(encoding="utf-8")


def test_registration_imports_no_web_framework() -> None:
    """Scheduler and workers load plugins too."""
    code = (
        "import sys; import s3_to_azure.web.registration; "
        "print(sorted({'fastapi', 'sqlalchemy', 'airflow'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_application_is_created_once_at_its_first_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """The plugin's application serves the files; a second request does not create another one."""
    created: list[FastAPI] = []

    def web_app() -> FastAPI:
        created.append(original())
        return created[-1]

    original = api.web_app
    monkeypatch.setattr(api, "web_app", web_app)
    app = LazyApp()
    assert created == []
    client = TestClient(app)
    assert [client.get(f"/static/{name}").status_code for name in ("style.css", "none.css")] == [200, 404]
    assert len(created) == 1
    assert isinstance(FASTAPI_APPS[0]["app"], LazyApp)
