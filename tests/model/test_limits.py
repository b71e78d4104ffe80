"""Limits: the services' numbers fit together, and each names its source."""

import re
from pathlib import Path

from s3_to_azure.model import limits


def test_the_largest_object_fits_into_a_blob() -> None:
    """S3's largest object is below Azure's largest blob, so every object can be copied."""
    assert limits.MAX_OBJECT_BYTES <= limits.MAX_BLOCKS_PER_BLOB * limits.MAX_BLOCK_BYTES


def test_every_limit_names_its_source() -> None:
    """A number of a service stands below the address of the page that states it."""
    text = Path(limits.__file__).read_text(encoding="utf-8")
    _, *groups = re.split(r"^# (?=https://)", text, flags=re.MULTILINE)
    named = {name for group in groups for name in re.findall(r"^([A-Z_]+): Final", group, re.MULTILINE)}
    assert {name for name in vars(limits) if name.isupper()} - named == {"KIB", "MIB", "GIB", "TIB"}
    assert all(group.startswith(("https://learn.microsoft.com/", "https://docs.aws.amazon.com/")) for group in groups)
