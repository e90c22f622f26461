"""The page in a real browser: images, views, comparing, pixels, labels, downloads, refusals, a phone, the keyboard."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny import HOSTILE, SPACE, Server

from crispseg.io import write_png

playwright = pytest.importorskip("playwright.sync_api", reason="playwright drives the browser: pip install playwright")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here (Debian: apt-get install chromium)"),
]
SHOWN = "() => { const all = [...document.querySelectorAll('#canvas img')]; return all.length > 0 && all.every(i => i.complete && i.naturalWidth > 0); }"  # noqa: E501
READY = "() => !document.getElementById('models').textContent.includes('loading')"
NAME = "street '\"<b>&.png"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.end()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    picture = np.zeros((120, 160, 3), np.uint8)
    picture[30:90, 40:120] = (250, 200, 120)
    write_png(folder / NAME, picture)
    write_png(folder / "labels.png", np.where(picture[..., 0] > 0, 9, 4).astype(np.uint8))
    write_png(folder / "small.png", np.full((9, 9), 4, np.uint8))
    (folder / "broken.png").write_bytes((folder / NAME).read_bytes()[:80])
    (folder / "huge.png").write_bytes(b"x" * 400_001)
    Image.new("1", (2000, 2000)).save(folder / "many.png")
    return folder


@pytest.fixture(scope="module")
def browser() -> Iterator:
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def page(browser, server: Server) -> Iterator:
    """Anything that the page asks from outside, any error of its script, and any dialog is a failure."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.set_default_timeout(60_000)
    wrong: list[str] = []
    own = (server.url, "data:")
    page.on("request", lambda request: None if request.url.startswith(own) else wrong.append(request.url))
    page.on("console", lambda message: None if "status of 4" in message.text else wrong.append(message.text))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("dialog", lambda dialog: wrong.append(dialog.message))
    page.goto(server.url)
    page.wait_for_function(READY)
    yield page
    page.close()
    assert wrong == []


@pytest.fixture
def opened(page, files: Path):
    """With an image on it."""
    page.set_input_files("#file", files / NAME)
    page.wait_for_selector("#pixel", state="visible")
    page.wait_for_function(SHOWN)
    return page


def choose(page, name: str) -> None:
    page.locator("#views").get_by_text(name, exact=True).click()
    page.wait_for_function(SHOWN)


def said(page, words: str) -> None:
    page.wait_for_function("words => document.getElementById('status').textContent.includes(words)", arg=words)


def pixels(page, key: int) -> list[int]:
    """The colour in the middle of a layer's upper picture, as the browser has it."""
    return page.evaluate(
        """key => {
          const image = [...document.querySelectorAll('.layer')][key].lastElementChild;
          const canvas = Object.assign(document.createElement('canvas'), {width: image.naturalWidth, height: image.naturalHeight});
          const context = canvas.getContext('2d');
          context.drawImage(image, 0, 0);
          return [...context.getImageData(image.naturalWidth / 2, image.naturalHeight / 2, 1, 1).data].slice(0, 3);
        }""",  # noqa: E501
        key,
    )


def test_an_image_is_seen_by_all_models_beside_each_other(opened):
    said(opened, f"{NAME}: seen in")
    assert opened.locator(".layer").count() == opened.locator(".names").count() == 3
    assert opened.locator("#dividers input").count() == 2
    assert opened.locator("#sources label").all_inner_texts() == ["gff", "bright", "decoupled", "image"]
    assert opened.inner_text("#size") == "160×120 pixels"
    assert opened.locator("#legend li").nth(1).inner_text() == HOSTILE
    assert opened.evaluate("document.querySelectorAll('[onerror], #status b').length") == 0


def test_every_view_can_be_switched_to_and_says_what_it_shows(opened):
    titles = opened.locator("#views label").all_inner_texts()
    assert titles[:4] == ["Overlay", "Mask", "Outlines", "Confidence"]
    assert {"Gate of level 1", "Boundaries", "Flow", "Body"} < set(titles)
    for index, title in enumerate(titles):
        opened.locator("#views label").nth(index).click()
        opened.wait_for_function(SHOWN)
        assert opened.inner_text("#view-title") == title
        assert opened.inner_text("#note") != ""
        assert opened.locator("#of-strength").is_visible() == (title == "Overlay")
        assert opened.locator("#wheel").is_visible() == (title == "Flow")
    choose(opened, "Mask")
    assert pixels(opened, 1) == [200, 0, 0]  # the bright model, of the bright middle
    choose(opened, "Gate of level 1")
    assert "bright has no view “Gate of level 1”, so the image is shown; it has Overlay" in opened.inner_text("#note")
    assert pixels(opened, 1) == [250, 200, 120]


def test_comparing_by_sliders_and_by_dragging(opened):
    clip = "index => [...document.querySelectorAll('.layer')][index].style.clipPath"
    width = opened.evaluate("document.getElementById('canvas').clientWidth")
    opened.focus("#dividers input >> nth=0")
    opened.keyboard.press("Home")
    assert opened.evaluate(clip, 0) == f"inset(0px {width}px 0px 0px)"
    opened.keyboard.press("End")  # it pushes the other border before it
    assert opened.evaluate(clip, 0) == "inset(0px)"
    assert [opened.input_value(f"#dividers input >> nth={index}") for index in (0, 1)] == ["100", "100"]
    opened.uncheck("#sources input >> nth=2")
    opened.uncheck("#sources input >> nth=1")
    assert opened.locator(".layer").count() == 1
    opened.check("#sources input[value=photo]")
    assert opened.locator(".names").all_inner_texts() == ["gff", "image"]
    box = opened.locator("#stage").bounding_box()
    handle = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    opened.mouse.move(*handle)
    opened.mouse.down()
    opened.mouse.move(handle[0] - box["width"] / 4, handle[1])
    opened.mouse.up()
    assert abs(float(opened.input_value("#dividers input")) - 25) < 1
    opened.focus("#strength")
    opened.keyboard.press("End")
    assert opened.locator(".drawn").first.evaluate("image => image.style.opacity") == "1"


def test_a_click_shows_the_classes_of_that_pixel_also_when_it_is_large(opened):
    scale = int(opened.inner_text("#zoom").split()[0]) / 100
    opened.locator("#canvas").click(position={"x": 2.5 * scale, "y": 2.5 * scale})
    opened.wait_for_selector("#pixel table")
    assert "Column 2, row 2; colour 0, 0, 0" in opened.inner_text("#pixel caption")
    for _ in range(4):
        opened.click("#in")
    assert opened.inner_text("#zoom") == "3200 %"
    scale = int(opened.inner_text("#zoom").split()[0]) / 100
    opened.locator("#stage").click(position={"x": 3 * scale + 2, "y": 2 * scale + 2})
    opened.wait_for_function("() => document.getElementById('pixel').innerText.includes('Column 3, row 2')")
    rows = opened.locator("#pixel tbody tr")
    assert rows.count() == SPACE.num_classes
    column = [float(cells[1]) for cells in (row.split("\t")[1:] for row in rows.all_inner_texts())]
    assert sorted(column) == [0.0, 10.0, 90.0]  # the bright model, of a dark pixel
    mark = opened.locator(".mark").bounding_box()
    assert abs(mark["width"] - scale) < 1
    opened.click("#fit")
    assert opened.locator("#stage").evaluate("stage => stage.scrollWidth <= stage.clientWidth")


def test_a_label_file_brings_errors_truth_and_scores(opened, files: Path):
    opened.set_input_files("#label", files / "small.png")
    said(opened, "small.png: the label file is 9×9, the image 120×160")
    opened.set_input_files("#label", files / "labels.png")
    said(opened, "labels.png: read")
    assert "truth" in opened.locator("#sources label").all_inner_texts()
    choose(opened, "Errors")
    assert pixels(opened, 1) == [38, 92, 72]  # the bright model is right
    scores = dict(zip(opened.locator("#scores tbody th").all_inner_texts(),
                      opened.locator("#scores tbody tr").all_inner_texts(), strict=True))  # fmt: skip
    assert scores["mean IoU"].split("\t")[2] == "100.0"
    opened.locator("#canvas").click(position={"x": 5, "y": 5})
    opened.wait_for_selector("#pixel caption")
    assert "Truth: dark." in opened.inner_text("#pixel caption")


def test_downloads_are_what_is_seen(opened, files: Path, tmp_path: Path):
    opened.set_input_files("#label", files / "labels.png")
    said(opened, "labels.png: read")
    choose(opened, "Mask")
    links = opened.locator("#downloads a")
    found = {}
    for index in range(links.count()):
        with opened.expect_download() as download:
            links.nth(index).click()
        path = tmp_path / str(index)
        download.value.save_as(path)
        found[links.nth(index).inner_text()] = path
    mask = np.array(Image.open(found["Mask, bright (PNG)"]))
    ids = np.array(Image.open(found["Label ids, bright (PNG)"]))
    assert (mask[60, 80].tolist(), mask[0, 0].tolist()) == ([200, 0, 0], [10, 20, 30])
    assert (ids[60, 80], ids[0, 0]) == (9, 4)
    scores = json.loads(found["Scores (JSON)"].read_text(encoding="utf-8"))
    assert list(scores) == ["gff", "bright", "decoupled"]
    assert scores["bright"]["pixel_accuracy"] == 1


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("broken.png", "broken.png: the image: broken or truncated image"),
        ("huge.png", "huge.png: 0.4 MB found, at most 0.4 MB expected; choose a smaller file"),
        ("many.png", "many.png: the image: 4.0 million pixels found, at most 1.0 million expected"),
    ],
)
def test_files_that_cannot_be_taken_are_said_and_what_was_there_stays(opened, files: Path, name, words):
    opened.set_input_files("#file", files / name)
    said(opened, words)
    assert opened.locator("#status.bad").count() == 1
    assert opened.locator("#work").is_visible()


def test_an_example_and_a_dropped_file(page, files: Path):
    page.click("[data-example='0']")
    said(page, "a drawn street: seen in")
    assert page.inner_text("#size") == "480×360 pixels"
    data = page.evaluate_handle("""() => {
      const data = new DataTransfer();
      data.items.add(new File(['no image'], 'notes.txt'));
      return data;
    }""")
    page.dispatch_event("body", "drop", {"dataTransfer": data})
    said(page, "notes.txt: the image: not an image that can be read")


def test_by_keyboard_alone(page):
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "file"
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_selector("#views input")
    page.wait_for_function(SHOWN)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.name") == "view"
    page.keyboard.press("ArrowRight")
    assert page.inner_text("#view-title") == "Mask"
    while page.evaluate("document.activeElement.id") != "stage":
        page.keyboard.press("Tab")
    page.keyboard.press("ArrowDown")
    page.wait_for_function("() => document.getElementById('pixel').innerText.includes('Column 240, row 181')")
    page.keyboard.press("Shift+ArrowLeft")
    page.wait_for_function("() => document.getElementById('pixel').innerText.includes('Column 230, row 181')")
    before = page.inner_text("#zoom")
    page.keyboard.press("+")
    assert page.inner_text("#zoom") != before
    page.keyboard.press("0")
    assert page.inner_text("#zoom") == before


def test_on_a_phone_nothing_is_wider_than_the_screen(page, files: Path):
    page.set_viewport_size({"width": 360, "height": 740})
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    page.set_input_files("#file", files / NAME)
    page.wait_for_selector("#views input")
    page.wait_for_function(SHOWN)
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    page.locator("#canvas").click()
    page.wait_for_selector("#pixel table")
    assert page.evaluate("document.documentElement.scrollWidth") == 360


def test_what_the_server_let_go_is_sent_again(opened):
    opened.evaluate("() => { state.image.id = 'gone'; }")
    opened.locator("#canvas").click(position={"x": 9, "y": 9})
    opened.wait_for_function("() => state.image.id !== 'gone'")
    opened.wait_for_selector("#pixel table")


def test_a_server_that_has_ended_is_said(browser, files: Path):
    server = Server()
    page = browser.new_page()
    page.goto(server.url)
    page.wait_for_function(READY)
    server.end()
    page.set_input_files("#file", files / NAME)
    said(page, "The server did not answer")
    page.close()
