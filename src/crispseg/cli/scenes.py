"""What ``crispseg segment --tiled`` does beside what `segment` does: TIFFs of any size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crispseg.cli.console import make_progress
from crispseg.errors import ConfigError
from crispseg.stopping import StopSignals

if TYPE_CHECKING:
    from crispseg.bulk import SceneMap, Segmented
    from crispseg.inference import Predictor

__all__ = ["SCENE_WINDOW_HW", "parse_bands", "refuse_with_tiles", "show_scenes"]

SCENE_WINDOW_HW = (512, 512)
"""Unless ``--window`` says otherwise."""


def show_scenes(
    predictor: Predictor, images: Mapping[Path, Path], out: Path, maps: Sequence[SceneMap], **options: Any
) -> Segmented:
    """Segment scenes behind a progress bar of their rows; the options are those of `crispseg.bulk.segment_scenes`."""
    from crispseg.bulk import segment_scenes
    from crispseg.inference.images import require_rgb

    require_rgb(predictor.model, "--tiled")
    reached = f"nothing is new in {out}"

    with StopSignals(lambda: f"{reached}; the same command goes on from there"), make_progress() as bar:
        task = bar.add_task("segmenting", total=None)

        def show(source: Path, rows: int, total: int) -> None:
            nonlocal reached
            reached = f"{rows} of {total} rows of {source} are finished"
            bar.update(task, completed=rows, total=total, description=source.name)

        return segment_scenes(predictor, images, out, maps, show, **options)


def refuse_with_tiles(options: Mapping[str, object]) -> None:
    """Options that would be ignored are errors."""
    if given := [name for name, value in options.items() if value]:
        raise ConfigError(f"{' and '.join(given)}: not with --tiled; leave out one or the other")


def parse_bands(text: str) -> tuple[int, ...]:
    """Read ``"3,2,1"``.

    Raises:
        ConfigError: unless they are three whole numbers from 1.

    Example:
        >>> parse_bands("4, 3,2")
        (4, 3, 2)
    """
    from crispseg.parsing import parse_whole

    found = [parse_whole(part.strip()) for part in text.split(",")]
    if len(found) != 3 or not all(found):
        raise ConfigError(f"--bands {text:.100}: three numbers from 1 with commas between them expected, as in 3,2,1")
    return tuple(number for number in found if number is not None)
