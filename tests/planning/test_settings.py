"""The settings of a plan."""

from typing import Any

import pytest

from s3_to_azure.model.errors import UsageError
from s3_to_azure.model.limits import MIB
from s3_to_azure.planning.batching import BatchPolicy
from s3_to_azure.planning.settings import PlanSettings


@pytest.mark.parametrize(
    "wrong",
    [
        {"overwrite": "sometimes"},
        {"refused_names": "rename"},
        {"max_tasks": 0},
        {"max_tasks": 1_001},
        {"split_bytes": MIB - 1},
        {"batch_bytes": 0},
        {"blob_prefix": "_s3_to_azure"},
        {"blob_prefix": "_s3_to_azure/"},
        {"blob_prefix": "_s3_to_azure/x"},
    ],
)
def test_settings_out_of_bounds_are_refused(wrong: dict[str, Any]) -> None:
    """Every value is checked when the settings are made, not when the plan is; no blob may go among the runs' state."""
    with pytest.raises(UsageError):
        PlanSettings(**({"s3_prefix": "", "blob_prefix": ""} | wrong))


def test_a_blob_prefix_that_only_resembles_the_states_is_accepted() -> None:
    """Only the state folder itself is reserved."""
    assert PlanSettings(s3_prefix="", blob_prefix="_s3_to_azure2/").blob_of("key") == "_s3_to_azure2/key"


@pytest.mark.parametrize(("refused_names", "blob"), [("fail", "out/dot."), ("skip", "out/dot."), ("map", "out/dot~2E")])
def test_a_blob_name_replaces_the_prefix(refused_names: Any, blob: str) -> None:
    """The blob prefix takes the place of the key's prefix; with ``map`` a name that Azure refuses is mapped."""
    settings = PlanSettings(s3_prefix="in/", blob_prefix="out/", refused_names=refused_names)
    assert settings.blob_of("in/dot.") == blob


def test_the_batch_policy_takes_the_plans_limits() -> None:
    """The settings' limits reach the policy unchanged."""
    settings = PlanSettings(s3_prefix="", blob_prefix="", max_tasks=7, split_bytes=3 * MIB, batch_bytes=5)
    assert settings.batch_policy(100) == BatchPolicy(100, max_tasks=7, split_bytes=3 * MIB, batch_bytes=5)
