"""Scores of a predictor, or of label images, on a labelled set; and whether the scores of two differ."""

from typing import TYPE_CHECKING

from crispseg.lazy import lazily

if TYPE_CHECKING:
    from crispseg.data.encodings import read_labels
    from crispseg.evaluation.comparison import compare
    from crispseg.evaluation.differences import Comparison, Difference
    from crispseg.evaluation.scores import Scores
    from crispseg.evaluation.scoring import evaluate, evaluate_folders
else:
    __getattr__, __dir__ = lazily(
        __name__,
        {
            "crispseg.evaluation.comparison": ("compare",),
            "crispseg.evaluation.differences": ("Comparison", "Difference"),
            "crispseg.evaluation.scoring": (
                "evaluate",
                "evaluate_folders",
            ),
            "crispseg.data.encodings": ("read_labels",),
            "crispseg.evaluation.scores": ("Scores",),
        },
    )

__all__ = [
    "Comparison",
    "Difference",
    "Scores",
    "compare",
    "evaluate",
    "evaluate_folders",
    "read_labels",
]
