"""Exporting models to files that other runtimes run, each compared with the model before it is there."""

from crispseg.export.files import FORMATS, Exported, export_model

__all__ = ["FORMATS", "Exported", "export_model"]
