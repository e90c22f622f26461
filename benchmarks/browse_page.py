"""The page of all images of a large set: what it costs to write, how large it is, and how soon Chromium shows it.

    python benchmarks/browse_page.py [--images 5000] [--opens 7] [--folder DIR] [--append docs/results/browse.md]

The set is made up: street-like regions of 19 classes at 320×640 with photos of noise and colour. 50 images are scored
and drawn; the others are these under other names, so records and pictures are as many and as large as real ones. The
page is opened as a file, in a browser of its own each time. Processor seconds of the page's main thread say what an
opening takes where nothing else runs; the others are those of the clock. Needs playwright and a Chromium.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import tempfile
import time
from dataclasses import replace
from datetime import date
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
from machine import processor
from playwright.sync_api import Browser, CDPSession, sync_playwright

from crispseg.evaluation import evaluate
from crispseg.evaluation.journal import RecordFile
from crispseg.labels import label_space
from crispseg.pages.browse import BrowsePage
from crispseg.pages.thumbnails import PICTURES, Thumbnails

SIZE_HW = (320, 640)
DIFFERENT = 50
COST_IMAGES = 50  # of each run that says what drawing costs
WINDOW = {"width": 1280, "height": 900}
SORT = """() => {
  const started = performance.now();
  document.getElementById("sort").dispatchEvent(new Event("input", {bubbles: true}));
  return (performance.now() - started) / 1000;
}"""
SHOWN = """() => {
  const seen = [...document.querySelectorAll('.shot img')].filter(i => i.getBoundingClientRect().top < innerHeight);
  return seen.length > 0 && seen.every(i => i.complete && i.naturalWidth > 0);
}"""


class Streets:
    """A labelled set, and what predicts it."""

    def __init__(self, images: int) -> None:
        self.label_space = label_space("cityscapes")
        self.names = self.names_of(images)
        rng = np.random.default_rng(0)
        self._made = [self._make(rng) for _ in range(min(DIFFERENT, images))]
        self._asked: dict[int, np.ndarray] = {}

    @staticmethod
    def names_of(images: int) -> list[str]:
        return [f"aachen_{index:06d}_000019" for index in range(images)]

    def __len__(self) -> int:
        return len(self.names)

    def sample(self, index: int) -> tuple[np.ndarray, np.ndarray, str]:
        image, labels, prediction = self._made[index % DIFFERENT]
        self._asked[id(image)] = prediction
        return image, labels, self.names[index]

    def __call__(self, image: np.ndarray) -> SimpleNamespace:
        return SimpleNamespace(labels=self._asked[id(image)])

    def _make(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        classes = rng.choice(19, 12, replace=False)  # as many as a street shows
        fields = [cv2.GaussianBlur(rng.standard_normal(SIZE_HW).astype(np.float32), None, 12) for _ in classes]
        labels = classes[np.argmax(fields, axis=0)].astype(np.uint8)
        labels[rng.random(SIZE_HW) < 0.01] = 255
        moved = [cv2.GaussianBlur(field, None, 3) for field in fields]
        prediction = classes[np.argmax(moved, axis=0)].astype(np.uint8)
        photo = rng.integers(0, 255, (20, 3), dtype=np.uint8)[labels % 20].astype(np.int16)
        photo += rng.integers(-12, 12, photo.shape, dtype=np.int16)
        return np.clip(photo, 0, 255).astype(np.uint8), labels, prediction


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--opens", type=int, default=7)
    parser.add_argument("--folder", type=Path, help="where the set is made; one that is there is opened only")
    parser.add_argument("--append", type=Path, metavar="FILE.md", help="write what was found to the end of this page")
    arguments = parser.parse_args()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as name:
        ratios = drawing_costs(Path(name))
        page = BrowsePage(arguments.folder or Path(name) / "all")
        if not (page.folder / page.address).exists():
            make(page, arguments.images)
        values = {
            "images": len(list(RecordFile(page.folder))),
            "scoring with pictures, as a multiple of scoring without": summary(ratios),
            "browse.html (MB)": megabytes(page.folder / page.address),
            "pictures (MB)": megabytes(*(page.folder / "browse").rglob("*.*")),
            "images.jsonl (MB)": megabytes(page.folder / "images.jsonl"),
            **opened(page.folder / page.address, arguments.opens),
        }
    lines = [
        f"{date.today():%d %B %Y}; {os.cpu_count()} cores of {processor()}, Python {platform.python_version()}, "
        f"load {load:.1f}; medians of {arguments.opens} openings, lowest and highest beside them.",
        "",
        "| | |",
        "|---|---:|",
        *(f"| {key} | {value} |" for key, value in values.items()),
    ]
    print("\n".join(lines))
    if arguments.append:
        with arguments.append.open("a", encoding="utf-8") as text:
            text.write("\n" + "\n".join(lines) + "\n")
        arguments.append.with_suffix(".json").write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n")


def drawing_costs(folder: Path) -> list[float]:
    """Processor seconds of an evaluation with pictures over those of one without, the two in turn."""
    streets, ratios = Streets(COST_IMAGES), []
    for turn in range(4):
        seconds = []
        for draws in (False, True):
            out = folder / f"{turn}{draws}"
            page = BrowsePage(out)
            started = time.process_time()
            evaluate(
                streets, streets, out=out, watch=page.draw if draws else None, report=page.write if draws else None
            )
            seconds.append(time.process_time() - started)
        ratios.append(seconds[1] / seconds[0])
    return ratios[1:]


def make(page: BrowsePage, images: int) -> None:
    """A run of so many images with its page."""
    few = Streets(DIFFERENT)
    evaluate(few, few, out=page.folder, watch=page.draw, report=page.write)
    repeat(page.folder, images)
    every = Streets(images)
    started = time.process_time()
    evaluate(every, every, out=page.folder, resume=True, report=page.write)
    print(f"the page from records and pictures that are there: {time.process_time() - started:.1f} processor seconds")


def repeat(folder: Path, images: int) -> None:
    """Make a run of so many images of one of few: their records under other names, with links to their pictures."""
    file = RecordFile(folder)
    head = file.path.read_text(encoding="utf-8").partition("\n")[0]
    thumbnails, records = Thumbnails(folder / "browse", file.settings), list(file)
    lines = [head]
    for index, name in enumerate(Streets.names_of(images)):
        old = records[index % len(records)]
        new = replace(old, name=name)
        lines.append(new.to_line())
        for kind in PICTURES if index >= len(records) else ():
            os.link(thumbnails.path(kind, thumbnails.key(old)), thumbnails.path(kind, thumbnails.key(new)))
    file.path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def opened(page: Path, times: int) -> dict[str, str]:
    """Seconds from the address to the first paint, to the cards with their pictures, and of sorting and filtering."""
    found: dict[str, list[float]] = {}
    with sync_playwright() as driver:
        for _ in range(times):
            browser = driver.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
            for title, seconds in one_opening(browser, page).items():
                found.setdefault(title, []).append(seconds)
            browser.close()
    return {title: summary(seconds) for title, seconds in found.items()}


def one_opening(browser: Browser, address: Path) -> dict[str, float]:
    page = browser.new_page(viewport=WINDOW)
    page.goto("about:blank")
    thread = page.context.new_cdp_session(page)
    thread.send("Performance.enable", {"timeDomain": "threadTicks"})
    before = busy(thread)
    started = time.perf_counter()
    page.goto(address.as_uri())
    page.wait_for_function(SHOWN, polling=5)
    shown, worked = time.perf_counter() - started, busy(thread) - before
    painted = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime / 1000")
    ready = page.evaluate("performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd / 1000")
    page.select_option("#sort", label="boundary F 1 px")
    return {
        "main thread until all pictures in view are shown (processor s)": worked,
        "first paint (s)": painted,
        "script done: first 60 cards there, sorted (s)": ready,
        "all pictures in view shown (s)": shown,
        "sorting again (s)": page.evaluate(SORT),
    }


def busy(thread: CDPSession) -> float:
    """Processor seconds of the page's main thread so far."""
    values = {entry["name"]: entry["value"] for entry in thread.send("Performance.getMetrics")["metrics"]}
    return values["TaskDuration"]


def summary(values: list[float]) -> str:
    return f"{statistics.median(values):.2f} ({min(values):.2f}–{max(values):.2f})"


def megabytes(*paths: Path) -> float:
    return round(sum(path.stat().st_size for path in paths) / 1e6, 1)


def chromium() -> str:
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        raise SystemExit("no Chromium found (Debian: apt-get install chromium)")
    return found


if __name__ == "__main__":
    main()
