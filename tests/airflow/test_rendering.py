"""What a task passes on is data; what the DAG's author wrote is rendered. ``test_mapping`` has both in real Airflow."""

from types import SimpleNamespace
from typing import Any

import pytest

from s3_to_azure.airflow import rendering
from s3_to_azure.airflow.rendering import RendersNoData, rendered_secret


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


URL = "https://bucket.s3.amazonaws.com/k?X-Amz-Expires=60&X-Amz-Signature=0123456789abcdef0123456789abcdef"


class _Rendering:
    """Stands for Airflow's operator."""

    task_id = "copy"

    def __init__(self, source_url: str) -> None:
        self.source_url = source_url

    def render_template(self, content: str, context: Any) -> str:
        """Return what a variable holds."""
        return str(context["variables"][content]) + "\n"


@pytest.mark.parametrize(
    ("value", "is_mapped", "text"),
    [("{{ url }}", False, URL), (URL, False, URL), (URL, True, URL), ("{{ url }}", True, "{{ url }}")],
    ids=["template", "text", "text of a task", "template of a task"],
)
def test_a_secret_is_rendered_and_masked(
    monkeypatch: pytest.MonkeyPatch, value: str, is_mapped: bool, text: str
) -> None:
    """Whole and in its long parts, so that no log line shows it; what another task passes is not rendered."""
    masked: list[str] = []
    monkeypatch.setattr(rendering, "mask_secret", masked.append)
    mapped = SimpleNamespace(partial_kwargs={}, expand_input=SimpleNamespace(value=FROM_A_TASK if is_mapped else {}))
    context = {
        "dag": SimpleNamespace(get_task=lambda _: mapped),
        "ti": SimpleNamespace(map_index=0),
        "variables": {"{{ url }}": URL},
    }
    assert rendered_secret(_Rendering(value), "source_url", context) == text
    if text == URL:
        assert masked == [URL, URL.partition("?")[2], "0123456789abcdef0123456789abcdef"]
