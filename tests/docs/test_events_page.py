"""The page of events: both examples parse and grant the same, and what the page says of the code is so."""

import json
import re
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped] # its types are a package of their own

from s3_to_azure.planning.events import ANNOUNCING, read_message
from s3_to_azure.runs import announced, drain
from s3_to_azure.runs.announced import GRACE
from s3_to_azure.runs.drain import MAX_MESSAGES, MAX_SECONDS
from s3_to_azure.state import announced as state
from s3_to_azure.stores.s3.queue import HIDDEN_S
from tests.docs.pages import ROOT, text_of
from tests.fakes.event_queue import bridge_event, s3_event

EXAMPLES = ROOT / "examples/events"
READS_QUEUE = {"sqs:ReceiveMessage", "sqs:DeleteMessage"}
READS_BUCKET = {"s3:ListBucket", "s3:GetObject", "s3:GetObjectAttributes"}


class _Loader(yaml.SafeLoader):  # type: ignore[misc]
    """Reads CloudFormation's short functions as mappings."""


for _name in ("Ref", "GetAtt", "Sub"):
    _Loader.add_constructor(
        f"!{_name}", lambda loader, node, name=_name: {f"Fn::{name}": loader.construct_scalar(node)}
    )


def cloudformation() -> dict[str, Any]:
    """Return the template."""
    return dict(yaml.load((EXAMPLES / "cloudformation.yaml").read_text(encoding="utf-8"), _Loader))


def terraform() -> dict[str, Any]:
    """Return the configuration."""
    return dict(json.loads((EXAMPLES / "events.tf.json").read_text(encoding="utf-8")))


def actions(statements: list[dict[str, Any]]) -> set[str]:
    """Return all actions that statements allow."""
    assert all(statement["Effect"] == "Allow" for statement in statements)
    found = [statement["Action"] for statement in statements]
    return {action for given in found for action in ([given] if isinstance(given, str) else given)}


def references(values: object) -> set[str]:
    """Return the names that a template's functions use."""
    if isinstance(values, dict):
        found = {
            name.partition(".")[0]
            for function, text in values.items()
            if function.startswith("Fn::")
            for name in (re.findall(r"\$\{([^}]+)\}", text) if function == "Fn::Sub" else [text])
        }
        return found.union(*(references(value) for value in values.values()))
    return set().union(*(references(value) for value in values)) if isinstance(values, list) else set()


def test_the_template_of_cloudformation_is_complete() -> None:
    """Each name is defined; S3 alone may send, for this bucket, and the reader may do what the page says."""
    template = cloudformation()
    resources = template["Resources"]
    defined = set(resources) | set(template["Parameters"])
    assert {name for name in references(template) if not name.startswith("AWS::")} <= defined
    (sends,) = resources["AnnouncedPolicy"]["Properties"]["PolicyDocument"]["Statement"]
    assert (sends["Principal"], sends["Action"]) == ({"Service": "s3.amazonaws.com"}, "sqs:SendMessage")
    assert set(sends["Condition"]) == {"ArnEquals", "StringEquals"}
    reads = resources["Reader"]["Properties"]["PolicyDocument"]["Statement"]
    assert actions(reads) == READS_QUEUE | READS_BUCKET
    kinds = resources["Bucket"]["Properties"]["NotificationConfiguration"]["QueueConfigurations"]
    assert {kind["Event"] for kind in kinds} == {"s3:ObjectCreated:*", "s3:ObjectRestore:Completed"}
    queue = resources["Announced"]["Properties"]
    assert queue["VisibilityTimeout"] == HIDDEN_S
    assert queue["RedrivePolicy"]["maxReceiveCount"] >= 20


def test_the_configuration_of_terraform_grants_the_same() -> None:
    """Its policies are JSON inside JSON; each resource that it names is defined."""
    configuration = terraform()
    resources = configuration["resource"]
    defined = {f"{kind}.{name}" for kind, named in resources.items() for name in named}
    used = set(re.findall(r"\b(aws_(?:sqs|s3|iam)_\w+\.\w+)", json.dumps(configuration)))
    assert used <= defined
    variables = set(re.findall(r"var\.(\w+)", json.dumps(configuration)))
    assert variables == set(configuration["variable"])
    (sends,) = json.loads(resources["aws_sqs_queue_policy"]["announced"]["policy"])["Statement"]
    assert (sends["Principal"], sends["Action"]) == ({"Service": "s3.amazonaws.com"}, "sqs:SendMessage")
    assert set(sends["Condition"]) == {"ArnEquals", "StringEquals"}
    reads = json.loads(resources["aws_iam_role_policy"]["reader"]["policy"])["Statement"]
    assert actions(reads) == READS_QUEUE | READS_BUCKET
    (kinds,) = resources["aws_s3_bucket_notification"]["announced"]["queue"]
    assert set(kinds["events"]) == {"s3:ObjectCreated:*", "s3:ObjectRestore:Completed"}
    assert resources["aws_sqs_queue"]["announced"]["visibility_timeout_seconds"] == HIDDEN_S


def test_the_figures_of_the_page_are_those_of_the_code() -> None:
    """Each limit that the page names."""
    page = " ".join(text_of("docs/events.md").split())
    assert f"up to {MAX_MESSAGES:,} for one batch" in page
    assert f"hidden for {HIDDEN_S // 60} minutes" in page
    assert MAX_SECONDS + 10 == 40
    assert "at most 40 seconds" in page
    assert f"more than {GRACE.seconds // 60} minutes before" in page
    assert f"kept for {state._KEPT.days} days" in page
    assert f"the last {announced._LONGEST_PERIOD.days} days count" in page
    assert f"after {drain._REPEATED_AFTER_S // 60:.0f} minutes and then" in page
    for action in READS_QUEUE:
        assert f"`{action}`" in page


def test_the_named_events_are_copied() -> None:
    """Those of the table's first row, and no others."""
    row = next(line for line in text_of("docs/events.md").splitlines() if line.endswith("| the key is copied |"))
    named = re.findall(r"`([^`]+)`", row)
    assert len(named) == 4
    for name in named:
        message = (
            s3_event("k", name=name.replace("*", "Put")) if name.startswith("s3:") else bridge_event("k", name=name)
        )
        found = read_message(json.dumps(message), bucket="bucket", prefix="")
        assert set(found.counts) <= set(ANNOUNCING)
        assert found.lines


def test_the_examples_are_named() -> None:
    """The page links both files."""
    page = text_of("docs/events.md")
    assert {path.name for path in EXAMPLES.iterdir()} == {"cloudformation.yaml", "events.tf.json"}
    for path in EXAMPLES.iterdir():
        assert f"examples/events/{path.name}" in page
    assert Path(EXAMPLES).is_dir()
