"""Exporting models to files that other runtimes run, each compared with the model before it is there."""

from crispseg.export.files import FORMATS, Exported, export_model
from crispseg.export.int8 import Int8

__all__ = ["FORMATS", "Exported", "Int8", "export_model"]
