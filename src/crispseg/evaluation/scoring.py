"""A predictor, or a folder of label images, against the labels of a set."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, get_args

import numpy as np
import numpy.typing as npt

from crispseg.data.encodings import Encoding, check_encodings
from crispseg.data.pairing import encoding_by_names, pair_files
from crispseg.data.problems import Problem
from crispseg.errors import ConfigError, DataError
from crispseg.evaluation.engine import Example, ScoredSet, Watch, Work, score_set
from crispseg.evaluation.folders import FolderSet
from crispseg.evaluation.instances import with_instance_files
from crispseg.evaluation.journal import Journal
from crispseg.evaluation.plausible import PlacementWatch, empty_crops, say, what_else, why_refused
from crispseg.evaluation.records import ImageRecord, Settings, score_image
from crispseg.evaluation.scores import Scores
from crispseg.evaluation.totals import Totals
from crispseg.io import MAX_PIXELS, atomic_write
from crispseg.io.bands import as_picture
from crispseg.io.files import remove_leftovers
from crispseg.labels import LabelSpace
from crispseg.labels import label_space as load_label_space
from crispseg.metrics.counts import Counts
from crispseg.metrics.functional.arrays import Absent
from crispseg.metrics.table import DEFINITIONS
from crispseg.plausibility import Oddity

__all__ = ["Evaluation", "LabelledSet", "SegmentsImages", "evaluate", "evaluate_folders"]

Progress = Callable[[int, int], object]


@dataclass(frozen=True)
class Evaluation:
    """What there is to show of a set that was scored.

    Attributes:
        scores: of the set.
        totals: the sums behind them, the settings, and which images are the worst.
        problems: what was left out.
        images: the set, for pictures of its images.
    """

    scores: Scores
    totals: Totals
    problems: tuple[Problem, ...]
    images: ScoredSet


Report = Callable[[Evaluation], object]


class LabelledSet(Protocol):
    """What `evaluate` asks of a data set; `crispseg.data.SegmentationDataset` is one.

    To write files it also asks for ``names``, one per image and none twice.
    """

    @property
    def label_space(self) -> LabelSpace:
        """Of the labels."""

    def __len__(self) -> int:
        """How many images there are."""

    def sample(self, index: int, /) -> Any:
        """(image uint8 (H, W, 3), labels uint8 (H, W) train ids, name)."""


class HasLabels(Protocol):
    """What is read of a prediction; `crispseg.inference.Prediction` is one."""

    @property
    def labels(self) -> npt.NDArray[np.uint8]:
        """(H, W) train ids."""


class SegmentsImages(Protocol):
    """What `evaluate` asks of a predictor; `crispseg.inference.Predictor` is one."""

    @property
    def label_space(self) -> LabelSpace:
        """Of the predictions."""

    def __call__(self, image: npt.NDArray[np.uint8], /) -> HasLabels:
        """Segment one image."""


def evaluate(
    predictor: SegmentsImages,
    dataset: LabelledSet,
    radii_px: Sequence[float] = (1, 2, 3, 5),
    progress: Progress | None = None,
    *,
    crop_factors_px: Sequence[int] = (),
    crop_margin_px: int = 100,
    out: str | os.PathLike[str] | None = None,
    resume: bool = False,
    skip_bad: bool = False,
    workers: int | None = None,
    source: Mapping[str, Any] | None = None,
    report: Report | None = None,
    watch: Watch | None = None,
    absent: Absent = "skip",
    scores: Sequence[str] | None = None,
) -> Scores:
    """Score a predictor on every image of a set, at the images' own size.

    Scoring runs in threads beside the network, a few images behind it. The result depends on neither their number nor
    their order.

    Args:
        predictor: segments one image at a time.
        dataset: images with labels, of the predictor's classes in the predictor's order.
        radii_px: of boundary F and trimap IoU, in pixels, each ≥ 0 and none twice.
        progress: called with (images done, images in all) after each, in the calling thread.
        crop_factors_px: of IoU at distance, whole numbers ≥ 0, none twice; none: it is not scored. GSCNN's are 0, 100,
            200, 300 and 400 for images of 1024×2048.
        crop_margin_px: cut off before the factors; GSCNN's is 100. For other sizes scale it and the factors.
        out: a folder for ``images.jsonl`` and ``scores.json``; None: no files.
        resume: whether to go on with a run in `out` that was stopped; only its missing images are scored.
        skip_bad: whether to leave out images that cannot be read or scored, rather than to raise.
        workers: threads beside the network; None: one per core, four at most.
        source: what is scored, for the records: plain values, of which a run that goes on must find the same.
        report: called at the end with all that there is to show, such as `crispseg.pages.evaluation.write_pages`.
        watch: is shown each image that is scored, with its record, in the thread that scored it, such as
            `crispseg.pages.browse.BrowsePage.draw`; what it raises ends the run.
        absent: which boundary F tables and pages show; see `Scores`.
        scores: which scores, by the names of `crispseg.metrics.table.SCORES`, such as ``("iou", "boundary_f")``; None:
            all. What they do not need is not counted, which is most of the time.

    Returns:
        The scores.

    Raises:
        ConfigError: if the classes of predictor and data set differ, a radius, crop factor or score does not fit, or
            `out` holds something else.
        DataError: if the set is empty, or images are broken or differ in size from their labels; all are named.
    """
    _check_options(out, resume, workers, absent)
    _check_classes(predictor.label_space, dataset.label_space)
    asked = None if scores is None else tuple(scores)
    crops = (tuple(crop_factors_px), crop_margin_px)
    settings = Settings(dataset.label_space, tuple(radii_px), source or {}, *crops, scores=asked)
    if len(dataset) == 0:
        raise DataError("the data set holds no images; nothing to evaluate on")
    names: Sequence[str] | None = getattr(dataset, "names", None)
    if out is not None and names is None:
        raise ConfigError(f"out needs a data set with names, one per image; {type(dataset).__name__} has none")
    if out is not None and names is not None and len(set(names)) < len(names):
        raise DataError("several images of the data set have one name, and files tell them apart by it; rename them")
    images = _PredictedSet(predictor, dataset, settings, watched=watch is not None)
    return _evaluate(images, settings, (), out, resume, skip_bad, workers, progress, report, watch, absent)


def evaluate_folders(
    predictions: str | os.PathLike[str],
    labels: str | os.PathLike[str],
    label_space: LabelSpace | str,
    radii_px: Sequence[float] = (1, 2, 3, 5),
    progress: Progress | None = None,
    *,
    encoding: Encoding = "raw-ids",
    label_encoding: Encoding | None = None,
    crop_factors_px: Sequence[int] = (),
    crop_margin_px: int = 100,
    instances: bool | None = None,
    out: str | os.PathLike[str] | None = None,
    resume: bool = False,
    skip_bad: bool = False,
    workers: int | None = None,
    max_pixels: int = MAX_PIXELS,
    report: Report | None = None,
    watch: Watch | None = None,
    absent: Absent = "skip",
    scores: Sequence[str] | None = None,
) -> Scores:
    """Score label images that any tool has written.

    Files pair by their names, in sub-folders as well; see docs/evaluate.md. A pixel for which the prediction says
    nothing (an ignored id, 255, or black) counts as missed, and as no other class's mistake.

    Args:
        predictions: the folder of predicted label images.
        labels: the folder of true ones.
        label_space: a table, or its name, or its YAML file.
        radii_px: of boundary F and trimap IoU, in pixels, each ≥ 0 and none twice.
        progress: called with (images done, images in all) after each, in the calling thread.
        encoding: what the pixels of the predictions hold: ``"raw-ids"`` of the label table, as data sets and
            ``crispseg segment`` write them; ``"train-ids"``, 0 to K − 1; or ``"colours"`` of the label table.
        label_encoding: the same of the labels; None: what their names say (``_labelIds``, ``_labelTrainIds``,
            ``_color``), else as `encoding`.
        crop_factors_px: of IoU at distance, whole numbers ≥ 0, none twice; none: it is not scored. GSCNN's are 0, 100,
            200, 300 and 400 for images of 1024×2048.
        crop_margin_px: cut off before the factors; GSCNN's is 100. For other sizes scale it and the factors.
        instances: whether to score instance-weighted IoU as the Cityscapes evaluation does, from the instance files
            beside the labels (``x_instanceIds.png``, or KITTI's folder ``instance``). None: if there are such files and
            the label table knows the average sizes of objects.
        out: a folder for ``images.jsonl`` and ``scores.json``; None: no files.
        resume: whether to go on with a run in `out` that was stopped; only images that are missing there, or whose
            files changed since, are scored.
        skip_bad: whether to score what can be scored and to leave the rest out, rather than to raise.
        workers: threads; None: one per core, four at most.
        max_pixels: of one image; larger ones are refused.
        report: called at the end with all that there is to show, such as `crispseg.pages.evaluation.write_pages`.
        watch: is shown each image that is scored, with its record, in the thread that scored it, such as
            `crispseg.pages.browse.BrowsePage.draw`; what it raises ends the run.
        absent: which boundary F tables and pages show; see `Scores`.
        scores: which scores, by the names of `crispseg.metrics.table.SCORES`, such as ``("iou", "boundary_f")``; None:
            all. What they do not need is not counted, which is most of the time.

    Returns:
        The scores.

    Raises:
        ConfigError: if the table, an encoding, a radius, a crop factor or a score does not fit, or `out` holds
            something else.
        DataError: if files have no counterpart or lack instances, are broken, hold unknown values or differ in size;
            all are named.

    Example:
        >>> import tempfile
        >>> from crispseg.io import write_png
        >>> folder, labels = Path(tempfile.mkdtemp()), np.array([[0, 0, 3, 3]], dtype=np.uint8)
        >>> write_png(folder / "labels/a.png", labels)
        >>> write_png(folder / "masks/a.png", np.roll(labels, 1))
        >>> scores = evaluate_folders(folder / "masks", folder / "labels", "camvid")
        >>> round(scores.iou["road"], 3), scores.boundary_f[1]["road"]
        (0.333, 1.0)
    """
    _check_options(out, resume, workers, absent)
    space = label_space if isinstance(label_space, LabelSpace) else load_label_space(label_space)
    folders = {"predictions": Path(predictions), "labels": Path(labels)}
    label_encoding = label_encoding or encoding_by_names(folders["labels"], encoding)
    encodings = {"encoding": encoding, "label_encoding": label_encoding}
    places = {key: os.path.realpath(path) for key, path in folders.items()}
    source = {"kind": "folders", **places, **encodings}
    asked: tuple[Encoding, Encoding] = (encoding, label_encoding)
    check_encodings(space, *asked)
    instances = _wants_instances(instances, scores)
    crops = (tuple(crop_factors_px), crop_margin_px)
    chosen = None if scores is None else tuple(scores)
    settings = Settings(space, tuple(radii_px), source, *crops, bool(instances), chosen)
    pairs, problems = pair_files(folders["predictions"], folders["labels"], *asked)
    pairs, without_instances, scores_instances = with_instance_files(pairs, space, instances)
    settings = replace(settings, instances=scores_instances)
    images = FolderSet(pairs, settings, *asked, max_pixels)
    found = [*problems, *without_instances]

    def look(counts: Counts) -> list[Oddity]:
        return what_else(pairs, counts, space, asked)

    try:
        return _evaluate(images, settings, found, out, resume, skip_bad, workers, progress, report, watch, absent, look)
    except DataError as error:
        if images.unreadable and (why := why_refused(pairs, space, asked)):
            raise DataError(f"{error}. Perhaps: {why}") from error
        raise


def _wants_instances(instances: bool | None, scores: Sequence[str] | None) -> bool | None:
    """Whether instance files are needed; None: if there are any."""
    if scores is None:
        return instances
    of_instances = [name for name, definition in DEFINITIONS.items() if "instances" in definition.needs]
    wanted = [name for name in of_instances if name in scores]
    if instances is not None and instances != bool(wanted):
        raise ConfigError(
            f"instances is {instances}, but scores names {', '.join(wanted)}; leave one of the two out"
            if wanted
            else f"instances are counted for the scores {' and '.join(of_instances)} only; name them, or leave "
            "instances out (--instances)"
        )
    return bool(wanted)


_OF_A_RUN = ("scores.json", "problems.txt", "scores.md", "report.html", "browse.html")  # the last 3 are made by reports


def _evaluate(
    images: ScoredSet,
    settings: Settings,
    problems: Sequence[Problem],
    out: str | os.PathLike[str] | None,
    resume: bool,
    skip_bad: bool,
    workers: int | None,
    progress: Progress | None,
    report: Report | None,
    watch: Watch | None,
    absent: Absent,
    look: Callable[[Counts], list[Oddity]] | None = None,
) -> Scores:
    """Score a set, write its records and scores, and say in the log what looks odd about it."""
    folder = None if out is None else Path(out)
    journal = None if folder is None else Journal(folder, settings, resume=resume)
    if folder is not None:
        remove_leftovers(folder)
        for name in _OF_A_RUN:  # scores of an earlier run must not stand beside records of this one
            (folder / name).unlink(missing_ok=True)
    placed = PlacementWatch(images.names, watch)
    totals, skipped = score_set(
        images, settings, problems, journal=journal, skip_bad=skip_bad, workers=workers, progress=progress, watch=placed
    )
    say((look(totals.confusion) if look is not None else []) or placed.oddities())
    say(empty_crops(totals.counts.arrays().get("distance"), settings))
    scores = replace(totals.scores(skipped=len({problem.where for problem in skipped})), absent=absent)
    if folder is not None:
        in_words = "".join(f"{problem.where}: {problem.kind}: {problem.detail}\n" for problem in skipped)
        for name, text in (("scores.json", scores.to_json()), ("problems.txt", in_words)):
            if text:
                with atomic_write(folder / name) as temporary:
                    temporary.write_text(text, encoding="utf-8")
    if report is not None:
        report(Evaluation(scores, totals, tuple(skipped), images))
    return scores


class _PredictedSet:
    """A predictor over a data set: the network runs in the calling thread, the scores are taken in the workers."""

    def __init__(
        self, predictor: SegmentsImages, dataset: LabelledSet, settings: Settings, *, watched: bool = False
    ) -> None:
        self._predictor, self._dataset, self._settings = predictor, dataset, settings
        self._watched = watched
        self.names: Sequence[str] = list(getattr(dataset, "names", map(str, range(len(dataset)))))
        self._known = set(self.names)

    def is_current(self, record: ImageRecord) -> bool:
        return record.name in self._known

    def prepare(self, index: int, only_check: bool) -> Work:
        image, labels, name = self._dataset.sample(index)
        if image.shape[:2] != labels.shape:
            raise DataError(
                f"{name}: the image has {image.shape[0]}×{image.shape[1]} pixels and its labels "
                f"{labels.shape[0]}×{labels.shape[1]}; the same size expected"
            )
        if only_check:
            return lambda: (None, None)
        predicted = self._predictor(image).labels
        # Several wait for a thread: images, which are large, only where somebody looks at them.
        example = Example(as_picture(image) if self._watched else None, predicted, labels)
        return lambda: (score_image(predicted, labels, self._settings, name), example)

    def example(self, name: str) -> Example:
        image, labels, _ = self._dataset.sample(list(self.names).index(name))
        return Example(as_picture(image), self._predictor(image).labels, labels)


def _check_options(out: str | os.PathLike[str] | None, resume: bool, workers: int | None, absent: Absent) -> None:
    if resume and out is None:
        raise ConfigError("resume goes on with the records in a folder, and none is named; give it as well (--out)")
    if absent not in get_args(Absent):
        raise ConfigError(f"absent is {absent!r}; {' or '.join(get_args(Absent))} expected")
    if workers is not None and workers < 1:
        raise ConfigError(f"workers is {workers}; 1 or more expected")


def _check_classes(predicted: LabelSpace, labelled: LabelSpace) -> None:
    ours, theirs = predicted.class_names, labelled.class_names
    if ours == theirs:
        return
    missing = [name for name in theirs if name not in ours]
    extra = [name for name in ours if name not in theirs]
    details = []
    if missing:
        details.append(f"only the data set has {', '.join(missing)}")
    if extra:
        details.append(f"only the model has {', '.join(extra)}")
    if not details:
        details.append("the order differs")
    raise ConfigError(
        f"the model's classes ({predicted.name!r}: {', '.join(ours)}) are not the data set's "
        f"({labelled.name!r}: {', '.join(theirs)}); {'; '.join(details)}. "
        "Evaluate on data with the model's label table, or train on this one"
    )
