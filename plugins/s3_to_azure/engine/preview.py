"""What a plan would do, for a person to look at before anything moves; no I/O."""

from dataclasses import asdict
from typing import Any

from s3_to_azure.engine import prices
from s3_to_azure.engine.plan import Plan
from s3_to_azure.model.errors import WrongUse


def preview(plan: Plan, *, rate_bytes_s: float) -> dict[str, Any]:
    """Return the plan's counts, its cost at list prices and its time at a given rate, as JSON-ready values.

    Args:
        plan: The plan.
        rate_bytes_s: Bytes a second that all tasks together are expected to move.

    Raises:
        WrongUse: The rate is not above 0.
    """
    if not rate_bytes_s > 0:
        raise WrongUse(what=f"A rate of {rate_bytes_s} bytes a second is not above 0.")
    requests = plan.planning.plus(plan.copying)
    sizes = [batch.size_bytes for batch in plan.batches]
    return plan.summary() | {
        "largest_batch_bytes": max(sizes, default=0),
        "smallest_batch_bytes": min(sizes, default=0),
        "refused_names": list(plan.refused_names),
        "mapped_names": dict(plan.mapped_names),
        "estimate": {
            "seconds": round(plan.copy.size_bytes / rate_bytes_s, 1),
            "at_bytes_per_second": rate_bytes_s,
            "requests": asdict(requests),
            "s3_egress_dollars": round(prices.egress_dollars(plan.copy.size_bytes), 2),
            "s3_requests_dollars": round(prices.request_dollars(requests), 2),
            "prices": f"AWS list prices, {prices.REGION}, as known in {prices.AS_OF}; without retrieval fees",
        },
    }
