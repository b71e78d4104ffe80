"""What a task passes on is data; what the DAG's author wrote is rendered. ``test_mapping`` has both in real Airflow."""

from types import SimpleNamespace
from typing import Any

import pytest

from s3_to_azure.airflow.rendering import RendersNoData


class _Airflows:
    """Stands for Airflow's operator, which renders every text that it has not seen."""

    task_id = "copy"
    template_fields = ("s3_key", "blob_prefix")

    def __init__(self, **values: str) -> None:
        vars(self).update(values)

    def _do_render_template_fields(
        self, parent: Any, template_fields: Any, context: Any, jinja_env: Any, seen_oids: set[int]
    ) -> None:
        for name in template_fields:
            if id(getattr(parent, name)) not in seen_oids:
                setattr(parent, name, "rendered")


class _Ours(RendersNoData, _Airflows):
    """An operator of ours."""


FROM_A_TASK: Any = SimpleNamespace(resolve=None)


@pytest.mark.parametrize(
    ("value", "key"),
    [
        (None, "rendered"),
        ({"blob_prefix": FROM_A_TASK}, "rendered"),
        ([{"s3_key": "{{ 1 }}"}], "rendered"),
        (FROM_A_TASK, "{{ 1 }}"),
        ([FROM_A_TASK], "{{ 1 }}"),
    ],
    ids=["not mapped", "expand", "a mapping written down", "expand_kwargs", "a list of outputs"],
)
def test_renders_only_what_the_author_wrote(value: Any, key: str) -> None:
    """The arguments of ``partial`` are always rendered."""
    operator = _Ours(s3_key="{{ 1 }}", blob_prefix="{{ 2 }}")
    mapped = SimpleNamespace(partial_kwargs={"blob_prefix": ""})
    if value is not None:
        mapped.expand_input = SimpleNamespace(value=value)
    context = {"dag": SimpleNamespace(get_task=lambda _: mapped), "ti": SimpleNamespace(map_index=0)}
    operator._do_render_template_fields(operator, operator.template_fields, context, None, set())
    assert vars(operator) == {"s3_key": key, "blob_prefix": "rendered"}
