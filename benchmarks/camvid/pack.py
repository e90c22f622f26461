"""CamVid in one file that travels: labels as they are, images as high-quality JPEG; and back into its layout.

    python benchmarks/camvid/pack.py pack data/camvid camvid.zip
    python benchmarks/camvid/pack.py unpack camvid.zip data/camvid

Packing checks every label, measures how far the images move, and refuses a file over the limit. The layout `camvid`
reads PNG images only, so unpacking writes PNG: larger on the disk, with the JPEG's pixels. ``packed.json`` beside the
folders says so, and is copied into the results.
"""

from __future__ import annotations

import argparse
import io
import json
import math
import sys
import zipfile
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from crispseg.errors import CrispsegError, DataError
from crispseg.io import atomic_folder, atomic_write, read_image, read_label_ids, write_png

SPLITS = ("train", "val")  # the test images are not used
NOTE = "packed.json"
QUALITY = 94
LIMIT_MB = 40.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    packing = commands.add_parser("pack")
    packing.add_argument("root", type=Path)
    packing.add_argument("file", type=Path)
    packing.add_argument("--quality", type=int, default=QUALITY, help="of the JPEG images, colours at full resolution")
    packing.add_argument("--limit-mb", type=float, default=LIMIT_MB)
    unpacking = commands.add_parser("unpack")
    unpacking.add_argument("file", type=Path)
    unpacking.add_argument("root", type=Path)
    arguments = parser.parse_args()
    try:
        if arguments.command == "pack":
            print(json.dumps(pack(arguments.root, arguments.file, arguments.quality, arguments.limit_mb)))
        else:
            print(json.dumps(unpack(arguments.file, arguments.root)))
    except CrispsegError as error:
        sys.exit(f"error: {error}")


def pack(root: Path, file: Path, quality: int = QUALITY, limit_mb: float = LIMIT_MB) -> dict[str, object]:
    """Write training and validation images with their labels into one zip file.

    Returns:
        What ``packed.json`` in the file holds, with the size in MB (10⁶ bytes).

    Raises:
        DataError: if a folder is empty, a label file is not 8-bit ids, or the file would be over the limit.
    """
    errors: list[float] = []  # mean squared error of each image
    with atomic_write(file) as temporary:
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:  # both formats are compressed already
            for split in SPLITS:
                for path in _pngs(root / split):
                    image = read_image(path)
                    encoded = _jpeg(image, quality)
                    decoded = np.asarray(Image.open(io.BytesIO(encoded)))
                    errors.append(float(np.mean((decoded.astype(np.float64) - image) ** 2)))
                    archive.writestr(f"{split}/{path.stem}.jpg", encoded)
                for path in _pngs(root / f"{split}annot"):
                    archive.writestr(f"{split}annot/{path.name}", _label_png(path))
            note: dict[str, object] = {
                "images": len(errors),
                "image_format": f"JPEG, quality {quality}, 4:4:4",
                "labels": "lossless",
                "psnr_db_mean": round(float(np.mean([_psnr(error) for error in errors])), 2),
                "psnr_db_least": round(_psnr(max(errors)), 2),
            }
            archive.writestr(NOTE, json.dumps(note, indent=2) + "\n")
        size_mb = temporary.stat().st_size / 1e6
        if size_mb > limit_mb:
            raise DataError(
                f"{file}: {size_mb:.1f} MB at quality {quality}, {limit_mb:g} MB or less expected; lower --quality"
            )
    return {**note, "size_mb": round(size_mb, 2)}


def unpack(file: Path, root: Path) -> dict[str, object]:
    """Write what `pack` packed as the layout `camvid`.

    Raises:
        DataError: if the file is not one that `pack` wrote.
    """
    try:
        with zipfile.ZipFile(file) as archive, atomic_folder(root) as folder:
            note: dict[str, object] = json.loads(archive.read(NOTE))
            for name in archive.namelist():
                target = folder / name
                if name == NOTE:
                    target.write_bytes(archive.read(name))
                elif target.parent.parent != folder or target.parent.name not in _FOLDERS:
                    raise DataError(f"{file}: holds {name!r}; only files in {', '.join(_FOLDERS)} expected")
                elif target.suffix == ".jpg":
                    write_png(target.with_suffix(".png"), np.asarray(Image.open(io.BytesIO(archive.read(name)))))
                else:
                    target.parent.mkdir(exist_ok=True)
                    target.write_bytes(archive.read(name))
    except (OSError, zipfile.BadZipFile, KeyError) as error:
        raise DataError(f"{file}: cannot be unpacked ({error}); a file that pack.py has written expected") from error
    return note


_FOLDERS = tuple(name for split in SPLITS for name in (split, f"{split}annot"))


def half_size(root: Path, target: Path) -> None:
    """A copy of the layout at half the height and width: images by area, labels at the nearest pixel centre."""
    with atomic_folder(target) as folder:
        for split in SPLITS:
            for path in _pngs(root / split):
                image = read_image(path)
                write_png(folder / split / path.name, cv2.resize(image, _half_wh(image), interpolation=cv2.INTER_AREA))
            for path in _pngs(root / f"{split}annot"):
                ids = _ids(path)
                small = cv2.resize(ids, _half_wh(ids), interpolation=cv2.INTER_NEAREST_EXACT)
                write_png(folder / f"{split}annot" / path.name, small)
        if (root / NOTE).is_file():
            (folder / NOTE).write_bytes((root / NOTE).read_bytes())


def _half_wh(array: np.ndarray) -> tuple[int, int]:
    return array.shape[1] // 2, array.shape[0] // 2


def _pngs(folder: Path) -> list[Path]:
    found = sorted(folder.glob("*.png"))
    if not found:
        raise DataError(f"{folder}: no PNG files; CamVid's folders {', '.join(_FOLDERS)} expected")
    return found


def _ids(path: Path) -> np.ndarray:
    ids = read_label_ids(path)
    if ids.max() > 255:
        raise DataError(f"{path}: id {ids.max()} found, 0 to 255 expected; give CamVid's label files")
    return ids.astype(np.uint8)


def _jpeg(image: np.ndarray, quality: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality, subsampling=0, optimize=True)
    return buffer.getvalue()


def _label_png(path: Path) -> bytes:
    """As small as PNG gets; read back, since labels must not change."""
    ids = _ids(path)
    buffer = io.BytesIO()
    Image.fromarray(ids).save(buffer, "PNG", optimize=True)
    if not np.array_equal(np.asarray(Image.open(buffer)), ids):
        raise DataError(f"{path}: reads back as other labels; report this as a bug")
    return buffer.getvalue()


def _psnr(mean_squared_error: float) -> float:
    return 10 * math.log10(255**2 / mean_squared_error) if mean_squared_error else math.inf


if __name__ == "__main__":
    main()
