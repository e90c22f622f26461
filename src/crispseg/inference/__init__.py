"""From an image to a segmentation: scales, mirror images and windows over any model or exported file."""

from crispseg.inference.exported import ExportedModel
from crispseg.inference.prediction import Prediction
from crispseg.inference.predictor import Predictor

__all__ = ["ExportedModel", "Prediction", "Predictor"]
