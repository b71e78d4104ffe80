"""What Airflow renders of a task: no template that stands in data, such as a key, and no secret."""
# ruff: noqa: ANN401 - Airflow's own types here differ between its versions

from collections.abc import Iterable
from typing import Any, Final

from s3_to_azure.airflow.compat import mask_secret
from s3_to_azure.model.uris import is_template

# Shorter values of a URL's query, such as its time, may be in any log.
_MIN_MASKED_CHARACTERS: Final = 20


class RendersNoData:
    """Mixin of an operator: values that ``expand_kwargs`` takes from an upstream task are not rendered.

    Airflow renders no value of ``expand``, but each text in the mappings of ``expand_kwargs``. A key is chosen by
    whoever may write to the bucket, so a key such as ``{{ var.value.password }}`` would read what its author may not.
    """

    def _do_render_template_fields(
        self, parent: Any, template_fields: Any, context: Any, jinja_env: Any, seen_oids: set[int], **more: Any
    ) -> None:
        """Render the template fields, except those whose values come from an upstream task."""
        if parent is self:
            from_tasks = _names_of_data(self, context, self.template_fields)
            seen_oids = seen_oids | {id(getattr(self, name, None)) for name in from_tasks}
        super()._do_render_template_fields(  # type: ignore[misc]
            parent=parent,
            template_fields=template_fields,
            context=context,
            jinja_env=jinja_env,
            seen_oids=seen_oids,
            **more,
        )


def rendered_secret(operator: Any, name: str, context: Any) -> str:
    """Return an argument that is a secret, rendered, and mask it in Airflow's logs.

    Such an argument is no template field: Airflow keeps the rendered values of those for its UI, and the values that
    the DAG's file has in the serialized DAG.
    """
    value = getattr(operator, name)
    if is_template(value) and not _names_of_data(operator, context, [name]):
        value = operator.render_template(value, context)
    text = str(value).strip()
    query = text.partition("?")[2]
    for secret in (text, query, *(item.partition("=")[2] for item in query.split("&"))):
        if len(secret) >= _MIN_MASKED_CHARACTERS:
            mask_secret(secret)
    return text


def _names_of_data(operator: Any, context: Any, names: Iterable[str]) -> set[str]:
    """Return those arguments that ``expand_kwargs`` takes from an upstream task."""
    mapped = context["dag"].get_task(operator.task_id)
    values = getattr(getattr(mapped, "expand_input", None), "value", None)
    if isinstance(values, list | tuple):
        values = values[context["ti"].map_index]
    # The value of `expand` is a mapping by arguments; so is an item that the DAG's author wrote down.
    if values is None or isinstance(values, dict):
        return set()
    return set(names) - set(mapped.partial_kwargs)
