"""A report in a real browser: its tables sort and filter, its slides fade, nothing is loaded from elsewhere."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
from selenium.webdriver.chrome.service import Service  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.support.ui import Select  # noqa: E402

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    CHROMIUM is None or DRIVER is None, reason="no chromium and chromedriver here (Debian: chromium, chromium-driver)"
)
RECIPE = "demo-panda"
OPTIONS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--window-size=1280,900"),
    *("--disable-background-networking", "--disable-sync", "--disable-component-update", "--no-first-run"),
)


@pytest.fixture(scope="module")
def reports(every_family: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the reports of small runs."""
    return Path(shutil.copytree(every_family.root / "reports", tmp_path_factory.mktemp("browsed") / "reports"))


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for one in (*OPTIONS, f"--user-data-dir={tmp_path_factory.mktemp('browser') / 'profile'}"):
        options.add_argument(one)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture
def browser(started: Any) -> Any:
    """The browser, with an empty window of its first size and nothing in its logs."""
    started.get("about:blank")
    started.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    started.set_window_size(1280, 900)
    for kind in ("browser", "performance"):
        started.get_log(kind)
    return started


def requests(browser: Any) -> list[str]:
    """The URLs that pages asked for."""
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    return [
        one["params"]["request"]["url"]
        for one in messages
        if one["method"] == "Network.requestWillBeSent" and one["params"].get("documentURL", "").startswith("file:")
    ]


def shown_rows(browser: Any) -> list[Any]:
    return [row for row in browser.find_elements(By.CSS_SELECTOR, "#slide-table tbody tr") if row.is_displayed()]


def column(browser: Any, title: str) -> tuple[Any, int]:
    """A column's head and its place."""
    heads = browser.find_elements(By.CSS_SELECTOR, "#slide-table thead th")
    place = [" ".join(head.text.split()).rstrip("↕↑↓ ") for head in heads].index(title)
    return heads[place], place


def figures(browser: Any, place: int) -> list[float | None]:
    """The full values of a column, from the top row down."""
    found: list[float | None] = []
    for row in shown_rows(browser):
        data = row.find_elements(By.CSS_SELECTOR, f":scope > :nth-child({place + 1}) data")
        found.append(float(data[0].get_attribute("value")) if data else None)
    return found


def sorted_with_nothing_last(values: list[float | None], descending: bool) -> list[float | None]:
    known = sorted((one for one in values if one is not None), reverse=descending)
    return [*known, *[None] * (len(values) - len(known))]


def natural(name: str) -> list[tuple[bool, float, str]]:
    """The key by which slide_2 stands before slide_10."""
    parts = [part for part in re.split(r"(\d+)", name) if part]
    return [(not part.isdigit(), float(part) if part.isdigit() else 0.0, part) for part in parts]


def open_recipe(browser: Any, reports: Path) -> None:
    browser.get((reports / "index.html").as_uri())
    browser.find_element(By.LINK_TEXT, RECIPE).click()
    assert browser.current_url.endswith(f"/{RECIPE}/index.html")


def test_a_reader_sorts_filters_and_looks_at_a_slide(browser: Any, reports: Path) -> None:
    open_recipe(browser, reports)
    ids = [row.find_element(By.TAG_NAME, "th").text for row in shown_rows(browser)]
    assert len(ids) > 2

    head, place = column(browser, "pixel accuracy")
    before = figures(browser, place)
    button = head.find_element(By.TAG_NAME, "button")
    button.click()
    assert head.get_attribute("aria-sort") == "ascending"
    assert figures(browser, place) == sorted_with_nothing_last(before, descending=False)
    button.send_keys(Keys.ENTER)  # by keyboard, the other way
    assert head.get_attribute("aria-sort") == "descending"
    assert figures(browser, place) == sorted_with_nothing_last(before, descending=True)
    other, first = column(browser, "slide")
    other.find_element(By.TAG_NAME, "button").send_keys(Keys.SPACE)
    assert head.get_attribute("aria-sort") is None
    assert [row.find_element(By.TAG_NAME, "th").text for row in shown_rows(browser)] == sorted(ids, key=natural)
    assert first == 0

    field = browser.find_element(By.NAME, "text")
    field.send_keys(ids[1][:12].upper())
    assert [row.find_element(By.TAG_NAME, "th").text for row in shown_rows(browser)] == [ids[1]]
    assert browser.find_element(By.CSS_SELECTOR, "form.filter output").text == f"1 of {len(ids)} slides"
    browser.find_element(By.CSS_SELECTOR, "form.filter button[type=reset]").click()
    assert len(shown_rows(browser)) == len(ids)

    browser.find_element(By.LINK_TEXT, sorted(ids)[1]).click()
    assert browser.find_element(By.TAG_NAME, "h1").text == sorted(ids)[1]
    pictures = browser.find_elements(By.CSS_SELECTOR, ".stack img")
    assert len(pictures) >= 3  # thumbnail, truth, heatmap
    assert all(browser.execute_script("return arguments[0].naturalWidth", one) > 0 for one in pictures)
    for slider in browser.find_elements(By.CSS_SELECTOR, "input[type=range]"):
        layer = browser.find_element(By.ID, slider.get_attribute("data-layer"))
        slider.send_keys(Keys.END)
        assert float(layer.value_of_css_property("opacity")) == 1
        slider.send_keys(Keys.HOME)
        assert float(layer.value_of_css_property("opacity")) == 0
        slider.send_keys(Keys.ARROW_RIGHT)
        assert float(layer.value_of_css_property("opacity")) == pytest.approx(0.05)
    browser.find_element(By.CSS_SELECTOR, "a[rel=next]").click()
    assert browser.find_element(By.TAG_NAME, "h1").text == sorted(ids)[2]

    assert browser.get_log("browser") == []
    asked = requests(browser)
    assert len(asked) > 5
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []


def test_a_flag_leaves_the_slides_that_have_it(browser: Any, reports: Path) -> None:
    open_recipe(browser, reports)
    flags = {
        row.find_element(By.TAG_NAME, "th").text: (row.get_attribute("data-flags") or "").split()
        for row in shown_rows(browser)
    }
    known = sorted({flag for one in flags.values() for flag in one})
    boxes = browser.find_elements(By.NAME, "flag")
    assert len(boxes) == bool(known)
    for flag in known:
        Select(boxes[0]).select_by_value(flag)
        left = [row.find_element(By.TAG_NAME, "th").text for row in shown_rows(browser)]
        assert left == [slide_id for slide_id, own in flags.items() if flag in own]
    assert browser.get_log("browser") == []


def test_no_script_but_the_pages_own_runs(browser: Any, reports: Path) -> None:
    """A script that came in with a page's text is refused by the page's policy, and the browser says so."""
    page = reports / RECIPE / "index.html"
    bad = page.with_name("hostile.html")
    bad.write_text(page.read_text().replace("</main>", "<script>document.title = 'taken'</script></main>"))
    browser.get(bad.as_uri())
    assert browser.title != "taken"
    assert any("Content Security Policy" in entry["message"] for entry in browser.get_log("browser"))
    assert browser.find_elements(By.CSS_SELECTOR, "#slide-table thead button")


def test_a_phone_needs_no_sideways_scrolling(browser: Any, reports: Path) -> None:
    for page in (reports / "index.html", *sorted((reports / RECIPE).rglob("*.html"))):
        if "data_docs" in page.parts:
            continue
        metrics = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        browser.get(page.as_uri())
        wide = browser.execute_script("return document.documentElement.scrollWidth")
        assert wide <= 390, page


def test_wide_tables_take_the_window_and_scroll_within_it(browser: Any, reports: Path) -> None:
    """1400 px: the text's column is narrower, and a table that needs more than the window scrolls in its own box."""
    browser.set_window_size(1400, 900)
    ends = (
        "const b = arguments[0].getBoundingClientRect(); return [b.left, b.right, document.documentElement.clientWidth]"
    )
    for page in (reports / "index.html", reports / RECIPE / "index.html"):
        browser.get(page.as_uri())
        (box,) = browser.find_elements(By.CSS_SELECTOR, ".scroll.wide")
        left, right, window = browser.execute_script(ends, box)
        assert 0 <= left < right <= window
        needed = browser.execute_script("return arguments[0].scrollWidth", box)
        assert right - left > 1100 or needed <= right - left + 1
        assert browser.execute_script("return document.documentElement.scrollWidth") <= window
