"""The page of all images in a real browser: opened as a file, sorted, filtered, by keyboard and on a phone."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_browse import HOSTILE, data_of, evaluate, write_set

from crispseg.evaluation.per_image import WHOLE_IMAGE
from crispseg.pages.browse import write_comparison

playwright = pytest.importorskip("playwright.sync_api", reason="playwright drives the browser: pip install playwright")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here (Debian: apt-get install chromium)"),
]
IMAGES = 70  # more than a page's first cards
TRIED = "This document requires 'TrustedHTML' assignment"  # what a test does on purpose


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_set(tmp_path_factory.mktemp("set"), IMAGES)
    write_comparison([evaluate(folder, name) for name in ("ours", "theirs")], folder / "both")
    return folder


@pytest.fixture(scope="module")
def browser() -> Iterator:
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def page(browser, runs: Path) -> Iterator:
    """The page of one run; anything that it asks from outside, any error, and any dialog is a failure."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    wrong: list[str] = []
    page.on("request", lambda request: None if request.url.startswith("file:") else wrong.append(request.url))
    page.on("console", lambda message: None if TRIED in message.text else wrong.append(message.text))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("dialog", lambda dialog: wrong.append(dialog.message))
    page.goto((runs / "ours_scores/browse.html").as_uri())
    yield page
    page.close()
    assert wrong == []


def names(page) -> list[str]:
    return page.locator(".shot .name").all_inner_texts()


def column(data: dict, title: str, cls: int = WHOLE_IMAGE, run: int = 0) -> dict[str, int]:
    """By the name of the image, read here once more."""
    index, width = [entry["title"] for entry in data["columns"]].index(title), len(data["columns"]) + 1
    found = {}
    for image in data["images"]:
        flat = image[4 + run][1]
        rows = {flat[start]: flat[start + 1 :] for start in range(0, len(flat), width)}
        if cls in rows:
            found[image[0]] = rows[cls][index]
    return found


def test_it_opens_as_a_file_and_shows_the_worst_first(page, runs: Path):
    iou = column(data_of(runs / "ours_scores"), "IoU")
    assert page.inner_text("#count") == f"{IMAGES} images"
    assert names(page) == sorted(iou, key=iou.get)[: len(names(page))]
    assert 60 <= len(names(page)) <= IMAGES
    page.wait_for_function(
        "() => [...document.querySelectorAll('.shot img')].slice(0, 4).every(i => i.naturalWidth > 0)"
    )
    assert page.locator("#missing").is_hidden()
    page.select_option("#order", "-1")
    assert names(page)[0] == max(iou, key=iou.get)


def test_sorting_and_filtering_by_class_error_value_and_name(page, runs: Path):
    data = data_of(runs / "ours_scores")
    invented = {name: pixels for name, pixels in column(data, "class invented").items() if pixels}
    assert 0 < len(invented) < IMAGES
    page.select_option("#kind", label="class invented")
    assert page.inner_text("#count") == f"{len(invented)} of {IMAGES} images"
    assert [invented[name] for name in names(page)] == sorted(invented.values(), reverse=True)[: len(names(page))]
    page.click("button[type=reset]")
    page.wait_for_function(f"() => document.getElementById('count').textContent === '{IMAGES} images'")
    page.select_option("#class", "2")
    poles = column(data, "IoU", 2)
    assert page.inner_text("#count").split()[0] == str(len(poles))
    page.select_option("#class", "0")
    page.select_option("#taken", "2")  # sky taken for pole: what came out of the noise
    assert 0 < int(page.inner_text("#count").split()[0]) <= IMAGES
    page.click("button[type=reset]")
    page.fill("#name", "7'")
    assert sorted(names(page)) == sorted(name for name in poles | column(data, "IoU") if "7'" in name)
    page.fill("#name", "")
    iou = column(data, "IoU")
    page.fill("#high", "60")
    assert page.inner_text("#count").split()[0] == str(sum(value <= 6000 for value in iou.values()))


def test_hostile_names_are_texts(page):
    assert page.locator("#class option").nth(2).inner_text().strip() == HOSTILE.replace("\u2028", " ").strip()
    assert page.evaluate("document.querySelectorAll('b, [onerror]').length") == page.locator(".value b").count()
    page.evaluate("document.body.setAttribute('data-tried', (() => { try { document.body.innerHTML = '<b>'; } catch "
                  "(error) { return error.name; } })())")  # fmt: skip
    assert page.get_attribute("body", "data-tried") == "TypeError"  # not even our own script could


def test_by_keyboard_alone(page):
    page.locator(".shot").first.focus()
    page.keyboard.press("Enter")
    first = page.inner_text("#large-name")
    assert first == names(page)[0]
    page.keyboard.press("ArrowRight")
    assert page.inner_text("#large-name") == names(page)[1]
    page.keyboard.press("3")
    assert page.locator("#pictures img.truth").count() == page.locator("#pictures img.prediction").count() == 1
    assert page.locator("#of-wipe").is_visible()
    page.focus("#wipe")
    page.keyboard.press("Home")  # a slider's own key: all of it is prediction
    assert page.locator("#pictures img.prediction").evaluate("i => i.style.clipPath") == "inset(0px 0px 0px 0%)"
    page.keyboard.press("Escape")
    assert page.locator("#large").is_hidden()
    # The page takes the focus there when it hears of the close, which the browser tells later than the key.
    page.wait_for_function(
        "name => document.activeElement.querySelector('.name')?.textContent === name", arg=names(page)[1]
    )


def test_on_a_phone_nothing_is_wider_than_the_screen(page):
    page.set_viewport_size({"width": 360, "height": 740})
    page.reload()
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    assert page.locator("#filters").is_hidden()  # until it is unfolded
    page.click("summary")
    assert page.locator("#sort").is_visible()
    page.locator(".shot").first.click()
    assert page.locator("#large").evaluate("d => d.scrollWidth <= d.clientWidth") is True


def test_all_images_come_as_one_scrolls(page):
    page.mouse.wheel(0, 100_000)
    page.wait_for_function(f"() => document.querySelectorAll('.shot').length === {IMAGES}")
    assert page.locator("#more").is_hidden()


def test_two_runs_by_their_difference(page, runs: Path):
    page.goto((runs / "both/browse.html").as_uri())
    page.select_option("#run", "difference")
    data = data_of(runs / "both")
    ours, theirs = (column(data, "IoU", run=run) for run in (0, 1))
    change = {name: theirs[name] - ours[name] for name in ours}
    assert [change[name] for name in names(page)] == sorted(change.values())[: len(names(page))]
    assert page.locator(".shot").first.locator(".stack").count() == 2


def test_a_run_of_chosen_scores_shows_those(page, tmp_path: Path):
    page.goto((evaluate(write_set(tmp_path), scores=("iou",)) / "browse.html").as_uri())
    assert page.locator("#sort option").all_inner_texts()[:2] == ["IoU", "pixels right"]
    page.locator(".shot").first.click()
    headings = page.locator("#tables table").first.locator("thead th").all_inner_texts()
    assert headings == ["class", "IoU", "all errors"]


def test_a_missing_folder_is_said(browser, runs: Path, tmp_path: Path):
    shutil.copy(runs / "ours_scores/browse.html", tmp_path)
    page = browser.new_page()
    page.goto((tmp_path / "browse.html").as_uri())
    page.wait_for_selector("#missing", state="visible")
    page.close()
