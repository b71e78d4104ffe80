"""The run Params: their defaults, what Airflow's form accepts, and that it agrees with what the copy accepts."""

from typing import Any

import pytest
from airflow.sdk import Param
from airflow.sdk.exceptions import ParamValidationError

from s3_to_azure.airflow.params import migration_params
from s3_to_azure.model.options import INTEGRITY, MAX_TASKS
from s3_to_azure.model.settings import parse_size


def _params(**changes: Any) -> dict[str, Param]:
    defaults: dict[str, Any] = {
        "overwrite": "if_changed",
        "integrity": "auto",
        "refused_names": "fail",
        "include": (),
        "exclude": (),
        "max_tasks": 500,
        "objects_at_once": 8,
        "bandwidth_limit": None,
    }
    return migration_params(**(defaults | changes))


def test_the_choices_are_those_of_the_copy() -> None:
    """What a user can choose in the form, the copy accepts."""
    params = _params()
    assert params["integrity"].schema["enum"] == list(INTEGRITY)
    assert params["max_tasks"].schema["maximum"] == MAX_TASKS


def test_every_param_has_a_title_a_description_and_a_valid_default() -> None:
    """The form shows all of them, and can be sent unchanged."""
    params = _params()
    assert list(params) == [
        *("prefix", "include", "exclude", "wait", "dry_run"),
        *("overwrite", "integrity", "refused_names"),
        *("max_tasks", "objects_at_once", "bandwidth_limit"),
    ]
    for name, param in params.items():
        assert param.description, name
        assert param.schema["title"], name
        param.resolve()


def test_every_choice_is_explained() -> None:
    """The form shows a sentence beside each value whose name does not say enough."""
    for name in ("overwrite", "refused_names"):
        schema = _params()[name].schema
        assert set(schema["values_display"]) == set(schema["enum"])


def test_the_defaults_are_the_migrations() -> None:
    """An empty list is null, because the form sends null for an empty text."""
    params = _params(include=["*.csv"], overwrite="never", max_tasks=7, bandwidth_limit="5MiB")
    values = {name: param.resolve() for name, param in params.items()}
    assert (values["include"], values["exclude"], values["prefix"]) == (["*.csv"], None, None)
    assert (values["overwrite"], values["max_tasks"], values["bandwidth_limit"]) == ("never", 7, "5MiB")
    assert values["dry_run"] is False


@pytest.mark.parametrize(
    ("name", "value"),
    [("overwrite", "sometimes"), ("max_tasks", 0), ("max_tasks", 1_001), ("objects_at_once", 0), ("include", [""])],
)
def test_the_form_refuses_other_values(name: str, value: Any) -> None:
    """No run starts with a value that its tasks would refuse."""
    with pytest.raises(ParamValidationError):
        _params()[name].resolve(value)


@pytest.mark.parametrize(
    ("text", "is_accepted"),
    [
        *((text, True) for text in ("1", "50MiB", "1.5 GB", "64k", "0.5GiB", "100 b", "0.001K", "10.5 m", None)),
        *(
            (text, False)
            for text in (
                "",
                "0",
                "0.0MiB",
                "...",
                "1.2.3MiB",
                "MiB",
                "-1MiB",
                "1e6",
                "50 MiB/s",
                "5XiB",
                "0.1B",
                "1.5",
                "0.0001K",
            )
        ),
    ],
)
def test_the_form_accepts_what_the_copy_can_use(text: str | None, is_accepted: bool) -> None:
    """The form accepts a limit that the copy can use; anything else starts no run."""
    limit = _params()["bandwidth_limit"]
    if is_accepted:
        assert limit.resolve(text) == text
        assert text is None or parse_size(text, name="bandwidth_limit") > 0
    else:
        with pytest.raises(ParamValidationError):
            limit.resolve(text)
