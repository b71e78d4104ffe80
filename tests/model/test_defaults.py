"""Defaults: the operator, the DAG, the run Params, the command line and the settings agree on each."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from s3_to_azure.cli.arguments import command_line
from s3_to_azure.cli.settings import copy_settings
from s3_to_azure.dag import migration_dag
from s3_to_azure.model import defaults
from s3_to_azure.model.settings import CopySettings, Fidelity
from s3_to_azure.operators import S3ToAzureBlobStreamOperator
from s3_to_azure.planning.settings import PlanSettings
from s3_to_azure.sensors import S3ObjectsSensor

DEFAULTS = {name.lower(): value for name, value in vars(defaults).items() if name.isupper()}


@pytest.mark.parametrize("taker", [S3ToAzureBlobStreamOperator, S3ObjectsSensor, migration_dag, PlanSettings, Fidelity])
def test_arguments_of_one_name_have_one_default(taker: Callable[..., Any]) -> None:
    """Whoever takes an argument that has a default here takes this default."""
    given = {
        name: parameter.default
        for name, parameter in inspect.signature(taker).parameters.items()
        if name in DEFAULTS and parameter.default is not inspect.Parameter.empty
    }
    assert given
    assert given == {name: DEFAULTS[name] for name in given}


def test_the_command_line_copies_with_the_defaults_of_the_settings() -> None:
    """``copy`` without options makes the same settings as no settings at all."""
    options = command_line().parse_args(["copy", "s3://bucket/", "az://container/"])
    assert copy_settings(options) == CopySettings()


def test_the_run_params_have_the_defaults() -> None:
    """The trigger form shows the same defaults."""
    params: Mapping[str, Any] = migration_dag("defaults", None, None).params
    shared = sorted(set(params) & set(DEFAULTS))
    assert shared == ["integrity", "max_tasks", "objects_at_once", "overwrite", "refused_names", "via"]
    assert [params[name] for name in shared] == [DEFAULTS[name] for name in shared]
