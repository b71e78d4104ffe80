"""The arguments of ``migration_dag``: wrong ones are named at parse, right ones reach the DAG and its tasks."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from airflow.sdk import DAG, Param

from s3_to_azure.airflow.migration.dag_arguments import TASKS
from s3_to_azure.dag import migration_dag
from s3_to_azure.model.errors import UsageError


def _dag(**arguments: Any) -> DAG:
    places = {"source": "s3://bucket/a/", "destination": "az://container/b"}
    return migration_dag("migration", **(places | arguments))


QUEUE = "https://sqs.us-east-1.amazonaws.com/123456789012/q"
ACCESS_POINT = "arn:aws:s3:us-east-1:123456789012:accesspoint/point"
MOMENT = "2026-01-01T00:00:00Z"


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"memory_budget": "lots"}, "memory_budget='lots' is not a size"),
        ({"memory_budget": 1}, "memory_budget"),
        ({"block_size": "9000GiB"}, "block_size"),
        ({"split_size": "1KiB"}, "split_size"),
        ({"task_size": -1}, "task_size=-1 is not at least 1 byte"),
        ({"task_size": 1.5}, "task_size=1.5 is not a size"),
        ({"filters": {"min_siz": 1}}, "Did you mean min_size"),
        ({"filters": {"min_size": "big"}}, "min_size='big'"),
        ({"filters": {"modified_after": "2026-01-01"}}, "no time zone"),
        ({"filters": {"min_size": "2KiB", "max_size": "1KiB"}}, "min_size is above max_size"),
        ({"filters": {"modified_after": MOMENT, "modified_before": MOMENT}}, "modified_after is not before"),
        ({"filters": ["min_size"]}, "filters=['min_size'] is not a mapping"),
        ({"include": "*.csv"}, "include='*.csv' is not a list of texts"),
        ({"exclude": [""]}, "exclude=[''] is not a list of texts"),
        ({"overwrite": "sometimes"}, "overwrite='sometimes' is not one of"),
        ({"integrity": "crc16"}, "integrity='crc16'"),
        ({"refused_names": "rename"}, "refused_names='rename'"),
        ({"fidelity": {"tag": True}}, "Did you mean tags"),
        ({"fidelity": {"tags": "yes"}}, "tags='yes'"),
        ({"max_tasks": 0}, "max_tasks=0"),
        ({"max_tasks": 5_000}, "max_tasks=5000 is not between 1 and 1,000"),
        ({"objects_at_once": 0}, "objects_at_once=0"),
        ({"objects_at_once": "8"}, "objects_at_once='8' is not a whole number"),
        ({"bandwidth_limit": "fast"}, "bandwidth_limit='fast'"),
        ({"min_objects": 0}, "min_objects=0"),
        ({"allow_empty": "yes"}, "allow_empty='yes' is not True or False"),
        ({"create_container": 1}, "create_container=1 is not True or False"),
        ({"deferrable": None}, "deferrable=None"),
        ({"poke_interval": 60}, "poke_interval=60 is not a timedelta"),
        ({"wait_timeout": timedelta(-1)}, "wait_timeout"),
        ({"dagrun_timeout": 60}, "dagrun_timeout=60 is not a timedelta"),
        ({"retries": -1}, "retries=-1"),
        ({"retry_delay": "1m"}, "retry_delay='1m'"),
        ({"keep_state_days": 0}, "keep_state_days=0"),
        ({"max_active_runs": 0}, "max_active_runs=0"),
        ({"list_every": timedelta(days=1)}, "list_every needs events"),
        ({"events": "queue"}, "not the URL of an SQS queue"),
        ({"events": QUEUE, "keys_from": "s3://bucket/keys"}, "cannot be combined with keys_from"),
        ({"events": QUEUE, "inventory": "s3://reports/c/"}, "cannot be combined with inventory"),
        ({"inventory": "s3://reports/data.csv.gz"}, "is not the address of an S3 Inventory"),
        ({"events": QUEUE, "source": "s3://bucket/{{ ds }}/"}, "Name a prefix without one"),
        ({"events": QUEUE, "source": f"s3://{ACCESS_POINT}/a/"}, "no access point"),
        ({"events": QUEUE, "schedule": []}, "a schedule of time"),
        ({"events": QUEUE, "list_every": timedelta(days=1)}, "list_every needs a schedule"),
        (
            {"events": QUEUE, "list_every": timedelta(days=1), "schedule": "@hourly", "deferrable": True},
            "excludes deferrable=True",
        ),
        ({"catchup": "no"}, "catchup='no'"),
        ({"pool": 7}, "pool=7 is not a text"),
        ({"aws_conn_id": 7}, "aws_conn_id=7"),
        ({"wasb_conn_id": None}, "wasb_conn_id=None"),
        ({"state_container": "az://state"}, "'az://state' is not a container name"),
        ({"s3_verify": 7}, "s3_verify=7"),
        ({"s3_extra_args": "x"}, "s3_extra_args='x'"),
        ({"source": 7}, "source=7 is not a text"),
        ({"destination": "az://container/_s3_to_azure/x"}, "where runs keep their state"),
        ({"destination": "az://container/a/../b"}, "blob_prefix='a/../b/' has a path segment '.' or '..'"),
        ({"source": "s3://bucket/./a/"}, "source 's3://bucket/./a/' has a path segment '.' or '..'"),
        ({"wasb_conn_id": ""}, "wasb_conn_id is empty"),
        ({"tags": "mine"}, "tags='mine' is a text"),
        ({"params": {"dryrun": True}}, "There is no run Param 'dryrun'. Did you mean dry_run?"),
        ({"keys_from": "keys.txt"}, "keys_from 'keys.txt' is not an S3 address"),
        ({"memory_buget": "1GiB"}, "There is no argument of migration_dag 'memory_buget'. Did you mean memory_budget"),
        ({"start_dat": None}, "Did you mean start_date"),
        ({"params": [1]}, "params=[1]"),
        ({"params": {"max_tasks": 0}}, "params['max_tasks']=0 is refused"),
        ({"params": {"dry_run": "maybe"}}, "params['dry_run']='maybe' is refused"),
        ({"default_args": {"retrys": 1}}, "Did you mean retries"),
        ({"default_args": "retries"}, "default_args='retries'"),
        ({"task_arguments": {"copi": {}}}, "There is no task 'copi'. Did you mean copy"),
        (
            {"task_arguments": {"copy": {"queu": "x"}}},
            "There is no argument of the task copy 'queu'. Did you mean queue",
        ),
        (
            {"task_arguments": {"copy": {"trigger_rule": "always"}}},
            "There is no argument of the task copy 'trigger_rule'",
        ),
        ({"task_arguments": {"copy": "queue"}}, "task_arguments['copy']='queue' is not a mapping"),
    ],
    ids=str,
)
def test_a_wrong_argument_is_named_when_the_dag_is_parsed(wrong: dict[str, Any], says: str) -> None:
    """No run has to start first."""
    with pytest.raises(UsageError, match=re.escape(says)):
        _dag(**wrong)


def test_default_args_reach_every_task() -> None:
    """The migration's own retries are defaults; the caller's win, and those passed as arguments win over both."""

    def told(context: Any) -> None:
        """Stand for a callback."""

    dag = _dag(
        default_args={"owner": "data", "queue": "large", "retries": 2, "on_failure_callback": told, "of_others": 1},
        retry_delay=timedelta(seconds=9),
        compare_every=timedelta(days=7),
    )
    for task_id in TASKS:
        task: Any = dag.get_task(task_id)
        assert (task.owner, task.queue, task.retries, task.retry_delay) == ("data", "large", 2, timedelta(seconds=9))
        assert task.has_on_failure_callback
        assert task.retry_policy is not None
    assert _dag(retries=0, default_args={"retries": 2}).get_task("copy").retries == 0


def test_single_tasks_have_arguments_of_their_own() -> None:
    """Queue, pool, executor, timeouts and callbacks of each task can be chosen."""
    limit = timedelta(hours=6)
    dag = _dag(
        pool="transfers",
        task_arguments={
            "wait_for_objects": {"queue": "light", "soft_fail": True},
            "plan": {"pool": "plans", "execution_timeout": limit},
            "copy": {"queue": "large", "executor_config": {"KubernetesExecutor": {}}, "execution_timeout": limit},
            "report": {"priority_weight": 9},
            "check_report": {"queue": "light"},
            "compare": {"queue": "night"},
        },
        compare_every=timedelta(days=7),
    )
    tasks: dict[str, Any] = {task_id: dag.get_task(task_id) for task_id in TASKS}
    assert (tasks["wait_for_objects"].queue, tasks["wait_for_objects"].soft_fail) == ("light", True)
    assert (tasks["plan"].pool, tasks["plan"].execution_timeout) == ("plans", limit)
    assert (tasks["copy"].pool, tasks["copy"].queue, tasks["copy"].execution_timeout) == ("transfers", "large", limit)
    assert tasks["copy"].executor_config == {"KubernetesExecutor": {}}
    assert (tasks["report"].priority_weight, tasks["check_report"].queue) == (9, "light")
    assert tasks["compare"].queue == "night"
    assert _dag(default_args={"pool": "x"}).get_task("copy").pool == "x"
    assert _dag(task_arguments={"copy": {"pool": "y"}}, pool="x").get_task("copy").pool == "y"


def test_further_outlets_of_the_report_are_added() -> None:
    """The destination's asset stays."""
    dag = _dag(task_arguments={"report": {"outlets": []}})
    assert [asset.uri for asset in dag.get_task("report").outlets] == ["x-az://container/b"]


def test_params_are_merged() -> None:
    """A value is another default of the migration's own Param; other names are added."""
    dag = _dag(params={"dry_run": True, "prefix": "2026/", "team": Param("data", type="string"), "note": "x"})
    values = {name: dag.params.get_param(name).resolve() for name in ("dry_run", "prefix", "team", "note", "max_tasks")}
    assert values == {"dry_run": True, "prefix": "2026/", "team": "data", "note": "x", "max_tasks": 500}
    assert dag.params.get_param("prefix").schema["title"] == "Prefix"


def test_arguments_of_the_dag() -> None:
    """They are passed on; a start is set only where Airflow is to make up for missed intervals."""
    dag = _dag(catchup=True, max_active_runs=3, fail_fast=True, tags=["mine"], schedule="0 2 * * *")
    assert (dag.catchup, dag.max_active_runs, dag.fail_fast, dag.tags) == (
        *(True, 3, True),
        {"mine", "s3_to_azure"},
    )
    assert dag.start_date is not None
    # With a start, Airflow runs the last missed interval as soon as a new DAG is unpaused.
    assert _dag(schedule="0 2 * * *").start_date is None
    start = datetime(2026, 5, 1, tzinfo=UTC)
    assert _dag(start_date=start).start_date == start


def test_airflows_own_timeout_is_not_set() -> None:
    """It would skip the report; the tasks themselves look at the run's age."""
    dag = _dag(dagrun_timeout=timedelta(hours=3))
    assert dag.dagrun_timeout is None
    wait: Any = dag.get_task("wait_for_objects")
    assert wait.timeout == timedelta(hours=3).total_seconds()
    copy: Any = dag.get_task("copy")
    assert copy.partial_kwargs["run_timeout"] == timedelta(hours=3)
