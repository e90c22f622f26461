"""From an image to a segmentation: scales, mirror images and windows over any model."""

from crispseg.inference.prediction import Prediction
from crispseg.inference.predictor import Predictor

__all__ = ["Prediction", "Predictor"]
