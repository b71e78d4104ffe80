"""Try to become the first user of an api-server with keys that somebody else knows, as one process.

Run with the api-server's environment on a database of its own. Standard input is a JSON list of keys; the last line of
standard output is a JSON list of those with which a request as the first user was answered.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Final

from airflow.api_fastapi.app import create_app
from fastapi.testclient import TestClient

from tests.compose.forged_sessions import remember_cookie, user_token

_URL: Final = "http://localhost:8080"
_AIRFLOW: Final = Path(sys.executable).with_name("airflow")


def main() -> None:
    """Make the database and its first user, then try each key."""
    keys = json.load(sys.stdin)
    subprocess.run([_AIRFLOW, "db", "migrate"], check=True, stdout=subprocess.DEVNULL)
    names = ["--username", "admin", "--firstname", "A", "--lastname", "B", "--email", "admin@localhost"]
    command = [str(_AIRFLOW), "users", "create", "--role", "Admin", *names]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, text=True, input="a password\na password\n")
    with TestClient(create_app(), base_url=_URL, follow_redirects=False) as client:
        found = [key for key in keys if _by_cookie(client, key) or _by_token(client, user_token(key))]
    sys.stdout.write(f"\n{json.dumps(found)}\n")


def _by_cookie(client: TestClient, key: str) -> bool:
    client.cookies.clear()
    client.cookies.set("remember_token", remember_cookie(key))
    client.get("/auth/login/")
    token = client.cookies.get("_token")
    return bool(token) and _by_token(client, str(token))


def _by_token(client: TestClient, token: str) -> bool:
    client.cookies.clear()
    answer = client.get("/api/v2/connections", headers={"Authorization": f"Bearer {token}"})
    return answer.status_code == 200


if __name__ == "__main__":
    main()
