"""The code of a reason, and the wait that a service asks for."""

import pytest

from s3_to_azure.model.errors import ObjectNotFound, Throttled


def test_reason_example() -> None:
    """Programs that read receipts compare this code."""
    assert ObjectNotFound.reason() == "object_not_found"


@pytest.mark.parametrize(("given", "wait_s"), [(None, None), (3, 3.0), (0.5, 0.5), ("soon", None)])
def test_throttled_has_the_wait_that_the_service_asked_for(given: object, wait_s: float | None) -> None:
    """Seconds, or None where the service said nothing usable."""
    assert Throttled(service="S3", code="SlowDown", retry_after_s=given).retry_after_s == wait_s
