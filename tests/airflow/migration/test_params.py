"""The run Params: their defaults, what Airflow's form accepts, and that it agrees with what the copy accepts."""

from datetime import UTC, datetime
from typing import Any

import pytest
from airflow.sdk import Param
from airflow.sdk.exceptions import ParamValidationError

from s3_to_azure.airflow.migration.params import RunLimits, limit_params, migration_params
from s3_to_azure.model.errors import UsageError
from s3_to_azure.model.options import INTEGRITY, MAX_TASKS, VERIFICATION_LEVELS, at_least
from s3_to_azure.model.settings import parse_rate


def _params(**changes: Any) -> dict[str, Param]:
    defaults: dict[str, Any] = {
        "overwrite": "if_changed",
        "integrity": "auto",
        "via": "worker",
        "refused_names": "fail",
        "include": (),
        "exclude": (),
        "max_tasks": 500,
        "objects_at_once": 64,
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
        *("prefix", "dry_run", "wait", "include", "exclude"),
        *("min_size", "max_size", "modified_after", "modified_before"),
        *("overwrite", "integrity", "refused_names", "via"),
        *("max_tasks", "objects_at_once", "bandwidth_limit"),
    ]
    for name, param in params.items():
        assert param.description, name
        assert param.schema["title"], name
        param.resolve()


def test_every_choice_is_explained() -> None:
    """The form shows a sentence beside each value whose name does not say enough."""
    for name in ("overwrite", "integrity", "refused_names", "via"):
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
        *((text, True) for text in ("50MB", "50 MB/s", " 50 MiB / S ", "1/s")),
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
                "50 MiB/h",
                "50 MB/s/s",
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
        assert text is None or parse_rate(text, name="bandwidth_limit") > 0
    else:
        with pytest.raises(ParamValidationError):
            limit.resolve(text)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        *((name, text) for name in ("min_size", "max_size") for text in ("0", "1KiB", "1.5 GB", "50MB", None)),
        *(("modified_after", text) for text in ("24h", "7 d", "2026-01-31", "2026-01-31T06:00:00Z", None)),
        *(("modified_before", text) for text in ("30m", "2026-01-31 06:00:00.000+01:00", None)),
    ],
)
def test_the_form_accepts_sizes_and_ages_that_the_plan_can_read(name: str, text: str | None) -> None:
    """Both by one parser."""
    assert _params()[name].resolve(text) == text
    RunLimits().filters_of({name: text})


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("bandwidth_limit", "fast", "Write bytes per second, such as 50 MB/s or 50MiB, or leave it empty."),
        ("min_size", "big", "Write a size such as 10MiB or 1.5 GB, or leave it empty."),
        ("modified_after", "yesterday", "Write an age such as 24h or 7d, a date"),
        ("prefix", "../x", "Write the beginning of keys as S3 has them"),
    ],
)
def test_a_refusal_begins_with_a_sentence(name: str, value: str, sentence: str) -> None:
    """The form shows Airflow's message from its begin: the value, the pattern, and the whole schema after it."""
    with pytest.raises(ParamValidationError) as refused:
        _params()[name].resolve(value)
    assert str(refused.value).startswith(f"{value!r} does not match '(?#{sentence}")


def test_the_form_opens_with_all_fields() -> None:
    """Airflow's form shows a section closed; it names source and destination, and no file of this project."""
    params = _params(source="s3://exports/{{ ds }}/", destination="az://archive/reports/")
    for name, param in params.items():
        assert "section" not in param.schema, name
        assert "docs/" not in f"{param.description} {param.schema}", name
    assert str(params["prefix"].description).startswith(
        "This DAG copies from s3://exports/{{ ds }}/ to az://archive/reports/. "
    )


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
    *(({}, name, text) for name in ("min_size", "max_size") for text in ("many", "5XiB", "-1", 5, "9" * 200)),
    *(({}, name, text) for name in ("modified_after", "modified_before") for text in ("then", "2026-01-31T06:00", 5)),
    *(({}, name, "a text") for name in ("include", "exclude", "dry_run", "wait", "max_tasks", "objects_at_once")),
    *(({}, name, None) for name in ("overwrite", "integrity", "dry_run", "max_tasks")),
    ({}, "via", "azcopy"),
    ({"via": "worker", "pinned": ("via",)}, "via", "auto"),
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
        ({}, "objects_at_once", 200),
        ({"bandwidth_limit": "50MiB"}, "bandwidth_limit", "10MiB"),
        ({"overwrite": "never"}, "overwrite", "always"),
        ({"via": "auto"}, "via", "worker"),
        ({}, "via", "azure"),
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


def test_sizes_and_dates_of_a_run_are_within_the_migrations() -> None:
    """What the author sets by ``params`` holds, whatever a run asks for; ages count back from the run's start."""
    params = _params()
    params["min_size"] = Param("1KiB", **params["min_size"].schema)
    params["modified_after"] = Param("7d", **params["modified_after"].schema)
    limited = limit_params(params, own=params)
    limits = RunLimits.of(limited)
    began = datetime(2026, 3, 8, tzinfo=UTC)
    looser = limits.filters_of({"min_size": "1", "modified_after": "30d"}, began=began)
    assert (looser.min_size_bytes, looser.modified_after) == (1_024, datetime(2026, 3, 1, tzinfo=UTC))
    tighter = limits.filters_of({"min_size": "1MiB", "modified_after": "24h", "max_size": "1GB"}, began=began)
    assert tighter.min_size_bytes == 1024**2
    assert (tighter.max_size_bytes, tighter.modified_after) == (10**9, datetime(2026, 3, 7, tzinfo=UTC))
    with pytest.raises(ParamValidationError):
        limited["min_size"].resolve(None)


@pytest.mark.parametrize(
    ("conf", "says"),
    [
        ({"min_size": "2GB", "max_size": "1GB"}, "min_size is above max_size"),
        ({"modified_after": "2026-02-30"}, "is not a date"),
        ({"modified_after": "1h", "modified_before": "2h"}, "modified_after is not before modified_before"),
    ],
)
def test_filters_that_nothing_passes_refuse_the_run(conf: dict[str, Any], says: str) -> None:
    """Before it waits: such a run would succeed and copy nothing."""
    with pytest.raises(UsageError, match=says):
        _is_accepted({}, conf)
