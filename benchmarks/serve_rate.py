"""How much of a Predictor's rate is left behind HTTP: `crispseg.serving` asked by one client, and by several at once.

    python benchmarks/serve_rate.py MODEL IMAGES… [--count 12] [--rounds 5] [--threads 1] [--json OUT] [--md OUT]

In each round the same images go through the predictor alone, from memory to memory, which is the limit; read from
their bytes, segmented and written as bytes of a mask in turn, which is the least that an answer holds; and through the
service, by clients in a process of their own on this machine. Counted are seconds on the clock: nothing else should
run. Every ratio is one of the same round; shown are medians and the range of the middle half.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
import uvicorn
from machine import commit, processor

import crispseg
from crispseg.inference.exported import is_exported
from crispseg.io import ImageBytes, read_image
from crispseg.serving import make_app

CONNECTIONS = (1, 4)
ALONE = "the predictor alone"


def main() -> None:
    if sys.argv[1:2] == ["--client"]:
        ask(int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:])
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("images", nargs="+", type=Path)
    parser.add_argument("--count", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1, help="of a network of PyTorch")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--md", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)

    model = arguments.model if is_exported(arguments.model) else crispseg.load_model(arguments.model)
    predictor = crispseg.Predictor(model)
    files = arguments.images[: arguments.count]
    contents = [path.read_bytes() for path in files]
    port = served(predictor)
    client = [sys.executable, __file__, "--client", str(port)]
    ways: dict[str, Callable[[], float]] = {
        ALONE: lambda: alone(predictor, contents),
        "bytes to bytes in turn": lambda: timed(lambda: [answer(predictor, content) for content in contents]),
    }
    for connections in CONNECTIONS:
        name = f"`serve`, {connections} {'client' if connections == 1 else 'clients at once'}"
        command = [*client, str(connections), *map(str, files)]
        ways[name] = lambda command=command: float(subprocess.run(command, capture_output=True, check=True).stdout)
    answer(predictor, contents[0])
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(arguments.rounds):
        for name, way in ways.items():
            seconds[name].append(way() / len(files))
    height, width, _ = read_image(files[0]).shape
    results = {
        "model": Path(arguments.model).name,
        "images": len(files),
        "rounds": arguments.rounds,
        "size_hw": [height, width],
        "ways": {name: summary(values, seconds[ALONE]) for name, values in seconds.items()},
        "threads": arguments.threads,
        "cores": os.cpu_count(),
        "machine": processor(),
        "commit": commit(),
    }
    print(table(results))
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=2, ensure_ascii=False) + "\n")
    if arguments.md:
        arguments.md.write_text(table(results) + "\n")


def alone(predictor: crispseg.Predictor, contents: list[bytes]) -> float:
    pictures = [read_image(ImageBytes(content)) for content in contents]
    return timed(lambda: [predictor(picture) for picture in pictures])


def answer(predictor: crispseg.Predictor, content: bytes) -> bytes:
    return predictor(read_image(ImageBytes(content))).to_png()


def served(predictor: crispseg.Predictor) -> int:
    """The port of a service that lives as long as this process."""
    server = uvicorn.Server(uvicorn.Config(make_app({"model": predictor}), port=0, log_config=None, access_log=False))
    threading.Thread(target=server.run, daemon=True).start()
    while not server.started:
        time.sleep(0.05)
    return server.servers[0].sockets[0].getsockname()[1]


def ask(port: int, connections: int, files: list[str]) -> None:
    """Print how long all answers took; each connection asks for its next as soon as it has one."""
    contents = [Path(file).read_bytes() for file in files]

    def one_after_another(share: list[bytes]) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port)
        for content in share:
            connection.request("POST", "/mask", content, {"Content-Type": "image/png"})
            response = connection.getresponse()
            assert response.read()
            assert response.status == 200

    with ThreadPoolExecutor(connections) as pool:
        shares = [contents[first::connections] for first in range(connections)]
        print(timed(lambda: list(pool.map(one_after_another, shares))))


def timed(work: Callable[[], object]) -> float:
    """Seconds on the clock: the service's threads and the clients are meant as well."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def summary(seconds: list[float], alone: list[float]) -> dict[str, float]:
    low, median, high = statistics.quantiles(seconds, n=4) if len(seconds) > 1 else 3 * seconds
    shares = [limit / one for one, limit in zip(seconds, alone, strict=True)]
    return {
        "images_per_second": 1 / median,
        "low": 1 / high,
        "high": 1 / low,
        "of_limit": statistics.median(shares),
        "worst_of_limit": min(shares),
    }


def table(results: dict) -> str:
    height, width = results["size_hw"]
    lines = [
        f"`{results['model']}`: {results['images']} images of {height}×{width} in {results['rounds']} rounds, "
        f"{results['threads']} thread of the network on {results['cores']} cores ({results['machine']}), "
        f"commit {results['commit']}",
        "",
        "| way | images/s | middle half | of the predictor's rate | worst round |",
        "|---|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {name} | {way['images_per_second']:.2f} | {way['low']:.2f}–{way['high']:.2f} | {way['of_limit']:.0%} "
        f"| {way['worst_of_limit']:.0%} |"
        for name, way in results["ways"].items()
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
