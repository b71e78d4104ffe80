"""The run Params: their defaults, what Airflow's form accepts, and that it agrees with what the copy accepts."""

from typing import Any

import pytest
from airflow.sdk import Param
from airflow.sdk.exceptions import ParamValidationError

from s3_to_azure.airflow.migration.params import RunLimits, limit_params, migration_params
from s3_to_azure.model.errors import UsageError
from s3_to_azure.model.options import INTEGRITY, MAX_TASKS, VERIFICATION_LEVELS, at_least
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


@pytest.mark.parametrize("prefix", ["2026/", "a..b/.c/", "...", "/abs", "{{ ds }}", "\u00fc/", "", None])
def test_the_form_accepts_the_beginning_of_any_key(prefix: str | None) -> None:
    """It is never rendered, and follows the source's prefix, so it leads nowhere else."""
    assert _params()["prefix"].resolve(prefix) == prefix


@pytest.mark.parametrize("prefix", ["../other/", "a/../b", "a/..", ".", "./a", 5, ["a"], "x" * 1_025])
def test_the_form_refuses_a_prefix_that_no_copied_key_has(prefix: Any) -> None:
    """A person who types .. expects folders, and the run would wait for keys that nobody writes."""
    with pytest.raises(ParamValidationError):
        _params()["prefix"].resolve(prefix)


def _limited(pinned: tuple[str, ...] = (), **changes: Any) -> dict[str, Any]:
    params = _params(**changes)
    return limit_params(params, own=params, pinned=pinned)


LOOSER: list[tuple[dict[str, Any], str, Any]] = [
    ({"integrity": "readback"}, "integrity", "auto"),
    ({"integrity": "readback"}, "integrity", "crc64nvme"),
    ({"integrity": "md5"}, "integrity", "transport"),
    ({"integrity": "md5"}, "integrity", "auto"),
    ({"integrity": "md5"}, "integrity", "readback"),
    ({"integrity": "md5"}, "integrity", "md5_composite"),
    ({"include": ["*.csv"]}, "include", None),
    ({"exclude": ["*.key"]}, "exclude", None),
    ({"max_tasks": 7}, "max_tasks", 8),
    ({"objects_at_once": 4}, "objects_at_once", 5),
    ({"bandwidth_limit": "50MiB"}, "bandwidth_limit", None),
    *(({}, name, "a text") for name in ("include", "exclude", "dry_run", "wait", "max_tasks", "objects_at_once")),
    *(({}, name, None) for name in ("overwrite", "integrity", "dry_run", "max_tasks")),
    ({}, "dry_run", "false"),
    ({}, "dry_run", 0),
    ({}, "include", ["a"] * 1_001),
    ({}, "include", ["a" * 1_025]),
    ({}, "include", [["a"]]),
    ({}, "max_tasks", True),
]


@pytest.mark.parametrize(("author", "name", "value"), LOOSER)
def test_a_run_cannot_loosen_what_the_author_has_set(author: dict[str, Any], name: str, value: Any) -> None:
    """Airflow refuses to create it, whether it is started in the form, by the API or as a backfill."""
    params = _limited(**author)
    params[name].resolve()
    with pytest.raises(ParamValidationError):
        params[name].resolve(value)


@pytest.mark.parametrize(
    ("author", "name", "value"),
    [
        ({"integrity": "md5"}, "integrity", "crc32c"),
        ({"integrity": "transport"}, "integrity", "readback"),
        ({"exclude": ["*.key"]}, "exclude", ["tmp/*"]),
        ({"include": ["*.csv"]}, "include", ["2026/*"]),
        ({"max_tasks": 7}, "max_tasks", 1),
        ({}, "max_tasks", MAX_TASKS),
        ({}, "objects_at_once", 64),
        ({"bandwidth_limit": "50MiB"}, "bandwidth_limit", "10MiB"),
        ({"overwrite": "never"}, "overwrite", "always"),
    ],
)
def test_a_run_can_tighten_and_change_the_rest(author: dict[str, Any], name: str, value: Any) -> None:
    """What the author has not limited is the run's to choose."""
    assert _limited(**author)[name].resolve(value) == value


@pytest.mark.parametrize("integrity", INTEGRITY)
def test_no_allowed_level_is_weaker(integrity: str) -> None:
    """Levels are in their order; ``auto`` takes the strongest that there is, and accepts the weakest."""
    allowed = at_least(integrity)
    assert integrity in allowed
    if integrity in VERIFICATION_LEVELS[:-1]:
        assert allowed == VERIFICATION_LEVELS[: VERIFICATION_LEVELS.index(integrity) + 1]


def test_a_pinned_param_has_one_value() -> None:
    """Airflow's form does not show it, and nothing else is accepted; this holds for the author's own Params too."""
    params: dict[str, Any] = {**_params(overwrite="never"), "team": "data", "size": Param(5, type="integer")}
    limited = limit_params(params, own=_params(), pinned=("overwrite", "dry_run", "prefix", "team", "size"))
    for name, value in {"overwrite": "always", "dry_run": True, "prefix": "a/", "team": "x", "size": 6}.items():
        limited[name].resolve()
        with pytest.raises(ParamValidationError):
            limited[name].resolve(value)
    assert limited["overwrite"].description == params["overwrite"].description
    with pytest.raises(UsageError, match=r"There is no run parameter 'overwrit'. Did you mean overwrite"):
        _limited(pinned=("overwrit",))
    with pytest.raises(UsageError, match="'open' has no default"):
        limit_params({"open": Param(type="string")}, own=(), pinned=("open",))


class Run:
    """A DAG run with its configuration."""

    def __init__(self, conf: Any) -> None:
        self.conf = conf


def _is_accepted(author: dict[str, Any], conf: dict[str, Any] | None) -> bool:
    limited = _limited(**author)
    limits = RunLimits.of(limited)
    values = {name: param.resolve() for name, param in limited.items()} | (conf or {})
    limits.check({"dag_run": Run(conf), "params": values})  # type: ignore[typeddict-item]
    return True


@pytest.mark.parametrize(
    ("name", "near"), [("dryrun", "dry_run"), ("overwite", "overwrite"), ("s3_bucket", ""), ("aws_conn_id", "")]
)
def test_an_unknown_name_refuses_the_run(name: str, near: str) -> None:
    """What it asks for would not be done: ``{"dryrun": true}`` would copy."""
    with pytest.raises(UsageError, match=f"There is no run parameter '{name}'. {near and f'Did you mean {near}'}"):
        _is_accepted({}, {name: True})


def test_the_names_of_the_params_start_a_run() -> None:
    """With any of them, with none, and without a configuration."""
    assert _is_accepted({}, {"dry_run": True, "max_tasks": 5})
    assert _is_accepted({}, {})
    assert _is_accepted({}, None)


@pytest.mark.parametrize(("wanted", "is_above"), [("50MiB", False), ("1K", False), ("51MiB", True), ("1 GB", True)])
def test_a_run_is_not_faster_than_the_migration(wanted: str, is_above: bool) -> None:
    """Sizes are compared, in whatever units."""
    if not is_above:
        assert _is_accepted({"bandwidth_limit": "50MiB"}, {"bandwidth_limit": wanted})
        return
    with pytest.raises(UsageError, match=f"bandwidth_limit='{wanted}' is above 50MiB"):
        _is_accepted({"bandwidth_limit": "50MiB"}, {"bandwidth_limit": wanted})


def test_limits_are_those_of_the_author_whatever_airflow_makes_of_the_params() -> None:
    """Airflow writes a run's values into the Params themselves."""
    limited = _limited(include=["*.csv"], exclude=["*.key"])
    limits = RunLimits.of(limited)
    limited["exclude"].resolve(["none"])
    assert (limits.include, limits.exclude) == (("*.csv",), ("*.key",))
