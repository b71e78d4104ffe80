"""The help that the pages carry is the documentation's, and each reason has its place in it."""

import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType

from s3_to_azure.model.reasons import FAILED, REASONS
from tests.docs.test_reasons_and_values import error_classes

ROOT = Path(__file__).resolve().parents[2]
STATIC = ROOT / "plugins/s3_to_azure/web/static"


def help_page() -> ModuleType:
    """Return the script."""
    spec = importlib.util.spec_from_file_location("help_page", ROOT / "scripts/help_page.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_files_are_the_documentations() -> None:
    """`python scripts/help_page.py --write` refreshes them."""
    for name, text in help_page().files().items():
        refresh = f"{name}: python scripts/help_page.py --write"
        assert (STATIC / name).read_text(encoding="utf-8") == text, refresh


def test_each_reason_has_a_meaning_a_remedy_and_a_place() -> None:
    """Of every error that can be raised, and of the reasons that are no errors."""
    script = (STATIC / "reasons.js").read_text(encoding="utf-8")
    found = {code: json.loads(texts) for code, texts in re.findall(r"^  (\w+): (\[.*\]),$", script, re.MULTILINE)}
    places = set(re.findall(r'<h[23] id="([^"]+)">', (STATIC / "help.html").read_text(encoding="utf-8")))
    codes = {each.reason() for each in error_classes()} | set(REASONS[FAILED])
    assert codes <= set(found)
    for code in codes:
        meaning, remedy, place = found[code]
        assert meaning, code
        assert remedy.endswith((".", ".)")), (code, remedy)
        assert place in places, code
