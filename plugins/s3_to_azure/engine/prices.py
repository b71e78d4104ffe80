"""List prices for estimates: the one place to change them. Contracts, regions and free allowances differ.

AWS, region us-east-1, US dollars, as of 2026-05: https://aws.amazon.com/s3/pricing/. Traffic over Direct Connect and
from other regions costs otherwise. Azure takes data in for nothing, and its writes depend on redundancy and tier, so
the plan counts them without a price.
"""

from typing import Final

from s3_to_azure.engine.plan import Requests

AS_OF: Final = "2026-05"
REGION: Final = "us-east-1"

_GB: Final = 10**9
# Data from S3 to the internet in one month: up to so many GB at so many dollars each.
_EGRESS: Final = ((10_240, 0.09), (51_200, 0.085), (153_600, 0.07), (float("inf"), 0.05))
_PER_LIST: Final = 0.005 / 1_000
_PER_GET: Final = 0.0004 / 1_000


def egress_dollars(size_bytes: int) -> float:
    """Return the price of reading so much out of S3 to the internet, as the month's only traffic."""
    left, below, dollars = size_bytes / _GB, 0.0, 0.0
    for up_to, price in _EGRESS:
        step = min(left, up_to - below)
        dollars += step * price
        left -= step
        below = up_to
    return dollars


def request_dollars(requests: Requests) -> float:
    """Return the price of the requests to S3."""
    return requests.s3_list * _PER_LIST + requests.s3_get * _PER_GET
