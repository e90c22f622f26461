"""Scores of a predictor on a labelled set."""

from crispseg.evaluate.evaluation import evaluate
from crispseg.evaluate.scores import Scores

__all__ = ["Scores", "evaluate"]
