"""``crispseg segment``: label masks, overlays and boundary maps of images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crispseg.cli.console import make_progress, out_console, print_error, print_warning
from crispseg.cli.model import Compile, Device, Precision
from crispseg.errors import ConfigError
from crispseg.stopping import StopSignals

if TYPE_CHECKING:
    from crispseg.bulk import Segmented

__all__ = ["parse_class_bias", "parse_scales", "parse_shard", "segment"]


def segment(
    model: Annotated[str, typer.Argument(help="A model folder, as [b]runs/NAME/model[/b], or an exported file.")],
    images: Annotated[
        list[str],
        typer.Argument(
            help="Image files, folders (searched with their sub-folders), globs, and lists (.txt, a path a line); "
            "or videos."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Where the pictures go; made if need be.")],
    only: Annotated[
        str | None,
        typer.Option(metavar="NAMES", help="Write these alone, as in labels,overlay.", show_default="all four"),
    ] = None,
    overlay_format: Annotated[
        str | None, typer.Option(metavar="png|jpg", help="Of the overlays.", show_default="png")
    ] = None,
    overlay_quality: Annotated[
        int | None, typer.Option(metavar="1-100", help="Of overlays in jpg.", show_default="95")
    ] = None,
    polygons: Annotated[
        str | None, typer.Option(metavar="KIND", help="Write polygons as well: geojson, coco, labelme or svg.")
    ] = None,
    simplify: Annotated[
        float, typer.Option(metavar="PX", help="How coarse their outlines may become, in pixels; 1 takes stairs away.")
    ] = 0.0,
    scales: Annotated[str, typer.Option(help="Average over these sizes of the image, as in 0.75,1.0,1.25.")] = "1.0",
    flip: Annotated[bool, typer.Option("--flip", help="Average with the mirrored image.")] = False,
    window: Annotated[
        tuple[int, int] | None, typer.Option(metavar="H W", help="Slide a window of this size over the image.")
    ] = None,
    class_bias: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CLASS=B",
            help="Add B to the logarithm of a class's probability, as in pole=0.5: found more often, and wrongly more "
            "often; may be given often.",
        ),
    ] = None,
    tiled: Annotated[
        bool,
        typer.Option(
            "--tiled",
            help="TIFFs of any size, in bounded memory: writes NAME_labels.tif, in place on Earth as the image is.",
        ),
    ] = False,
    bands: Annotated[
        str | None, typer.Option(metavar="R,G,B", help="Of a TIFF with --tiled, from 1.", show_default="1,2,3")
    ] = None,
    overviews: Annotated[
        bool, typer.Option("--overviews", help="Add halved sizes to what --tiled writes, for viewers.")
    ] = False,
    shard: Annotated[
        str | None, typer.Option(metavar="K/N", help="Only the K-th of N parts of the images, for N machines.")
    ] = None,
    ray: Annotated[bool, typer.Option("--ray", help="Share the images over the actors of a Ray cluster.")] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Do again what is there, of whatever model and options.")
    ] = False,
    skip_existing: Annotated[
        bool, typer.Option("--skip-existing", help="Leave images alone whose files are all there, whoever wrote them.")
    ] = False,
    max_pixels: Annotated[
        int | None, typer.Option(min=1, help="Of an image; larger ones are refused.", show_default="40 million")
    ] = None,
    device: Device = None,
    precision: Precision = "auto",
    compile: Compile = False,
) -> None:
    """Segment images: writes NAME_labels, _overlay, _boundaries and _mask_boundaries.png for each.

    Labels hold the ids of the model's label table; boundaries hold the boundary branch's probability times 255, mask
    boundaries the edges of the labels. A model without a boundary branch writes the latter as both. Images from folders
    keep their place below the folder. --polygons writes NAME.geojson, .svg, .json (LabelMe) or _coco.json for each as
    well, and coco.json of all. A broken image is reported at the end, and the others are still done. The
    same command again goes on where it was stopped. Of a video it writes NAME_overlay.mp4 and a folder NAME_labels of
    masks. With --tiled TIFFs of any size are segmented through windows, of 512×512 unless --window says otherwise;
    --only labels,confidence,boundaries chooses. See docs/segment.md.
    """
    from crispseg.bulk import OnRay, are_videos, choose_scene_maps, collect_images, segment_images, segment_videos
    from crispseg.cli.model import open_model
    from crispseg.cli.scenes import SCENE_WINDOW_HW, parse_bands, refuse_with_tiles, show_scenes
    from crispseg.data.plausible import odd_files
    from crispseg.inference import Predictor
    from crispseg.io import MAX_PIXELS

    scale_values, bias = parse_scales(scales), parse_class_bias(class_bias or ())
    options: dict[str, Any] = {"shard": None if shard is None else parse_shard(shard), "overwrite": overwrite}

    def make_predictor() -> Predictor:
        return Predictor(
            open_model(model, device, precision),
            scales=scale_values,
            flip=flip,
            window_hw=window or (SCENE_WINDOW_HW if tiled else None),
            max_pixels=max_pixels or MAX_PIXELS,
            class_bias=bias,
            precision=precision,
            compile=compile,
        )

    if tiled:
        refuse_with_tiles({"--overlay-format": overlay_format, "--overlay-quality": overlay_quality})
        refuse_with_tiles({"--polygons": polygons, "--simplify": simplify, "--max-pixels": max_pixels, "--ray": ray})
        maps, rgb = choose_scene_maps(_names(only or "labels")), None if bands is None else parse_bands(bands)
        scenes = collect_images(images, out)
        found = show_scenes(make_predictor(), scenes, out, maps, bands=rgb, overviews=overviews, **options)
        _report(found, "scenes", out)
        return
    if bands is not None or overviews:
        raise ConfigError("--bands and --overviews are for TIFFs of any size; give --tiled as well")
    of_videos = are_videos(images)
    if of_videos and ray:
        raise ConfigError("--ray shares images; share videos among machines by --shard")
    outputs = _outputs(of_videos, only, polygons, simplify)
    if overlay_format is not None or overlay_quality is not None:
        outputs = _with_overlays(outputs, of_videos, overlay_format, overlay_quality)
    targets = collect_images(images, out)
    if skip_existing:
        targets = _without_existing(targets, out, outputs)

    predictor = make_predictor()
    if not of_videos:
        for odd in odd_files(list(targets.values()), predictor.reading, predictor.max_pixels):
            of_recipes = " (a key of the recipe that trains a model, which it keeps)" * ("data." in odd.detail)
            print_warning(f"{odd.detail}{of_recipes}")
    engine = OnRay(make_predictor) if ray else None
    spoken: dict[Path, str] = {}  # of each video
    reached = f"nothing is new in {out}"

    def what_stands() -> str:
        return f"{reached}; the same command goes on from there"

    with StopSignals(what_stands), make_progress() as bar:
        task = bar.add_task("segmenting", total=None)

        def show(done: int, seen: int, total: int) -> None:
            nonlocal reached
            reached = f"{done} of {total} images are segmented into {out}, each whole"
            bar.update(task, completed=seen, total=total)

        def show_frame(video: Path, frames: int, total: int | None, seconds: float) -> None:
            nonlocal reached
            reached = f"{video} was at frame {frames}, and is begun anew; what came before it is whole in {out}"
            rate = f"{frames / seconds:.1f} frames/s"
            bar.update(task, completed=frames, total=total, description=f"{video.name}, {rate}")
            spoken[video] = f"{video}: {frames} frames in {seconds:.1f} s, {rate}"

        if of_videos:
            segmented = segment_videos(predictor, targets, out, outputs, show_frame, **options)
        else:
            segmented = segment_images(predictor, targets, out, outputs, show, engine=engine, **options)

    failed = {failure.source for failure in segmented.failures}
    for video, sentence in spoken.items():
        if video not in failed:
            out_console().print(sentence, soft_wrap=True)
    _report(segmented, "videos" if of_videos else "images", out)


def _report(segmented: Segmented, kind: str, out: Path) -> None:
    """Say what became of all; that some could not be segmented is exit status 1."""
    before = f", {segmented.earlier} of them earlier" if segmented.earlier else ""
    if segmented.images and segmented.earlier == segmented.images:
        before = " earlier, by this model and these options; --overwrite does them again"
    out_console().print(f"{segmented.done} of {segmented.images} {kind} segmented into {out}{before}", soft_wrap=True)
    if segmented.failures:
        for failure in segmented.failures:
            print_error(failure.message)
        raise typer.Exit(1)


def _without_existing(targets: dict[Path, Path], out: Path, outputs: Sequence[Any]) -> dict[Path, Path]:
    """Those of which a file is missing."""
    left = {
        target: source
        for target, source in targets.items()
        if not all((out / f"{target}{output.ending}").exists() for output in outputs)
    }
    out_console().print(f"{len(targets) - len(left)} of {len(targets)} are in {out} already", soft_wrap=True)
    if not left:
        raise typer.Exit
    return left


def _outputs(of_videos: bool, only: str | None, polygons: str | None, simplify: float) -> Sequence[Any]:
    """What is written of each image or video."""
    from crispseg.bulk import OUTPUTS, VIDEO_OUTPUTS, choose_outputs, choose_video_outputs, polygon_output

    names = None if only is None else _names(only)
    if simplify and polygons is None:
        raise ConfigError("--simplify is for polygons; name their kind, as in --polygons geojson")
    if of_videos:
        if polygons is not None:
            raise ConfigError(f"--polygons {polygons}: of images only; segment frames, or leave it out")
        return VIDEO_OUTPUTS if names is None else choose_video_outputs(names)
    outputs = OUTPUTS if names is None else choose_outputs(names)
    return outputs if polygons is None else (*outputs, polygon_output(polygons, simplify))


def _with_overlays(outputs: Sequence[Any], of_videos: bool, kind: str | None, quality: int | None) -> Sequence[Any]:
    """With overlays in the format that was asked for."""
    from crispseg.bulk import overlay_output

    if of_videos:
        raise ConfigError("--overlay-format and --overlay-quality: of images only; a video's overlay is a video")
    if all(output.name != "overlay" for output in outputs):
        raise ConfigError("--overlay-format and --overlay-quality: no overlay is written; name it in --only")
    if quality is not None and kind != "jpg":
        raise ConfigError("--overlay-quality is for JPEG; give --overlay-format jpg as well")
    chosen = overlay_output(kind or "png", *([] if quality is None else [quality]))
    return [chosen if output.name == "overlay" else output for output in outputs]


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",")]


def parse_shard(text: str) -> tuple[int, int]:
    """Read ``"2/8"``.

    Raises:
        ConfigError: unless both are whole numbers, and the first is 1 to the second.

    Example:
        >>> parse_shard("2/8")
        (2, 8)
    """
    from crispseg.parsing import parse_whole

    first, _, second = text.partition("/")
    number, count = parse_whole(first), parse_whole(second)
    if number is None or count is None or not 1 <= number <= count:
        raise ConfigError(f"--shard {text:.40}: K/N expected, K from 1 to N, as in 2/8")
    return number, count


def parse_scales(text: str) -> tuple[float, ...]:
    """Read ``"0.75,1.0"``.

    Raises:
        ConfigError: unless every part is a number above 0 and up to `crispseg.config.MAX_SCALE`.

    Example:
        >>> parse_scales("0.75,1.0")
        (0.75, 1.0)
    """
    from crispseg.config import MAX_SCALE

    try:
        scales = tuple(float(part) for part in text.split(","))
    except ValueError:
        scales = ()
    if not scales or not all(0 < scale <= MAX_SCALE for scale in scales):
        raise ConfigError(
            f"--scales {text:.100}: numbers above 0 and up to {MAX_SCALE}, with commas between them, expected, "
            "as in 0.75,1.0,1.25"
        )
    return scales


def parse_class_bias(texts: Sequence[str]) -> dict[str, float]:
    """Read ``["pole=0.5"]``.

    Raises:
        ConfigError: unless each is a name, an equals sign and a number, and no name comes twice.

    Example:
        >>> parse_class_bias(["pole=0.5", "traffic sign=-1"])
        {'pole': 0.5, 'traffic sign': -1.0}
    """
    found: dict[str, float] = {}
    for text in texts:
        name, _, number = text.rpartition("=")
        try:
            bias = float(number)
        except ValueError:
            bias = None
        if bias is None or not name:
            raise ConfigError(f"--class-bias {text:.100}: CLASS=B expected, B a number, as in pole=0.5")
        if name in found:
            raise ConfigError(f"--class-bias {name:.100} is given twice; give it once")
        found[name] = bias
    return found
