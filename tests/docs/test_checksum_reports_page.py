"""What docs/checksum-reports.md tells a person to run fits S3 Control's own service model."""

import json
import shlex
from typing import Any, Final

import botocore.session
from botocore.validate import ParamValidator

from s3_to_azure.model.options import WIDTHS
from tests.docs.pages import blocks

PAGE: Final = "docs/checksum-reports.md"
_JSON: Final = [json.loads(block.text) for block in blocks("json") if block.page == PAGE]
_MODEL: Final = botocore.session.get_session().get_service_model("s3control")
_VALUES_IN_FILES: Final = {"objects.json": "S3JobManifestGenerator", "report.json": "ReportScope"}


def commands() -> list[list[str]]:
    """Return the page's commands of the AWS CLI."""
    lines = "".join(block.text for block in blocks("sh") if block.page == PAGE).replace("\\\n", " ").splitlines()
    return [words for words in map(shlex.split, lines) if words[0] == "aws"]


def parameters(words: list[str]) -> tuple[str, dict[str, Any]]:
    """Return operation and parameters as the AWS CLI reads them."""
    _, service, operation, *options = words
    assert service == "s3control"
    values: dict[str, Any] = {}
    while options:
        option = options.pop(0)
        name = "".join(part.capitalize() for part in option.removeprefix("--").split("-"))
        if option == "--no-confirmation-required":
            values["ConfirmationRequired"] = False
            continue
        text = options.pop(0)
        if text.startswith("file://"):
            mark = _VALUES_IN_FILES[text.removeprefix("file://")]
            (values[name],) = (found for found in _JSON if mark in found)
        elif name not in ("Region", "Query"):
            values[name] = json.loads(text) if text.startswith("{") else int(text) if name == "Priority" else text
    return "".join(part.capitalize() for part in operation.split("-")), values


def test_the_commands_fit_the_service_model() -> None:
    """Names, required parameters, and the values of the enumerations that matter."""
    made = [parameters(words) for words in commands()]
    assert [operation for operation, _ in made] == ["CreateJob", "DescribeJob"]
    for operation, values in made:
        shape = _MODEL.operation_model(operation).input_shape
        # The CLI makes the token itself.
        given = values | ({"ClientRequestToken": "t"} if operation == "CreateJob" else {})
        assert ParamValidator().validate(given, shape).generate_report() == ""
        assert set(given) <= set(shape.members)
    job = made[0][1]
    computed = job["Operation"]["S3ComputeObjectChecksum"]
    assert computed["ChecksumType"] in _MODEL.shape_for("ComputeObjectChecksumType").enum
    assert computed["ChecksumAlgorithm"] in _MODEL.shape_for("ComputeObjectChecksumAlgorithm").enum
    assert job["Report"]["Format"] in _MODEL.shape_for("JobReportFormat").enum


def test_all_algorithms_of_the_operation_are_read() -> None:
    """A report never has one that the copy does not know."""
    assert {name.lower() for name in _MODEL.shape_for("ComputeObjectChecksumAlgorithm").enum} <= set(WIDTHS)
