"""Training on Lightning: a recipe and a folder in, the best model and its scores out."""

from crispseg.train.optim import build_optimizer, parameter_groups, poly_factor
from crispseg.train.run import FitResult, fit
from crispseg.train.task import SegmentationTask

__all__ = ["FitResult", "SegmentationTask", "build_optimizer", "fit", "parameter_groups", "poly_factor"]
