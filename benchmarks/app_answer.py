"""What an answer of `crispseg app` costs over the network alone, and how soon its page is there.

    python benchmarks/app_answer.py [--model models/camvid] [--repeats 15] [--append docs/results/app.md]

Answers are taken from the application in this process, without a socket: a 480×360 PNG is sent; the image, the mask and
what there is to know come back, which is what a person sees first. `Predictor` gets the same pixels. The two in turn,
warm, in seconds of the clock and of the processor; medians of the ratios, lowest and highest beside them. Then the
command is started anew and its page opened in Chromium: seconds from the command to the first paint, and to the model.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from urllib.request import urlopen

import numpy as np
import torch
from browse_page import chromium
from machine import processor
from playwright.sync_api import sync_playwright
from starlette.testclient import TestClient

import crispseg
from crispseg.io.png_writing import encode_png
from crispseg.streets import make_street
from crispseg.studio import make_studio
from crispseg.studio.models import Models

SIZE_HW = (360, 480)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="models/camvid")
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--starts", type=int, default=3)
    parser.add_argument("--append", type=Path, metavar="FILE.md", help="write what was found to the end of this page")
    arguments = parser.parse_args()
    load = os.getloadavg()[0]
    values = {**answers(arguments.model, arguments.repeats), **starts(arguments.model, arguments.starts)}
    lines = [
        f"{date.today():%d %B %Y}; {os.cpu_count()} cores of {processor()}, {torch.get_num_threads()} threads of "
        f"PyTorch {torch.__version__}, Python {platform.python_version()}, load {load:.1f} at the start and "
        f"{os.getloadavg()[0]:.1f} at the end.",
        "",
        "| | |",
        "|---|---:|",
        *(f"| {key} | {value} |" for key, value in values.items()),
    ]
    print("\n".join(lines))
    if arguments.append:
        with arguments.append.open("a", encoding="utf-8") as text:
            text.write("\n" + "\n".join(lines) + "\n")


def answers(path: str, repeats: int) -> dict[str, str]:
    model = crispseg.load_model(path)
    models = Models({"model": lambda: model})
    models.load()
    predictor = crispseg.Predictor(model)
    image = make_street(7, SIZE_HW)[0]
    png = encode_png(image)
    with TestClient(make_studio(models)) as client:

        def answer() -> None:
            told = client.post("/images", content=png).json()
            for rest in ("photo.png", "models/0/views/1.png"):
                assert client.get(f"/images/{told['id']}/{rest}").status_code == 200

        works: dict[str, Callable[[], object]] = {"predictor": lambda: predictor(image), "answer": answer}
        for work in works.values():
            work()
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in works}
        for _ in range(repeats):
            for name, work in works.items():
                clock, own = time.perf_counter(), time.process_time()
                work()
                found[name].append((time.perf_counter() - clock, time.process_time() - own))
    ratios = np.array(found["answer"]) / np.array(found["predictor"])
    return {
        f"`Predictor`, {predictor.precision}, warm (s of the clock; of the processor)": both(found["predictor"]),
        "an answer: upload, all that is kept, image and mask (the same)": both(found["answer"]),
        "the answer as a multiple, by the clock": summary(ratios[:, 0].tolist()),
        "the answer as a multiple, in processor time": summary(ratios[:, 1].tolist()),
    }


def starts(path: str, times: int) -> dict[str, str]:
    found: dict[str, list[float]] = {"port": [], "paint": [], "model": []}
    was_loading = 0
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        for _ in range(times):
            started = time.perf_counter()
            command = [sys.executable, "-m", "crispseg", "app", path, "--port", "0"]
            process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            address = process.stdout.readline().split()[1]
            found["port"].append(time.perf_counter() - started)
            page = browser.new_page()
            page.goto(address, wait_until="commit")
            page.wait_for_function("() => performance.getEntriesByName('first-contentful-paint').length > 0", polling=5)
            found["paint"].append(time.perf_counter() - started)
            was_loading += not state(address)["ready"]
            while not state(address)["ready"]:
                time.sleep(0.05)
            found["model"].append(time.perf_counter() - started)
            page.close()
            process.terminate()
            process.wait()
        browser.close()
    return {
        "from the command to its port (s)": summary(found["port"]),
        "from the command to the page's first paint (s)": summary(found["paint"]),
        "from the command to the model (s)": summary(found["model"]),
        "times that the page was painted before the model was there": f"{was_loading} of {times}",
    }


def state(address: str) -> dict[str, bool]:
    with urlopen(f"{address}/state") as answer:
        return json.load(answer)


def both(seconds: list[tuple[float, float]]) -> str:
    clock, own = (statistics.median(column) for column in zip(*seconds, strict=True))
    return f"{clock:.3f}; {own:.3f}"


def summary(values: list[float]) -> str:
    return f"{statistics.median(values):.2f} ({min(values):.2f}–{max(values):.2f})"


if __name__ == "__main__":
    main()
