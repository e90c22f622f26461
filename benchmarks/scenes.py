"""Scenes in tiles: time a megapixel and memory above the model, from 1 to 400 megapixels.

    python benchmarks/scenes.py [--sides 1000 2000 4000 8000 20000] [--model MODEL --sides 1000 2000] [--json OUT.json]

A scene is a GeoTIFF of 8 bits in compressed tiles, drawn with soft shapes; each is segmented in a process of its own,
on one thread, by windows of 512×512 that overlap by half. Without `--model` the network is tiny, one convolution of 3×3
at a quarter of the size with 19 classes, so that what is measured is all but the network. Memory is the largest
resident set while the scene is segmented, less that before, with model and rasterio imported and a small scene done;
time is the processor's.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

WINDOW_HW = (512, 512)
CLASSES = 19


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sides", type=int, nargs="+", default=[1000, 2000, 4000, 8000, 20000])
    parser.add_argument("--model", help="a model folder; none: the tiny network")
    parser.add_argument("--overlap", type=float, default=0.5, help="of the windows")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--one", nargs=2, metavar=("SCENE", "OUT"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(of_one(*map(Path, arguments.one), arguments.model, arguments.overlap)))
        return
    rows = []
    print("| side (px) | megapixels | s | s a megapixel | files alone, s | memory above the model (MiB) |")
    print("| ---: | ---: | ---: | ---: | ---: | ---: |")
    with tempfile.TemporaryDirectory() as name:
        for side in arguments.sides:
            scene = draw(Path(name) / f"{side}.tif", side)
            command = [sys.executable, __file__, "--one", str(scene), str(Path(name) / f"out{side}")]
            command += ["--overlap", str(arguments.overlap)]
            command += ["--model", arguments.model] if arguments.model else []
            ended = subprocess.run(command, check=True, capture_output=True, text=True)
            row = {"side": side, "megapixels": side**2 / 1e6, **json.loads(ended.stdout.splitlines()[-1])}
            rows.append(row)
            print(
                f"| {side} | {row['megapixels']:.0f} | {row['s']:.1f} | {row['s'] / row['megapixels']:.3f} | "
                f"{row['files_s']:.1f} | {row['mib']:.0f} |",
                flush=True,
            )
            scene.unlink()
    if arguments.json:
        values = {
            "model": arguments.model or "tiny",
            "window_hw": WINDOW_HW,
            "overlap": arguments.overlap,
            "rows": rows,
        }
        values["machine"] = f"{platform.machine()}, Python {platform.python_version()}"
        arguments.json.write_text(json.dumps(values, indent=2) + "\n")


def draw(path: Path, side: int) -> Path:
    """Soft shapes with a little noise; written strip by strip."""
    import rasterio
    from rasterio.transform import Affine
    from rasterio.windows import Window

    kind = {"driver": "GTiff", "height": side, "width": side, "count": 3, "dtype": "uint8", "bigtiff": "if_safer"}
    place = {"crs": "EPSG:32633", "transform": Affine(0.5, 0, 412000, 0, -0.5, 5318000)}
    rng = np.random.default_rng(0)
    x = np.arange(side, dtype=np.float32)
    with rasterio.open(path, "w", **kind, **place, tiled=True, compress="deflate", zlevel=1) as file:
        for top in range(0, side, 256):
            y = np.arange(top, min(top + 256, side), dtype=np.float32)[:, None]
            bands = [127 + 90 * np.sin(x / a) * np.cos(y / b) for a, b in ((90, 70), (40, 120), (200, 50))]
            noise = rng.integers(0, 8, (len(y), side), dtype=np.uint8)
            file.write(np.stack([band.astype(np.uint8) + noise for band in bands]), window=Window(0, top, side, len(y)))
    return path


def of_one(scene: Path, out: Path, model: str | None, overlap: float) -> dict[str, float]:
    import torch

    from crispseg import Predictor, load_model
    from crispseg.bulk import segment_scenes

    torch.set_num_threads(1)
    network = (load_model(model),) if model else tiny()
    predictor = Predictor(*network, window_hw=WINDOW_HW, overlap=overlap)
    segment_scenes(predictor, {Path("small"): draw(out.parent / "small.tif", 1024)}, out / "small")
    before = resident()
    with Watch() as watch:
        start = time.process_time()
        segmented = segment_scenes(predictor, {Path("scene"): scene}, out)
        seconds = time.process_time() - start
    assert segmented.done == 1, segmented
    start = time.process_time()
    read_and_write(scene, out / "copy.tif")
    return {"s": seconds, "files_s": time.process_time() - start, "mib": (watch.most - before) / 2**20}


def tiny():
    """A network that costs next to nothing, and its classes."""
    import torch

    from crispseg import LabelSpace, SegmentationOutput

    torch.manual_seed(0)
    convolution = torch.nn.Conv2d(3, CLASSES, 3, stride=4, padding=1)
    space = LabelSpace.from_dict({"name": "tiny", "classes": [f"class {number}" for number in range(CLASSES)]})

    def network(images: torch.Tensor) -> SegmentationOutput:
        small = convolution(images)
        return SegmentationOutput(logits=torch.nn.functional.interpolate(small, images.shape[-2:]))

    return network, space


def read_and_write(scene: Path, path: Path) -> None:
    """One band copied in the same tiles: what no way of segmenting a scene can do without."""
    import rasterio
    from rasterio.windows import Window

    with rasterio.open(scene) as source:
        kind = {"driver": "GTiff", "height": source.height, "width": source.width, "count": 1, "dtype": "uint8"}
        with rasterio.open(path, "w", **kind, tiled=True, blockxsize=512, blockysize=512, compress="deflate") as file:
            for top in range(0, source.height, 512):
                window = Window(0, top, source.width, min(512, source.height - top))
                file.write(source.read(window=window)[0] // 32, 1, window=window)


def resident() -> int:
    """Bytes in memory now."""
    fields = Path("/proc/self/statm").read_text().split()
    return int(fields[1]) * 4096


class Watch:
    """Looks every 20 ms how much is in memory."""

    def __enter__(self):
        self.most, self._ended = resident(), threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()
        return self

    def _look(self) -> None:
        while not self._ended.wait(0.02):
            self.most = max(self.most, resident())

    def __exit__(self, *of_error: object) -> None:
        self._ended.set()
        self._thread.join()


if __name__ == "__main__":
    main()
