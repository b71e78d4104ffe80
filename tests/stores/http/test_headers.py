"""Values of headers that both services send."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from s3_to_azure.stores.http.headers import http_date, retry_after_s
from s3_to_azure.stores.http.refusals import Refusal

DATE = "Wed, 21 Oct 2026 07:28:00 GMT"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("3", 3.0),
        (" 3 ", 3.0),
        ("0.5", 0.5),
        ("-1", 0.0),
        ("9" * 19, 1e19),
        ("9" * 5_000, None),
        ("nan", None),
        ("inf", None),
        ("1e3", None),
        ("\u0663", None),
        ("soon", None),
        ("", None),
        (None, None),
        (DATE, 0.0),
        ("Wed, 21 Oct 2026 07:28:30 GMT", 30.0),
        ("Wed, 21 Oct 2026 07:27:00 GMT", 0.0),
        ("Wed, 32 Oct 2026 07:28:30 GMT", None),
    ],
)
def test_retry_after_is_a_number_of_seconds_or_a_date(text: str | None, expected: float | None) -> None:
    """A date counts from the service's own; anything else is ignored."""
    headers = {"date": DATE} if text is None else {"date": DATE, "retry-after": text}
    assert retry_after_s(headers) == expected
    assert Refusal(503, "SlowDown", headers=headers).retry_after_s == expected


def test_retry_after_is_a_date_by_this_machines_clock() -> None:
    """Where the response has no date of its own."""
    later = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
    found = retry_after_s({"retry-after": later})
    assert found is not None
    assert 3_000 < found < 3_700


@pytest.mark.parametrize("text", [None, "", "x", "2026-10-21T07:28:00Z", "Wed, 21 Oct 0001 07:28:00 GMT"])
def test_other_texts_are_no_dates(text: str | None) -> None:
    """The standard library would read the year 1 as 2001."""
    assert http_date(text) is None
    assert http_date(DATE) == datetime(2026, 10, 21, 7, 28, tzinfo=UTC)
