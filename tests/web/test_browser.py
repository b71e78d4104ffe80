"""What users do in the UI, in a real browser on a real Airflow: trigger a run, watch it, see what failed, look back.

With ``S3_TO_AZURE_SCREENSHOTS=docs/images`` the documentation's pictures are taken on the way.
"""

import os
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from local_cloud.servers import LocalAzure, LocalS3
from tests.web.many_runs import SILENT, many_runs_view
from tests.web.site import ADMIN, BARE_DAG_ID, DAG_ID, EVIL_KEY, LOST_DAG_ID, READER, SLOW_TASK, Site, site

playwright = pytest.importorskip("playwright.sync_api")
expect = playwright.expect

CHROMIUM = shutil.which("chromium")
SHOTS = os.environ.get("S3_TO_AZURE_SCREENSHOTS")
WAIT_MS = 240_000

pytestmark = [
    pytest.mark.browser,
    pytest.mark.timeout(900),
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed: tests/install_tools.sh"),
]


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory, s3_server: LocalS3, azure_server: LocalAzure) -> Iterator[Site]:
    """Run the site."""
    with site(tmp_path_factory.mktemp("site"), s3_server, azure_server) as there:
        yield there


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Run Chromium; its sandbox does not work for root."""
    with playwright.sync_playwright() as machine:
        browser = machine.chromium.launch(executable_path=CHROMIUM, chromium_sandbox=os.geteuid() != 0)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Any, there: Site) -> Iterator[Any]:
    """Open a window; an error in any script fails the test."""
    context = browser.new_context(viewport={"width": 1440, "height": 1000}, timezone_id="UTC")
    sign_in(context, there, ADMIN)
    page = context.new_page()
    page.set_default_timeout(60_000)
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    yield page
    if SHOTS:
        page.screenshot(path=Path(SHOTS) / "last-seen.png")
    context.close()
    assert errors == []


def sign_in(context: Any, there: Site, user: dict[str, str]) -> None:
    """Give the browser the session cookie that Airflow's login sets."""
    cookie = {"name": "_token", "value": there.airflow.token(user), "url": there.airflow.url}
    context.add_cookies([cookie | {"httpOnly": True, "sameSite": "Lax"}])


def open_first_run(page: Any, there: Site) -> str:
    """Open the Migration page of the first run, in which an object failed; return the run's id."""
    runs = there.airflow.get(f"dags/{DAG_ID}/dagRuns", order_by="start_date", limit=1)["dag_runs"]
    run_id = str(runs[0]["dag_run_id"])
    page.goto(f"{there.airflow.url}/dags/{DAG_ID}/runs/{quote(run_id, safe='')}/plugin/s3_to_azure_migration")
    return run_id


def shoot(page: Any, name: str, *, width: int = 1440, height: int = 1000, schemes: Sequence[str] = ("light",)) -> None:
    """Take screenshots, if they are requested."""
    if not SHOTS:
        return
    page.set_viewport_size({"width": width, "height": height})
    for scheme in schemes:
        page.evaluate("name => { document.documentElement.className = name }", scheme)
        page.wait_for_timeout(700)
        page.screenshot(path=Path(SHOTS) / f"{name}-{scheme}.png")
    page.evaluate("() => { document.documentElement.className = 'light' }")
    page.set_viewport_size({"width": 1440, "height": 1000})


def open_form(page: Any, there: Site) -> Any:
    """Open the trigger form with its sections."""
    page.goto(f"{there.airflow.url}/dags/{DAG_ID}")
    page.get_by_role("button", name="Trigger Dag").click()
    return page.get_by_role("dialog")


def send(form: Any) -> None:
    """Press the form's button by keyboard, because Airflow's message of an earlier refusal covers it for a while."""
    form.get_by_role("button", name="Trigger", exact=True).press("Enter")


def trigger(page: Any, form: Any) -> str:
    """Send the form; return the run's id from the page that follows."""
    send(form)
    page.wait_for_url(re.compile(r"/runs/manual__"))
    return str(page.url).split("/runs/")[1].split("/")[0].split("?")[0]


def done_bytes(page: Any) -> int:
    """Return the large bar's percentage."""
    return int(page.get_by_role("progressbar", name="Bytes in Azure").get_attribute("aria-valuenow"))


def wait_for_share(page: Any, least: int) -> None:
    """Wait until at least this percentage is done."""
    page.wait_for_function(
        "least => Number(document.querySelector('[role=progressbar].s3az-large')?.ariaValueNow ?? 0) >= least",
        arg=least,
        timeout=WAIT_MS,
    )


def test_trigger_watch_and_read_why(page: Any, there: Site) -> None:
    """A wrong value is refused in the form; the page advances, survives a killed task, and names what failed."""
    form = open_form(page, there)
    limit = form.locator("#element_bandwidth_limit")
    limit.fill("as fast as it can")
    send(form)
    sentence = re.compile(r"does not match '\(\?#Write bytes per second, such as 50 MB/s")
    expect(form.get_by_text(sentence)).to_be_visible()
    limit.fill("3 MiB/s")
    run_id = trigger(page, form)

    page.get_by_role("link", name="Migration", exact=True).click()
    wait_for_share(page, 20)
    first = done_bytes(page)
    assert first < 100
    shoot(page, "migration-running", height=1420, schemes=("dark", "light"))
    # The slow task is killed, as it is if a user clears it or its worker is lost.
    there.clear_task(run_id, SLOW_TASK)
    bar = page.get_by_role("progressbar", name=f"Task {SLOW_TASK}", exact=True)
    row = page.locator(".s3az tr").filter(has=bar)
    expect(row.locator("td").nth(6)).to_have_text("2", timeout=WAIT_MS)
    expect(row.locator("td").nth(5)).to_contain_text("MiB", timeout=WAIT_MS)
    shoot(page, "migration-resumed", height=1420)

    verdict = "1 of 45 objects failed, for 1 reason; 44 copied"
    expect(page.get_by_role("heading", name=re.compile(verdict))).to_be_visible(timeout=WAIT_MS)
    # 45 listed: the archived one failed, and its name is text, not a picture.
    expect(page.locator(".s3az-equation")).to_contain_text("45 listed = 44 copied + 0 unchanged + 0 skipped + 1 failed")
    reasons = page.get_by_role("region", name="Failures by reason")
    expect(reasons).to_contain_text("object archived")
    expect(reasons).to_contain_text("What to do:")
    shoot(page, "migration-ended", height=2500)
    reasons.get_by_role("button", name="Show the object").click()
    # The API server reads it from the report's file.
    expect(page.get_by_text(EVIL_KEY, exact=True)).to_be_visible()
    objects = page.get_by_role("region", name="Failed objects")
    expect(objects.get_by_role("navigation")).to_contain_text("1 to 1 of 1")
    expect(objects).to_contain_text("3 bytes")
    expect(objects.locator(".s3az-notice")).to_have_count(0)
    expect(page.get_by_label("Settings of this run")).to_contain_text("bandwidth limit3 MiB/s")
    expect(page.locator(".s3az-cause")).to_have_count(0)
    verification = page.get_by_role("region", name="Verification")
    for level in ("crc64nvme", "crc32c"):
        expect(verification.get_by_text(level, exact=True)).to_be_visible()
    assert page.locator(".s3az img").count() == 0
    assert "owned" not in page.title()

    objects.get_by_role("link").click()
    page.wait_for_url(re.compile(r"/tasks/copy/mapped/\d+\?try_number=\d"))
    expect(page.get_by_text("is archived and cannot be read").first).to_be_visible()


def test_form_opens_with_all_fields(page: Any, there: Site) -> None:
    """Nothing is closed: source and destination first, every choice in words, and help without a file's name."""
    form = open_form(page, there)
    source = f"This DAG copies from s3://{there.bucket}/nightly/ to az://"
    shown = ("Leave out keys that match", "such as 24h or 7d", "The weakest verification level", "such as 50 MB/s")
    for text in (source, *shown, "auto: the strongest that S3's checksums allow"):
        expect(form.get_by_text(text)).to_be_visible()
    expect(form.get_by_text("docs/")).to_have_count(0)
    shoot(page, "trigger-form", height=1900)
    form.locator("#element_integrity").get_by_role("combobox").press("ArrowDown")
    for text in ("transport: proven from the worker to Azure at least", "readback: as auto, then read each blob back"):
        expect(page.get_by_text(text)).to_be_visible()


def test_trigger_again_and_look_back(page: Any, there: Site) -> None:
    """A run with filters succeeds and is triggered again from its page; the history shows all runs."""
    bare_run_id = there.airflow.trigger(BARE_DAG_ID, {})
    form = open_form(page, there)
    form.locator("#element_exclude").fill("*/archive/*")
    there.put("tables/part-100.parquet", 30 * 1024**2)
    run_id = trigger(page, form)
    there.wait_for_end(run_id)

    page.goto(f"{there.airflow.url}/dags/{DAG_ID}/runs/{run_id}")
    page.get_by_role("button", name="Trigger Dag").click()
    page.get_by_role("menuitem", name="Trigger again with this config").click()
    form = page.get_by_role("dialog")
    expect(form.locator("#element_exclude")).to_have_value("*/archive/*")
    there.put("media/video-9.mp4", 40 * 1024**2, ChecksumAlgorithm="CRC64NVME")
    send(form)
    # The UI stays on the old run's page.
    expect(page.get_by_text("Dag Run Triggered").first).to_be_visible()
    again = there.newest_run()
    assert again["conf"]["exclude"] == ["*/archive/*"]
    there.wait_for_end(again["dag_run_id"])

    page.goto(there.airflow.url)
    page.get_by_role("button", name="Browse").click()
    page.get_by_role("menuitem", name="Migrations").click()
    expect(page.get_by_role("heading", name="S3 to Azure migrations")).to_be_visible()
    there.wait_for_end(bare_run_id, BARE_DAG_ID)
    page.reload()
    runs = page.get_by_role("region", name="Runs", exact=True)
    rows = runs.locator("tbody tr")
    expect(rows.filter(has_text="success")).to_have_count(3)
    expect(rows.filter(has_text=BARE_DAG_ID)).to_contain_text("no report, 1 copy task")
    standing = page.get_by_role("region", name="Migrations").locator("tbody tr")
    expect(standing.filter(has_text=DAG_ID)).to_contain_text("less than a day ago")
    expect(page.get_by_role("region", name="Failures by reason")).to_contain_text("object archived")
    rows.filter(has_text=DAG_ID).first.get_by_role("link").click()
    expect(page.get_by_role("heading", name="objects are accounted for: 1 copied and proven")).to_be_visible()
    expect(page.locator(".s3az-equation")).to_contain_text("1 copied")


def test_the_history_as_it_is_chosen(page: Any, there: Site) -> None:
    """Filters and order are kept in the address; the table is saved as it is shown; it fits a narrow window."""
    page.goto(f"{there.airflow.url}/plugin/s3_to_azure_history")
    runs = page.get_by_role("region", name="Runs", exact=True)
    rows = runs.locator("tbody tr")
    page.get_by_label("DAG", exact=True).select_option(DAG_ID)
    expect(rows).to_have_count(3)
    runs.get_by_role("button", name="Failed 1").click()
    expect(rows).to_have_count(1)
    with page.expect_download() as saved:
        runs.get_by_role("button", name="Save as CSV").click()
    header, row = saved.value.path().read_text().splitlines()
    assert header.startswith('"started_at","dag_id","run_id","state"')
    assert f'"{DAG_ID}"' in row
    # The address keeps the choice.
    page.reload()
    expect(rows).to_have_count(1)
    runs.get_by_role("button", name="All 3").click()
    runs.get_by_role("button", name="Copied").click()
    expect(runs.get_by_role("columnheader", name="Copied")).to_have_attribute("aria-sort", "descending")
    expect(rows.first).to_contain_text("failed")
    page.set_viewport_size({"width": 420, "height": 900})
    assert page.evaluate("document.querySelector('.s3az').scrollWidth <= document.querySelector('.s3az').clientWidth")


@pytest.mark.parametrize("count", [12, 400])
def test_a_history_of_many_runs(page: Any, there: Site, count: int) -> None:
    """It is read page by page, fits wide and narrow windows, and a day of the chart chooses its runs."""
    page.route("**/s3_to_azure/api/history?*", lambda route: route.fulfill(json=many_runs_view(count)))
    page.goto(f"{there.airflow.url}/plugin/s3_to_azure_history?days=90")
    standing = page.get_by_role("region", name="Migrations").locator("tbody tr")
    expect(standing).to_have_count(6)
    expect(standing.filter(has_text=SILENT)).to_contain_text("none in 90 days")
    runs = page.get_by_role("region", name="Runs", exact=True)
    rows = runs.locator("tbody tr")
    expect(rows).to_have_count(min(count, 25))
    name = "history" if count == 400 else f"history-{count}"
    shoot(page, name, height=1250, schemes=("dark", "light"))
    for width in (420, 1440):
        page.set_viewport_size({"width": width, "height": 900})
        overflow = "(all => all.filter(it => it.scrollWidth > it.clientWidth + 1).map(it => it.className))"
        assert page.evaluate(f"{overflow}([...document.querySelectorAll('.s3az, .s3az-stacked')])") == []
        if width < 1000:
            shoot(page, f"{name}-narrow", width=width, height=1900, schemes=("dark", "light"))
    if count > 25:
        runs.get_by_role("button", name="Next").click()
        expect(runs.get_by_role("status")).to_have_text("Page 2 of 16")
        page.locator(".s3az-run").first.click()
        expect(runs.get_by_role("button", name=re.compile("show all days$"))).to_be_visible()
        expect(runs.get_by_role("status")).to_have_count(0)


def test_keyboard_and_reader(page: Any, there: Site) -> None:
    """Every control has a name and works by keyboard; changes are announced politely."""
    open_first_run(page, there)
    expect(page.get_by_role("heading", name="1 of 45 objects failed")).to_be_visible()
    assert page.locator(".s3az [aria-live=polite]").count() == 1
    for bar in page.get_by_role("progressbar").all():
        assert bar.get_attribute("aria-label")
        assert bar.get_attribute("aria-valuetext")
    done = page.get_by_role("group", name="Which tasks to show").get_by_role("button", name="Done")
    done.focus()
    page.keyboard.press("Enter")
    expect(done).to_have_attribute("aria-pressed", "true")
    expect(page.get_by_role("region", name="Tasks", exact=True).get_by_text("failed", exact=True)).to_have_count(0)
    for element in page.locator(".s3az :is(a, button)").all():
        assert element.evaluate("it => (it.ariaLabel || it.innerText).trim()")


def test_other_runs_say_so(page: Any, there: Site) -> None:
    """The tab is on the runs of every DAG, so it says if there is nothing to show."""
    page.goto(f"{there.airflow.url}/dags/none/runs/none/plugin/s3_to_azure_migration")
    expect(page.get_by_text("This run does not exist.")).to_be_visible()


def test_what_is_no_objects_failure_says_why(page: Any, there: Site) -> None:
    """A container that does not exist: the task's own words, and what to do; no object is blamed."""
    run_id = there.airflow.trigger(LOST_DAG_ID, {"dry_run": True})
    for _ in range(120):
        if there.airflow.state(LOST_DAG_ID, run_id) == "failed":
            break
        page.wait_for_timeout(500)
    page.goto(f"{there.airflow.url}/dags/{LOST_DAG_ID}/runs/{quote(run_id, safe='')}/plugin/s3_to_azure_migration")
    expect(page.get_by_role("heading", name=re.compile("The task wait_for_objects failed"))).to_be_visible()
    cause = page.locator(".s3az-cause").first
    expect(cause).to_contain_text("container 'not-there' does not exist in this account. Create it")
    assert page.get_by_role("region", name="Failures by reason").count() == 0
    shoot(page, "migration-cause", height=640)
    cause.get_by_role("link", name="Read its log").click()
    page.wait_for_url(re.compile(r"/tasks/wait_for_objects\?try_number=1"))


def test_a_reader_may_look_only(page: Any, there: Site) -> None:
    """The buttons are off and say why; Airflow refuses the same request, and one that another site sends."""
    sign_in(page.context, there, READER)
    run_id = open_first_run(page, there)
    actions = page.get_by_role("region", name="Actions")
    for name in ("Retry failed", "Run again"):
        expect(actions.get_by_role("button", name=name)).to_be_disabled()
    expect(actions).to_contain_text("You do not have the permission to clear this DAG's tasks or to start runs")
    clear = f"{there.airflow.url}/api/v2/dags/{DAG_ID}/clearTaskInstances"
    post = """async ([url, body, type]) => {
        const headers = {"Content-Type": type};
        const options = {method: "POST", body, headers, credentials: "include", mode: type ? "cors" : "no-cors"};
        return (await fetch(url, options).catch(() => ({status: "not sent"}))).status;
    }"""
    body = f'{{"dag_run_id": "{run_id}", "dry_run": false, "only_failed": false}}'
    assert page.evaluate(post, [clear, body, "application/json"]) == 403
    # The browser sends the session of one who may clear tasks with no request of another site.
    sign_in(page.context, there, ADMIN)
    page.goto(f"{there.airflow.url.replace('127.0.0.1', 'localhost')}/s3_to_azure/static/format.js")
    assert page.evaluate(post, [clear, body, "application/json"]) == "not sent"
    assert page.evaluate(post, [clear, body, ""]) == 0
    assert there.airflow.state(DAG_ID, run_id) == "failed"


def test_retry_what_failed(page: Any, there: Site) -> None:
    """Once the cause is mended, the button makes the run succeed; running again asks first too."""
    run_id = open_first_run(page, there)
    actions = page.get_by_role("region", name="Actions")
    dialog = page.get_by_role("dialog")
    there.s3.put_object(Bucket=there.bucket, Key=EVIL_KEY, Body=b"old")
    actions.get_by_role("button", name="Retry failed").click()
    expect(dialog.get_by_role("listitem")).to_contain_text(["copy", "report", "check_report"])
    shoot(page, "migration-retry", height=700)
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    assert there.airflow.state(DAG_ID, run_id) == "failed"

    actions.get_by_role("button", name="Retry failed").click()
    dialog.get_by_role("button", name="Clear 3 tasks").click()
    expect(actions).to_contain_text("Airflow has cleared 3 tasks and runs them again.")
    there.wait_for_end(run_id)
    assert there.airflow.state(DAG_ID, run_id) == "success"
    page.reload()
    expect(page.locator(".s3az-equation")).to_contain_text("45 copied + 0 unchanged + 0 skipped + 0 failed")
    expect(actions.get_by_role("button", name="Retry failed")).to_have_count(0)

    actions.get_by_role("button", name="Run again").click()
    expect(dialog.locator("pre")).to_contain_text('"bandwidth_limit": "3 MiB/s"')
    dialog.get_by_role("button", name="Start the run").click()
    started = actions.get_by_role("link", name=re.compile("^manual__"))
    expect(started).to_be_visible()
    again = there.newest_run()
    assert (again["dag_run_id"], again["conf"]["bandwidth_limit"]) == (started.inner_text(), "3 MiB/s")
