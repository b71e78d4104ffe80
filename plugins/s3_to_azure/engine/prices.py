"""List prices for estimates: the one place to change them. Contracts, regions and free allowances differ.

AWS, region us-east-1, US dollars, storage class STANDARD. AWS's own page, https://aws.amazon.com/s3/pricing/, shows its
numbers by script only, so they were not read there. What was checked in 2026-11, and where:

- egress to the internet, 0.09, 0.085, 0.07 and 0.05 dollars a GB: in copies of AWS's table on public pages, undated;
- requests, 0.005 dollars for 1,000 LIST and 0.0004 for 1,000 GET or HEAD: https://c3x.dev/blog/s3-request-fees-explained;
- the first 100 GB of a month are free: in a copy of AWS's page of 2026-09-20. Not deducted, nor are credits.

Not checked: other regions, Direct Connect and private links, which cost otherwise. Not in the estimate: what S3 charges
for reading infrequent-access and archive classes, by GB and by restore. A GB is taken as 10^9 bytes; where AWS reckons
with 2^30, as its FAQ does for storage, the estimate is 7 % too high. Azure takes data in for nothing, and its writes
depend on redundancy and tier, so the plan counts them without a price.
"""

from typing import Final

from s3_to_azure.engine.plan import Requests

AS_OF: Final = "2026-11"
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
