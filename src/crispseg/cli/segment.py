"""``crispseg segment``: label masks, overlays and boundary maps of images."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from crispseg.cli.console import make_progress, out_console, print_error
from crispseg.errors import ConfigError, DataError
from crispseg.stopping import StopSignals

__all__ = ["collect_images", "parse_scales", "segment"]

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"})
"""What a folder is searched for; a file that is named outright may end as it likes."""


def segment(
    model: Annotated[str, typer.Argument(help="A model folder, as [b]runs/NAME/model[/b], or an exported file.")],
    images: Annotated[list[str], typer.Argument(help="Image files, folders (searched with their sub-folders), globs.")],
    out: Annotated[Path, typer.Option(help="Where the pictures go; made if need be.")],
    scales: Annotated[str, typer.Option(help="Average over these sizes of the image, as in 0.75,1.0,1.25.")] = "1.0",
    flip: Annotated[bool, typer.Option("--flip", help="Average with the mirrored image.")] = False,
    window: Annotated[
        tuple[int, int] | None, typer.Option(metavar="H W", help="Slide a window of this size over the image.")
    ] = None,
    max_pixels: Annotated[
        int | None, typer.Option(min=1, help="Of an image; larger ones are refused.", show_default="40 million")
    ] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, …", show_default="a GPU where there is one")] = None,
) -> None:
    """Segment images: writes NAME_labels, _overlay, _boundaries and _mask_boundaries.png for each.

    Labels hold the ids of the model's label table; boundaries hold the boundary branch's probability times 255, mask
    boundaries the edges of the labels. A model without a boundary branch writes the latter as both. Images from folders
    keep their place below the folder. A broken image is reported at the end, and the others are still done.
    """
    import numpy as np

    from crispseg.cli.model import open_model
    from crispseg.inference import Predictor
    from crispseg.io import MAX_PIXELS, write_png
    from crispseg.io.files import remove_leftovers

    scale_values = parse_scales(scales)
    targets = collect_images(images, out)
    network = open_model(model, device)
    predictor = Predictor(
        network, scales=scale_values, flip=flip, window_hw=window, max_pixels=max_pixels or MAX_PIXELS
    )

    broken: list[str] = []
    stems = [str(out / target) for target in targets]
    done = 0

    def what_stands() -> str:
        return f"{done} of {len(stems)} images are segmented into {out}, each whole; the same command does all again"

    remove_leftovers(out, below=True)
    with StopSignals(what_stands), make_progress() as progress:
        task = progress.add_task("segmenting", total=len(stems))
        predictions = predictor.predict_many(targets.values(), on_error=lambda _, error: broken.append(str(error)))
        for position, prediction in predictions:
            stem = stems[position]
            prediction.save(f"{stem}_labels.png")
            write_png(f"{stem}_overlay.png", prediction.overlay())
            write_png(f"{stem}_boundaries.png", np.rint(255 * prediction.boundaries()).astype(np.uint8))
            write_png(f"{stem}_mask_boundaries.png", (255 * prediction.mask_boundaries()).astype(np.uint8))
            done += 1
            progress.update(task, completed=position + 1)

    out_console().print(f"{done} of {len(targets)} images segmented into {out}", soft_wrap=True)
    if broken:
        for message in broken:
            print_error(message)
        raise typer.Exit(1)


def collect_images(arguments: Sequence[str], out: Path) -> dict[Path, Path]:
    """Find the images that the arguments name.

    Args:
        arguments: files, folders and glob patterns.
        out: the folder that the results go to; what already lies in it is not taken from a folder that holds it.

    Returns:
        For each image, by its result's path below `out` without ending: the image's path.

    Raises:
        DataError: if an argument names nothing, a folder has no image, or two images' results would have one name.
    """
    found: dict[Path, Path] = {}
    for argument in arguments:
        path = Path(argument)
        if path.is_dir():
            pairs = _images_below(path, out)
        elif path.is_file():
            pairs = [(Path(path.stem), path)]
        else:
            matches = [Path(match) for match in sorted(glob.glob(argument, recursive=True))]
            pairs = [(Path(match.stem), match) for match in matches if match.is_file()]
            if not pairs:
                raise DataError(f"{argument}: no such file or folder, and no file fits it as a pattern")
        for target, source in pairs:
            other = found.setdefault(target, source)
            if os.path.realpath(other) != os.path.realpath(source):
                raise DataError(
                    f"{other} and {source} would both be written as {out / target}_*.png; "
                    "give the folder above both instead, so that sub-folders are kept, or segment them into two folders"
                )
    return found


def _images_below(folder: Path, out: Path) -> list[tuple[Path, Path]]:
    inside_out = Path(os.path.realpath(out))
    if inside_out == Path(os.path.realpath(folder)):
        raise ConfigError(
            f"--out {out} is also a folder of images, where results would be taken for images; name another"
        )
    from crispseg.io import files_below

    sources = [source for source in files_below(folder) if source.suffix.lower() in IMAGE_SUFFIXES]
    if inside_out.is_relative_to(Path(os.path.realpath(folder))):  # an earlier run's results
        sources = [source for source in sources if not Path(os.path.realpath(source)).is_relative_to(inside_out)]
    if not sources:
        raise DataError(f"{folder}: no images found; files ending in {', '.join(sorted(IMAGE_SUFFIXES))} expected")
    return [(source.relative_to(folder).with_suffix(""), source) for source in sources]


def parse_scales(text: str) -> tuple[float, ...]:
    """Read ``"0.75,1.0"``.

    Raises:
        ConfigError: unless every part is a positive number.

    Example:
        >>> parse_scales("0.75,1.0")
        (0.75, 1.0)
    """
    try:
        scales = tuple(float(part) for part in text.split(","))
    except ValueError:
        scales = ()
    if not scales or not all(0 < scale < float("inf") for scale in scales):
        raise ConfigError(f"--scales {text}: positive numbers with commas between them expected, as in 0.75,1.0,1.25")
    return scales
