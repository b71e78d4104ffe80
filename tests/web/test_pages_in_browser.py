"""The pages with 10,000 failures in a real browser, narrow and wide, light and dark, without an Airflow."""

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.web.pages import ORIGIN, REASONS, Pages, bad_morning, fetched_night

playwright = pytest.importorskip("playwright.sync_api")
expect = playwright.expect

CHROMIUM = shutil.which("chromium")
SHOTS = os.environ.get("S3_TO_AZURE_SCREENSHOTS")
AXE = Path(__file__).resolve().parents[2] / "local_cloud" / "node_modules" / "axe-core" / "axe.min.js"
SERIOUS = ("serious", "critical")

pytestmark = [
    pytest.mark.browser,
    pytest.mark.timeout(300),
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed: tests/install_tools.sh"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Run Chromium; its sandbox does not work for root."""
    with playwright.sync_playwright() as machine:
        browser = machine.chromium.launch(executable_path=CHROMIUM, chromium_sandbox=os.geteuid() != 0)
        yield browser
        browser.close()


@pytest.fixture
def window(request: pytest.FixtureRequest, browser: Any) -> Iterator[Any]:
    """Return a function that opens a window of this width and scheme on pages; an error in a script fails the test."""
    width, scheme = request.param.split("-")
    context = browser.new_context(
        viewport={"width": int(width), "height": 900}, color_scheme=scheme, timezone_id="UTC", reduced_motion="reduce"
    )
    errors: list[str] = []

    def open_on(pages: Pages, address: str) -> Any:
        context.route(f"{ORIGIN}/**", pages.answer)
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(address)
        return page

    yield open_on
    context.close()
    assert errors == []


def shoot(page: Any, name: str) -> None:
    """Take a screenshot of the whole page, if screenshots are requested."""
    if SHOTS:
        height = page.evaluate("document.querySelector('.s3az').scrollHeight + 60")
        size = page.viewport_size
        page.set_viewport_size({"width": size["width"], "height": min(int(height), 6_000)})
        scheme = page.evaluate("document.documentElement.className")
        page.screenshot(path=Path(SHOTS) / f"{name}-{size['width']}-{scheme}.png")
        page.set_viewport_size(size)


def serious(page: Any) -> list[str]:
    """Return what axe-core finds serious."""
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{rule['id']}: {node['target']} {node['failureSummary']}"
        for rule in found["violations"]
        if rule["impact"] in SERIOUS
        for node in rule["nodes"]
    ]


@pytest.mark.parametrize("window", ["420-light", "420-dark", "1400-light", "1400-dark"], indirect=True)
def test_a_bad_morning(window: Any) -> None:
    """The verdict, the reasons and all 10,000 objects can be read, whatever the width; keys do not squeeze reasons."""
    pages = bad_morning()
    page = window(pages, pages.address)
    verdict = page.locator("#s3az-overview")
    expect(verdict).to_contain_text("10,000 of 50,000 objects failed, for 6 reasons; 30,000 copied")
    text = page.locator(".s3az").inner_text()
    assert not re.search(r"\d+\s?% Failed", text)
    assert "50,000 listed = 30,000 copied + 8,000 unchanged + 2,000 skipped + 10,000 failed" in text
    groups = page.get_by_role("region", name="Failures by reason").locator(".s3az-groups > li")
    expect(groups).to_have_count(len(REASONS))
    expect(groups.first).to_contain_text("4,000")
    expect(groups.first).to_contain_text("What to do:")
    assert page.get_by_role("region", name="Failed objects").count() == 1
    order = ["Failures by reason", "Report", "Tasks", "Failed objects"]
    tops = [page.get_by_role("region", name=name, exact=True).bounding_box()["y"] for name in order]
    assert tops == sorted(tops)
    # Nothing is wider than the window.
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    shoot(page, "bad-morning")

    objects = page.get_by_role("region", name="Failed objects")
    pager = objects.get_by_role("navigation")
    expect(pager).to_contain_text("1 to 50 of 10,000")
    expect(pager).to_contain_text("Page 1 of 200")
    pager.get_by_role("button", name="Last").click()
    expect(pager).to_contain_text("9,951 to 10,000 of 10,000")
    objects.get_by_role("searchbox").fill("part-06001.PARQUET")
    expect(pager).to_contain_text("1 to 1 of 1")
    row = objects.locator("tbody tr")
    expect(row).to_contain_text("S3 denied access")
    for cell in (".s3az-key", ".s3az-reason"):
        assert row.locator(cell).bounding_box()["width"] >= 120
    groups.nth(2).get_by_role("button").click()
    expect(pager).to_contain_text(f"1 to 50 of {REASONS['name_refused'][1]:,}")
    objects.get_by_label("Sort by").select_option("size")
    expect(objects.locator("tbody tr").first).to_contain_text("part-08999.parquet")
    assert serious(page) == []


@pytest.mark.parametrize("window", ["420-dark", "1400-light"], indirect=True)
def test_the_way_of_the_bytes(window: Any) -> None:
    """Who fetched how much, in how many blocks, and why not the rest, each reason once and in words."""
    pages = fetched_night()
    page = window(pages, pages.address)
    rows = page.get_by_role("region", name="Way of the bytes").locator("tbody tr")
    expect(rows).to_have_count(5)
    expect(rows.first).to_contain_text("Fetched by Azure")
    expect(rows.first).to_contain_text("38,288 blocks, 112 blocks through the workers")
    expect(rows.first).to_contain_text("2.3 TiB")
    expect(rows.nth(1)).to_contain_text("ended through the workers")
    expect(rows.nth(3)).to_contain_text("S3 stores no CRC64NVME over all its bytes")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    shoot(page, "fetched-night")
    assert serious(page) == []


@pytest.mark.parametrize("window", ["420-light", "1400-dark"], indirect=True)
def test_the_history_can_be_read_by_all(window: Any) -> None:
    """axe-core finds nothing serious on it."""
    pages = bad_morning()
    page = window(pages, pages.history_address)
    expect(page.get_by_text("nightly").first).to_be_visible()
    assert serious(page) == []


@pytest.mark.parametrize("window", ["420-dark"], indirect=True)
def test_a_reason_leads_to_what_to_do(window: Any) -> None:
    """The link opens the place in the help that the package carries."""
    pages = bad_morning()
    page = window(pages, pages.address)
    for reason in ("object archived", "no receipt"):
        link = page.locator(".s3az-groups li", has_text=reason).get_by_role("link").first
        help_page = page.context.new_page()
        help_page.goto(link.get_attribute("href"))
        expect(help_page.locator(":target")).to_be_visible()
        assert serious(help_page) == []
