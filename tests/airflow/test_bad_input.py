"""Any argument of operator and migration is either accepted or refused with an error when the DAG is parsed."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s3_to_azure.dag import migration_dag
from s3_to_azure.model.errors import UsageError
from s3_to_azure.model.uris import is_template
from s3_to_azure.operators import S3ToAzureBlobStreamOperator

WORDS = st.one_of(
    st.text(max_size=20),
    st.sampled_from(["always", "crc32", "skip", "1MiB", "-1", "0", "1e9", "NaN", "∞", "9" * 40, " 5 MB", "1.5.GiB"]),
)
NUMBERS = st.integers(min_value=-(2**70), max_value=2**70)
SIZES = st.one_of(st.none(), WORDS, NUMBERS)
ARGUMENTS: dict[str, st.SearchStrategy[Any]] = {
    "s3_prefix": st.one_of(st.none(), WORDS),
    "blob_name": st.one_of(st.none(), WORDS),
    "blob_prefix": WORDS,
    "replace": st.one_of(st.none(), st.booleans()),
    "overwrite": WORDS,
    "integrity": WORDS,
    "block_size": SIZES,
    "memory_budget": st.one_of(WORDS, NUMBERS),
    "objects_at_once": st.one_of(WORDS, NUMBERS),
    "bandwidth_limit": SIZES,
    "refused_names": WORDS,
    "fidelity": st.one_of(st.none(), st.dictionaries(WORDS, st.one_of(WORDS, NUMBERS, st.booleans()), max_size=2)),
}


@settings(max_examples=150)
@given(given=st.fixed_dictionaries({"s3_key": st.one_of(st.none(), WORDS)}, optional=ARGUMENTS))
def test_the_operator_accepts_its_arguments_or_names_the_wrong_one(given: dict[str, Any]) -> None:
    """No value raises another error than ``UsageError``, which names an argument."""
    try:
        operator = S3ToAzureBlobStreamOperator(task_id="copy", s3_bucket="bucket", container_name="container", **given)
    except UsageError as error:
        message = str(error)
        assert any(name in message for name in (*given, "batch")), message
    else:
        templates = (name for name in operator.template_fields if is_template(getattr(operator, name)))
        assert next(templates, None) is not None or operator._settings().memory_budget_bytes > 0


@pytest.mark.parametrize("side", ["source", "destination"])
@settings(max_examples=60)
@given(
    text=st.one_of(st.text(max_size=30), st.builds("{}://{}/{}".format, st.sampled_from(["s3", "az"]), WORDS, WORDS))
)
def test_addresses_are_accepted_or_refused(side: str, text: str) -> None:
    """Any address gives a DAG, a DAG that names what is missing, or ``UsageError``."""
    addresses = {"source": "s3://bucket/p/", "destination": "az://container/p"} | {side: text}
    try:
        dag = migration_dag("any", addresses["source"], addresses["destination"])
    except UsageError:
        return
    tasks = {task.task_id for task in dag.tasks}
    assert tasks in ({"wait_for_objects", "plan", "copy", "report", "check_report"}, {"not_configured"})
