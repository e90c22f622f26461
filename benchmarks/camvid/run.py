"""Trains the rows of docs/results/camvid.md on CamVid, and writes a result for each row and seed.

    python benchmarks/camvid/run.py reduced --root data/camvid
    python benchmarks/camvid/run.py full --root data/camvid --rows pspnet gff --seeds 0 --limit-minutes 25
    python benchmarks/camvid/run.py full --root data/camvid --list
    python benchmarks/camvid/run.py pretrained --root data/camvid --backbone-weights tf_efficientnet_lite0.safetensors

Rows that are done are skipped, a run that was stopped goes on, and a row that diverges is recorded as such. What a row
leaves is ``RESULTS/PROTOCOL/BACKBONE/ROW/seedN/``: ``result.json``, and ``images.jsonl`` with the counts of every
validation image; tables.py reads both. Each row runs in a process of its own, so that its memory can be told.

From a checkout, with ``PYTHONPATH=src``, it needs torch, torchvision, timm, lightning and torchmetrics, and beside
what these bring: opencv-python-headless, pydantic, tensorboard and matplotlib. (They bring pillow, pyyaml,
huggingface-hub, safetensors and jinja2.)
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import torch
from measure import hardware, peak_memory, seconds_per_step, source_state, versions
from pack import NOTE, half_size
from rows import PROTOCOLS, RESULTS, ROWS, Job, jobs_of, other_values, recipe_of

from crispseg import describe, load_model
from crispseg.config import Recipe
from crispseg.data import build_dataset
from crispseg.errors import ConfigError, CrispsegError, TrainingError, TrainingInterrupted
from crispseg.evaluation import evaluate
from crispseg.inference import Predictor
from crispseg.io import atomic_folder
from crispseg.train import fit
from crispseg.train.complete import completed

RESULT = "result.json"
RECORDS = "images.jsonl"


def main() -> None:
    arguments = _arguments()
    try:
        jobs = jobs_of(arguments.protocol, arguments.backbones, arguments.rows, arguments.seeds)
        if arguments.job is not None:
            logging.basicConfig(format="%(message)s")
            logging.getLogger("crispseg").setLevel(logging.INFO)
            run_job(jobs[arguments.job], arguments)
        elif arguments.list:
            for job in jobs:
                print(f"{job.path}  {'done' if is_done(job, arguments) else ''}".rstrip())
        else:
            sys.exit(run_all(jobs, arguments))
    except TrainingInterrupted as error:
        sys.exit(f"{error}; or with the same command as before")
    except CrispsegError as error:
        sys.exit(f"error: {error}")


def run_all(jobs: list[Job], arguments: argparse.Namespace) -> int:
    """Train what is missing, one process after the other; the exit status."""
    started, longest = time.monotonic(), 0.0
    missing = [(index, job) for index, job in enumerate(jobs) if not is_done(job, arguments)]
    print(f"{len(jobs) - len(missing)} of {len(jobs)} done already", flush=True)
    if missing:
        image_root(arguments)  # once, before the rows' clocks start
    for trained, (index, job) in enumerate(missing):
        spent = time.monotonic() - started
        # The longest row so far stands for the next one: better to end early than to be cut off in its middle.
        if spent + longest > 60 * arguments.limit_minutes:
            print(f"time is up after {spent / 60:.0f} minutes; {len(missing) - trained} rows are left")
            return 0
        print(f"── {job.path}", flush=True)
        if (status := _in_process_of_its_own(index)) != 0:
            return status
        longest = max(longest, time.monotonic() - started - spent)
    return 0


def run_job(job: Job, arguments: argparse.Namespace) -> None:
    """Train and score one row, and leave its result, or why there is none.

    Raises:
        CrispsegError: if it was stopped, or could not begin.
    """
    recipe = recipe_of(job, image_root(arguments), arguments.set)
    if arguments.backbone_weights is not None:
        recipe = _with(recipe, "model", backbone_weights=str(arguments.backbone_weights))
    if arguments.workers is not None:
        recipe = _with(recipe, "data", workers=arguments.workers)
    folder = arguments.runs / job.path
    found: dict[str, object]
    try:
        outcome = fit(recipe, folder, resume=(folder / "recipe.yaml").exists(), progress=False)
        found = {"peak_memory": peak_memory(), "seconds": outcome.seconds, "best_epoch": outcome.best_epoch}
        found |= {"seconds_per_step": seconds_per_step(recipe), **_scored(job, recipe, folder)}
    except (TrainingError, torch.OutOfMemoryError) as error:
        found = {"failed": " ".join(str(error).split())}
    log = folder / "log.jsonl"  # missing where the first epoch failed
    lines = log.read_text(encoding="utf-8").splitlines() if log.is_file() else []
    curve = [json.loads(line) for line in lines]
    note = image_root(arguments) / NOTE
    result = {
        "protocol": job.protocol,
        "backbone": job.backbone,
        "row": job.row,
        "seed": job.seed,
        "title": ROWS[job.row].title,
        "pretrained": _start_of(recipe),
        **found,
        "hardware": hardware(),
        "versions": versions(),
        "commit": arguments.commit or source_state(),
        "images": json.loads(note.read_text(encoding="utf-8")) if note.is_file() else "the original files",
        # With every option of its parts: a default that changes later must not change what this row was.
        "recipe": completed(_without_places(recipe)).model_dump(mode="json"),
        "curve": curve,
    }
    with atomic_folder(arguments.results / job.path) as results:
        (results / RESULT).write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        if "failed" not in result:
            shutil.copyfile(folder / "scores" / RECORDS, results / RECORDS)
    if not arguments.keep_checkpoints:
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    scores = result.get("scores")
    print(f"mIoU {100 * scores['mean_iou']:.2f} %" if isinstance(scores, dict) else f"failed: {result['failed']}")


def _with(recipe: Recipe, section: str, **values: object) -> Recipe:
    """The recipe with other values in a section."""
    return recipe.model_copy(update={section: getattr(recipe, section).model_copy(update=values)})


def _without_places(recipe: Recipe) -> Recipe:
    """Where images and weights lay is the machine's business."""
    return _with(_with(recipe, "data", root=None), "model", backbone_weights=None)


def _start_of(recipe: Recipe) -> object:
    """What the backbone started from: False, timm's name, or the checksum of a file."""
    if (path := recipe.model.backbone_weights) is not None:
        return {"file": Path(path).name, "sha256": hashlib.sha256(Path(path).read_bytes()).hexdigest()}
    return recipe.model.backbone if recipe.model.pretrained else False


def _scored(job: Job, recipe: Recipe, folder: Path) -> dict[str, object]:
    """Scores of the exported model on the validation images, with the counts of each image in ``scores``."""
    model = load_model(folder / "model")
    counted = describe(model, PROTOCOLS[job.protocol].size_hw)
    predictor = Predictor(model, device="cuda" if torch.cuda.is_available() else "cpu", precision="float32")
    shutil.rmtree(folder / "scores", ignore_errors=True)  # of a scoring that was stopped
    images = build_dataset(recipe.data, "val", augment=False)
    scores = evaluate(predictor, images, recipe.evaluate.radii_px, out=folder / "scores")
    return {
        "scores": scores.summary_dict(),
        "parameters": counted.parameters,
        "inference_parameters": counted.inference_parameters,
        "gmacs": counted.gmacs,
        "gmacs_size_hw": counted.size_hw,
    }


def is_done(job: Job, arguments: argparse.Namespace) -> bool:
    """Whether there is a result of this very recipe.

    Raises:
        ConfigError: if there is one of another recipe.
    """
    path = arguments.results / job.path / RESULT
    if not path.is_file():
        return False
    found = Recipe.model_validate(json.loads(path.read_text(encoding="utf-8"))["recipe"])
    if different := other_values(found, recipe_of(job, arguments.root, arguments.set)):
        listed = "; ".join(f"{key} was {was!r} and is now {now!r}" for key, (was, now) in different.items())
        raise ConfigError(f"{path}: of another recipe: {listed}; name another --results and --runs, or remove both")
    return True


def image_root(arguments: argparse.Namespace) -> Path:
    """Where the images of the protocol's size are; they are made smaller once."""
    root: Path = arguments.root
    if PROTOCOLS[arguments.protocol].size_hw == PROTOCOLS["full"].size_hw:
        return root
    small = arguments.runs / "half_size"
    if not small.is_dir():
        half_size(root, small)
    return small


def _in_process_of_its_own(index: int) -> int:
    """Run the job of that number; a signal to stop is handed on once, and the child saves its state before it ends."""
    # In a session of its own, or Ctrl-C would reach it twice, and the second signal means: at once.
    command = [sys.executable, *sys.argv, "--job", str(index)]
    child = subprocess.Popen(command, start_new_session=True)
    handlers = {
        number: signal.signal(number, lambda number, frame: child.send_signal(number))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        status = child.wait()
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    return status if status >= 0 else 128 - status  # ended by a signal: as shells say it


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("protocol", choices=list(PROTOCOLS))
    parser.add_argument("--root", type=Path, required=True, help="CamVid at 480×360, folders train, trainannot, val …")
    parser.add_argument("--rows", nargs="+", metavar="ROW", help=f"some of: {', '.join(ROWS)}")
    parser.add_argument("--backbones", nargs="+", metavar="NAME")
    parser.add_argument(
        "--seeds", nargs="+", type=int, metavar="N", help="default: 0 1 2 where a claim is made, else 0"
    )
    parser.add_argument("--results", type=Path, default=RESULTS, help="small files, to keep")
    parser.add_argument("--runs", type=Path, default=Path("runs/camvid/work"), help="checkpoints and models")
    parser.add_argument("--limit-minutes", type=float, default=float("inf"), help="begin no row that ends after this")
    parser.add_argument("--workers", type=int, help="processes that prepare images")
    parser.add_argument("--backbone-weights", type=Path, metavar="FILE", help="instead of fetching timm's")
    parser.add_argument("--commit", help="of the sources, where there is no git to ask")
    parser.add_argument("--keep-checkpoints", action="store_true", help="of rows that are done")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="to try the chain out")
    parser.add_argument("--list", action="store_true", help="say what would be trained, and what is done")
    parser.add_argument("--job", type=int, help=argparse.SUPPRESS)  # the child process
    return parser.parse_args()


if __name__ == "__main__":
    main()
