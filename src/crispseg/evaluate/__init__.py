"""Scores of a predictor, or of label images, on a labelled set; and whether the scores of two differ."""

from crispseg.evaluate.comparison import Comparison, Difference, compare
from crispseg.evaluate.evaluation import evaluate, evaluate_folders
from crispseg.evaluate.folders import read_labels
from crispseg.evaluate.scores import Scores

__all__ = ["Comparison", "Difference", "Scores", "compare", "evaluate", "evaluate_folders", "read_labels"]
