"""What ``crispseg demo`` does: fit, score, draw, write the page."""

from __future__ import annotations

import json
import os
import platform
import shlex
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import yaml

from crispseg.cli.console import out_console, print_table, seconds_in_words
from crispseg.cli.scores import scores_table
from crispseg.config import Recipe
from crispseg.data import SegmentationDataset, build_dataset
from crispseg.demo.scenes import SCENE_POOL, SCENES, draw_scenes
from crispseg.errors import ConfigError
from crispseg.inference import Predictor
from crispseg.io import atomic_write
from crispseg.models import Segmenter, load_model
from crispseg.pages.demo import SystemResult, render_report
from crispseg.recipes import load_recipe
from crispseg.train import fit

__all__ = ["run_demo"]

BASELINE = "plain"
MARKER = ".crispseg-demo"


@dataclass(frozen=True)
class _Story:
    """What the page says about a system."""

    title: str
    idea: str
    maps: str  # how to read the pictures of its inside; nothing where there are none


STORIES = {
    "gff": _Story(
        "Gated fully fusion (GFF)",
        "Every level of the network fuses with every other, through one gate map per level: where a gate is open, the "
        "level sends its features to the others; where it is closed, it takes theirs in. A dense feature pyramid adds "
        "context afterwards.",
        "The row below each scene shows the gates, level 1 being the finest: yellow is open, dark blue is closed.",
    ),
    "gscnn": _Story(
        "Gated shape stream (GSCNN)",
        "A second, thin stream works at high resolution on shape alone. Gates let the deep features tell it which "
        "edges matter; its boundaries then join the context module, and a dual-task loss keeps mask and boundary in "
        "agreement.",
        "The row below each scene shows where the three gates let edges through (yellow: all, dark blue: none), and "
        "the image's own gradients.",
    ),
    "decoupled": _Story(
        "Decoupled body and edge",
        "A learned flow field warps features towards the inside of their object: the body. What is left over is the "
        "edge. Each part is supervised on its own pixels, and both are merged again.",
        "The row below each scene shows where the flow fetches each cell's features from, and the two parts.",
    ),
    "plain": _Story(
        "Plain baseline",
        "The backbone's deepest features are classified and enlarged, without a branch for boundaries.",
        "",
    ),
}


def run_demo(system: str, *, compare: bool, out: Path, overrides: Sequence[str]) -> Path:
    """Train, score and show a system on toy streets.

    Args:
        system: a key of `STORIES`.
        compare: whether to train the plain baseline as well.
        out: the demo's folder; made if need be.
        overrides: ``a.b=c`` changes to the recipes.

    Returns:
        The path of the page.

    Raises:
        ConfigError: if `out` holds something else than a demo, or an override does not fit.
    """
    if compare and system == BASELINE:
        raise ConfigError(f"--compare holds a system against the {BASELINE!r} baseline; choose another --system")
    console = out_console()
    recipe = load_recipe(f"toy/{system}", list(overrides))
    recipes = {system: recipe}
    if compare:  # another network, and nothing else: same scenes, same schedule
        model = load_recipe(f"toy/{BASELINE}", list(overrides)).model
        recipes[BASELINE] = recipe.model_copy(update={"name": f"toy-{BASELINE}", "description": "", "model": model})
    _claim_folder(out, list(recipes))
    trained = [_train_and_score(name, out / name, one) for name, one in recipes.items()]
    result, baseline = trained[0], trained[1] if compare else None
    page = out / "report.html"
    html = render_report(
        result.result,
        baseline.result if baseline else None,
        lead=_lead(result, baseline),
        idea=STORIES[system].idea,
        scenes=draw_scenes(result, baseline),
        scenes_note=(
            f"The {SCENES} busiest of the first {SCENE_POOL} validation scenes. Wrong pixels are red. "
            + STORIES[system].maps
        ),
        label_space=result.dataset.label_space,
        facts=_facts(result, baseline),
    )
    with atomic_write(page) as temporary:
        temporary.write_text(html, encoding="utf-8")
    scores = {one.result.name: one.result.scores.to_dict() for one in trained}
    with atomic_write(out / "scores.json") as temporary:
        temporary.write_text(json.dumps(scores, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    console.print(f"pictures and tables: {page}", soft_wrap=True)
    console.print(f"the model: {result.model_folder}", soft_wrap=True)
    return page


def _claim_folder(out: Path, names: Sequence[str]) -> None:
    """Make the folder, or take an earlier demo's over: only what a demo wrote is ever removed."""
    marker = out / MARKER
    if out.exists() and not out.is_dir():
        raise ConfigError(f"--out {out}: a file found where a folder was expected; name another")
    if out.is_dir() and any(out.iterdir()) and not marker.exists():
        raise ConfigError(f"--out {out}: the folder holds something else than a demo; name another or an empty one")
    out.mkdir(parents=True, exist_ok=True)
    marker.write_text(
        "This folder belongs to `crispseg demo`, which overwrites its own files in it.\n", encoding="utf-8"
    )
    for name in names:
        shutil.rmtree(out / name, ignore_errors=True)


@dataclass(frozen=True)
class _Trained:
    """A trained system with what the pictures need."""

    result: SystemResult
    model: Segmenter
    predictor: Predictor
    dataset: SegmentationDataset
    model_folder: Path
    epochs: int
    train_images: int
    backbone: str


def _train_and_score(name: str, folder: Path, recipe: Recipe) -> _Trained:
    console = out_console()
    title = STORIES[name].title
    console.print(f"[bold]{title}[/bold]: training on {recipe.data.toy_train_images} made-up streets …")
    fitted = fit(recipe, folder)
    print_table(console, scores_table(fitted.scores, f"{title}: scores in %, after {seconds_in_words(fitted.seconds)}"))
    model = load_model(fitted.model_folder)
    result = SystemResult(
        name=name,
        title=title,
        scores=fitted.scores,
        seconds=fitted.seconds,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        curve=_read_curve(folder / "log.jsonl"),
        recipe_text=yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True),
    )
    return _Trained(
        result=result,
        model=model,
        predictor=Predictor(model),
        dataset=build_dataset(recipe.data, "val", augment=False),
        model_folder=fitted.model_folder,
        epochs=recipe.train.epochs,
        train_images=recipe.data.toy_train_images,
        backbone=recipe.model.backbone,
    )


def _read_curve(log: Path) -> tuple[tuple[int, float], ...]:
    lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    return tuple((int(line["epoch"]), float(line["mean_iou"])) for line in lines if line.get("mean_iou") is not None)


def _lead(result: _Trained, baseline: _Trained | None) -> str:
    both = " The plain baseline had the same backbone, scenes and schedule." if baseline else ""
    return (
        f"A {result.backbone} without pretraining saw {result.train_images} procedurally drawn street scenes "
        f"{result.epochs} times, in {seconds_in_words(result.result.seconds)}; everything below was measured on "
        f"{len(result.dataset)} scenes that it never saw.{both}"
    )


def _facts(result: _Trained, baseline: _Trained | None) -> dict[str, str]:
    total = result.result.seconds + (baseline.result.seconds if baseline else 0.0)
    return {
        "command": shlex.join(["crispseg", *sys.argv[1:]]),
        "recipe": f"toy/{result.result.name}" + (f", and with the model of toy/{BASELINE}" if baseline else ""),
        "training time": seconds_in_words(total),
        "machine": f"{_processor_name()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads",
        "device": "GPU" if torch.cuda.is_available() else "CPU",
        "software": f"Python {platform.python_version()}, torch {torch.__version__}, {platform.system()}",
        "model": str(result.model_folder),
    }


def _processor_name() -> str:
    """What the processor calls itself; Linux keeps that in a file, elsewhere Python knows."""
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
