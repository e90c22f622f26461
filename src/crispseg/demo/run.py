"""What ``crispseg demo`` shows: systems trained on toy streets, and all that its page says of them. Prints nothing."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import yaml

from crispseg.config import Recipe
from crispseg.data import SegmentationDataset, build_dataset
from crispseg.demo.scenes import SCENE_POOL, SCENES, draw_scenes
from crispseg.errors import ConfigError
from crispseg.inference import Predictor
from crispseg.labels import LabelSpace
from crispseg.models import Segmenter, load_model
from crispseg.pages.demo import Scene, SystemResult
from crispseg.parsing import parse_json
from crispseg.recipes import load_recipe
from crispseg.train import fit
from crispseg.wording import seconds_in_words

__all__ = ["TITLES", "Story", "Trained", "claim_folder", "demo_recipes", "tell_story", "train_system"]

BASELINE = "plain"
MARKER = ".crispseg-demo"


TITLES = {
    "gff": "Gated fully fusion (GFF)",
    "gscnn": "Gated shape stream (GSCNN)",
    "decoupled": "Decoupled body and edge",
    "plain": "Plain baseline",
}
"""Every system that the demo can show."""

_IDEAS = {
    "gff": (
        "Every level of the network fuses with every other, through one gate map per level: where a gate is open, the "
        "level sends its features to the others; where it is closed, it takes theirs in. A dense feature pyramid adds "
        "context afterwards."
    ),
    "gscnn": (
        "A second, thin stream works at high resolution on shape alone. Gates let the deep features tell it which "
        "edges matter; its boundaries then join the context module, and a dual-task loss keeps mask and boundary in "
        "agreement."
    ),
    "decoupled": (
        "A learned flow field warps features towards the inside of their object: the body. What is left over is the "
        "edge. Each part is supervised on its own pixels, and both are merged again."
    ),
    "plain": "The backbone's deepest features are classified and enlarged, without a branch for boundaries.",
}

# How to read the pictures of a system's inside; nothing where there are none.
_MAPS = {
    "gff": "The row below each scene shows the gates, level 1 being the finest: yellow is open, dark blue is closed.",
    "gscnn": (
        "The row below each scene shows where the three gates let edges through (yellow: all, dark blue: none), and "
        "the image's own gradients."
    ),
    "decoupled": "The row below each scene shows where the flow fetches each cell's features from, and the two parts.",
    "plain": "",
}


@dataclass(frozen=True)
class Trained:
    """A trained system with what the pictures need.

    Attributes:
        result: its scores and curve, for the page.
        model: loaded from `model_folder`.
        predictor: over `model`.
        dataset: the validation scenes.
        model_folder: ready for evaluate and segment.
        recipe: that it was trained by.
    """

    result: SystemResult
    model: Segmenter
    predictor: Predictor
    dataset: SegmentationDataset
    model_folder: Path
    recipe: Recipe


@dataclass(frozen=True)
class Story:
    """What the page says beside the scores, in the words of `crispseg.pages.demo.render_report`."""

    lead: str
    idea: str
    scenes: list[Scene]
    scenes_note: str
    label_space: LabelSpace
    facts: dict[str, str]


def demo_recipes(system: str, compare: bool, overrides: Sequence[str] = ()) -> dict[str, Recipe]:
    """What is to be trained, by name, the system itself first.

    Args:
        system: a key of `TITLES`.
        compare: whether to train the plain baseline as well: another network, and nothing else.
        overrides: ``a.b=c`` changes to the recipes.

    Raises:
        ConfigError: if the baseline is to be compared with itself, or an override does not fit.

    Example:
        >>> {name: recipe.name for name, recipe in demo_recipes("gff", compare=True).items()}
        {'gff': 'toy-gff', 'plain': 'toy-plain'}
    """
    if compare and system == BASELINE:
        raise ConfigError(f"--compare holds a system against the {BASELINE!r} baseline; choose another --system")
    recipe = load_recipe(f"toy/{system}", overrides)
    recipes = {system: recipe}
    if compare:
        model = load_recipe(f"toy/{BASELINE}", overrides).model
        recipes[BASELINE] = recipe.model_copy(update={"name": f"toy-{BASELINE}", "description": "", "model": model})
    return recipes


def claim_folder(out: Path, names: Sequence[str]) -> None:
    """Make the folder, or take an earlier demo's over: only what a demo wrote is ever removed.

    Args:
        out: the demo's folder.
        names: of the systems, whose runs become folders in it.

    Raises:
        ConfigError: if `out` holds something else than a demo.
    """
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


def train_system(name: str, folder: Path, recipe: Recipe) -> Trained:
    """Train a system and score its best model.

    Args:
        name: a key of `TITLES`.
        folder: of the run.
        recipe: one of `demo_recipes`.

    Raises:
        TrainingError: if the training fails; see `crispseg.train.fit` for what else is raised.
    """
    fitted = fit(recipe, folder)
    model = load_model(fitted.model_folder)
    result = SystemResult(
        name=name,
        title=TITLES[name],
        scores=fitted.scores,
        seconds=fitted.seconds,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        curve=_read_curve(folder / "log.jsonl"),
        recipe_text=yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True),
    )
    dataset = build_dataset(recipe.data, "val", augment=False)
    return Trained(result, model, Predictor(model, precision="float32"), dataset, fitted.model_folder, recipe)


def tell_story(ours: Trained, baseline: Trained | None, command: str) -> Story:
    """Draw the scenes and say what was done.

    Args:
        ours: the system that the page is about.
        baseline: what it is held against; None: nothing.
        command: that was given, for the page.
    """
    name = ours.result.name
    note = f"The {SCENES} busiest of the first {SCENE_POOL} validation scenes. Wrong pixels are red. {_MAPS[name]}"
    return Story(
        lead=_lead(ours, baseline),
        idea=_IDEAS[name],
        scenes=draw_scenes(ours, baseline),
        scenes_note=note,
        label_space=ours.dataset.label_space,
        facts={"command": command, **_facts(ours, baseline)},
    )


def _read_curve(log: Path) -> tuple[tuple[int, float], ...]:
    lines = [parse_json(line) for line in log.read_text(encoding="utf-8").splitlines()]
    return tuple((int(line["epoch"]), float(line["mean_iou"])) for line in lines if line.get("mean_iou") is not None)


def _lead(ours: Trained, baseline: Trained | None) -> str:
    both = " The plain baseline had the same backbone, scenes and schedule." if baseline else ""
    recipe = ours.recipe
    streets = recipe.data.options["toy_train_images"]
    return (
        f"A {recipe.model.backbone} without pretraining saw {streets} procedurally drawn street "
        f"scenes {recipe.train.epochs} times, in {seconds_in_words(ours.result.seconds)}; everything below was "
        f"measured on {len(ours.dataset)} scenes that it never saw.{both}"
    )


def _facts(ours: Trained, baseline: Trained | None) -> dict[str, str]:
    total = ours.result.seconds + (baseline.result.seconds if baseline else 0.0)
    return {
        "recipe": f"toy/{ours.result.name}" + (f", and with the model of toy/{BASELINE}" if baseline else ""),
        "training time": seconds_in_words(total),
        "machine": f"{_processor_name()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads",
        "device": "GPU" if torch.cuda.is_available() else "CPU",
        "software": f"Python {platform.python_version()}, torch {torch.__version__}, {platform.system()}",
        "model": str(ours.model_folder),
    }


def _processor_name() -> str:
    """What the processor calls itself; Linux keeps that in a file, elsewhere Python knows."""
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
