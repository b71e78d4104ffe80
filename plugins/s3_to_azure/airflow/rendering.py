"""What Airflow renders of a task: no template that stands in data, such as a key."""
# ruff: noqa: ANN401 - Airflow's own types here differ between its versions

from typing import Any


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
            seen_oids = seen_oids | {id(getattr(self, name, None)) for name in _names_of_data(self, context)}
        super()._do_render_template_fields(  # type: ignore[misc]
            parent=parent,
            template_fields=template_fields,
            context=context,
            jinja_env=jinja_env,
            seen_oids=seen_oids,
            **more,
        )


def _names_of_data(operator: Any, context: Any) -> set[str]:
    """Return the names of the template fields that ``expand_kwargs`` takes from an upstream task."""
    mapped = context["dag"].get_task(operator.task_id)
    values = getattr(getattr(mapped, "expand_input", None), "value", None)
    if isinstance(values, list | tuple):
        values = values[context["ti"].map_index]
    # The value of `expand` is a mapping by arguments; so is an item that the DAG's author wrote down.
    if values is None or isinstance(values, dict):
        return set()
    return set(operator.template_fields) - set(mapped.partial_kwargs)
