"""What somebody who knows a key would send to an api-server to act as its first user."""

import hmac
import time
import uuid
import warnings
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

import jwt

_FIRST_USER: Final = "1"


def remember_cookie(key: str) -> str:
    """Return the value of Flask-Login's cookie `remember_token`, signed with the key."""
    digest = hmac.new(key.encode("latin-1", "replace"), _FIRST_USER.encode(), "sha512").hexdigest()
    return f"{_FIRST_USER}|{digest}"


def user_token(key: str) -> str:
    """Return a token of the REST API, signed with the key."""
    now = int(time.time())
    claims = {"sub": _FIRST_USER, "aud": "apache-airflow", "jti": uuid.uuid4().hex}
    times = {"iat": now, "nbf": now, "exp": now + 600}
    with warnings.catch_warnings():
        # What is tried may be no key at all, and too short for one.
        warnings.simplefilter("ignore")
        return jwt.encode(claims | times, key, algorithm="HS512", headers={"kid": "not-used"})


def keys_in(environment: Mapping[str, str]) -> list[str]:
    """Return each value, and each password in a URL."""
    values = set(environment.values())
    passwords = {urlsplit(value).password for value in values if "://" in value}
    return sorted(key for key in values | passwords if key)
