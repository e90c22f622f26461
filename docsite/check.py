"""Check a built site: `python docsite/check.py`. No link leads nowhere, nothing is loaded from elsewhere, all is there.

Where Playwright and a Chromium are, pages are opened in it as well, at desktop and phone width.
"""

from __future__ import annotations

import ast
import re
import shutil
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).parents[1]
SITE = ROOT / "site"
OPENED = ("index", "tutorials/first-model", "systems/gff", "reference/commands", "reference/labels", "api/metrics")
WIDTHS_PX = (1280, 390)


class Page(HTMLParser):
    """What a page links to, loads, and offers as anchors."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """See `HTMLParser`."""
        values = {name: value or "" for name, value in attrs}
        self.anchors.update(values[name] for name in ("id", "name") if name in values)
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        elif tag == "link" and values.get("rel") not in ("canonical", "prev", "next"):
            self.loaded.append(values.get("href", ""))
        elif "src" in values:
            self.loaded.append(values["src"])


def problems(site: Path) -> list[str]:
    """What is wrong, a line each."""
    pages = {path: Page(path.read_text(encoding="utf-8")) for path in sorted(site.rglob("*.html"))}
    found = []
    for path, page in pages.items():
        if path.name == "404.html":  # its links are those of the site's root, wherever it is
            continue
        where = path.relative_to(site)
        found += [f"{where}: loads {one}" for one in page.loaded if urlsplit(one).netloc]
        for link in [*page.links, *page.loaded]:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            target = target / "index.html" if target.is_dir() else target
            if not target.is_file():
                found.append(f"{where}: {link} leads nowhere")
            elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].anchors:
                found.append(f"{where}: {link} has no such anchor")
    described = {anchor.rpartition(".")[2] for anchor in pages[site / "api/crispseg.html"].anchors}
    found += [f"api/crispseg.html: {name} is missing" for name in public_names() - described]
    for path in sorted(site.rglob("*.css")):
        outside = re.findall(
            r"url\(\s*[\"']?(https?:[^)]*)|@import\s*[\"']?(https?:\S*)", path.read_text(encoding="utf-8")
        )
        found += [f"{path.relative_to(site)}: loads {one}" for pair in outside for one in pair if one]
    return sorted(set(found))


def public_names() -> set[str]:
    """What `import crispseg` offers, but for packages, which have pages of their own."""
    text = (ROOT / "src/crispseg/__init__.py").read_text(encoding="utf-8")
    assigned = [node for node in ast.parse(text).body if isinstance(node, ast.Assign)]
    (names,) = (ast.literal_eval(node.value) for node in assigned if ast.unparse(node.targets[0]) == "__all__")
    return {name for name in names if not (ROOT / "src/crispseg" / name).is_dir()}


def problems_in_browser(site: Path, chromium: str) -> list[str]:
    """What a page asks from outside, an error, and what is wider than the screen."""
    from playwright.sync_api import sync_playwright

    found: list[str] = []
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for name in OPENED:
            for width in WIDTHS_PX:
                page = browser.new_page(viewport={"width": width, "height": 800})
                asked: list[str] = []
                page.on("request", lambda request, asked=asked: asked.append(request.url))
                page.on("pageerror", lambda error, asked=asked: asked.append(str(error)))
                page.goto((site / f"{name}.html").as_uri())
                page.wait_for_load_state("networkidle")
                found += [
                    f"{name} at {width} px: {one}" for one in asked if not one.startswith(("file:", "data:", "blob:"))
                ]
                if page.evaluate("document.documentElement.scrollWidth") > width:
                    found.append(f"{name}: wider than {width} px")
                page.close()
        browser.close()
    return found


def main() -> int:
    """Print what is wrong; exit status 1 if anything is."""
    found = problems(SITE)
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    try:
        import playwright  # noqa: F401
    except ImportError:
        chromium = None
    if chromium:
        found += problems_in_browser(SITE, chromium)
    else:
        print("no Playwright or no Chromium here: pages were not opened in a browser")
    print("\n".join(found) or "every link leads somewhere, and nothing is loaded from elsewhere")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
