"""What docs/inventory.md tells a person to configure fits S3's own service model."""

import json
import shlex
from typing import Any, Final

import botocore.session
from botocore.validate import ParamValidator

from s3_to_azure.planning.inventory import _COLUMNS
from tests.docs.pages import blocks

PAGE: Final = "docs/inventory.md"
_MODEL: Final = botocore.session.get_session().get_service_model("s3")


def configuration() -> dict[str, Any]:
    """Return the page's inventory.json."""
    found = [json.loads(block.text) for block in blocks("json") if block.page == PAGE]
    (only,) = (each for each in found if "OptionalFields" in each)
    return dict(only)


def test_the_command_fits_the_service_model() -> None:
    """Names, required parameters, and the values of the enumerations."""
    lines = "".join(block.text for block in blocks("sh") if block.page == PAGE).splitlines()
    (words,) = (words for words in map(shlex.split, lines) if words[0] == "aws")
    assert words[:3] == ["aws", "s3api", "put-bucket-inventory-configuration"]
    given = dict(zip(words[3::2], words[4::2], strict=True))
    assert given["--inventory-configuration"] == "file://inventory.json"
    configured = configuration()
    assert given["--id"] == configured["Id"]
    values = {"Bucket": given["--bucket"], "Id": given["--id"], "InventoryConfiguration": configured}
    shape = _MODEL.operation_model("PutBucketInventoryConfiguration").input_shape
    assert ParamValidator().validate(values, shape).generate_report() == ""
    assert set(configured["OptionalFields"]) <= set(_MODEL.shape_for("InventoryOptionalField").enum)
    assert configured["Destination"]["S3BucketDestination"]["Format"] in _MODEL.shape_for("InventoryFormat").enum
    assert configured["Schedule"]["Frequency"] in _MODEL.shape_for("InventoryFrequency").enum


def test_the_configuration_has_the_fields_that_are_read() -> None:
    """Bucket and Key are always there, and the flags with all versions only."""
    always = {"Bucket", "Key", "IsLatest", "IsDeleteMarker"}
    assert set(configuration()["OptionalFields"]) == set(_COLUMNS) - always
