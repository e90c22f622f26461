"""Data sets: a layout says where samples lie, a label table what they mean, a joint transform how they vary."""

from typing import TYPE_CHECKING

from crispseg.lazy import lazily

if TYPE_CHECKING:
    from crispseg.data.check import data_check, require_sound
    from crispseg.data.class_uniform import ClassDraw, ClassIndex, build_class_index, class_index
    from crispseg.data.dataset import Item, SegmentationDataset, build_dataset
    from crispseg.data.encodings import read_labels
    from crispseg.data.layouts import LAYOUTS, register_layout
    from crispseg.data.own import OwnData, Pairs, PairSource, own_dataset
    from crispseg.data.problems import Problem
    from crispseg.data.records import FileSource, Record, Sample, SampleSource, train_ids
    from crispseg.data.report import DataReport, SplitReport
    from crispseg.data.toy_streets import ToyStreets
    from crispseg.data.transforms import JointTransform
    from crispseg.streets import make_street
else:
    __getattr__, __dir__ = lazily(
        __name__,
        {
            "crispseg.data.check": (
                "data_check",
                "require_sound",
            ),
            "crispseg.data.class_uniform": (
                "ClassDraw",
                "ClassIndex",
                "build_class_index",
                "class_index",
            ),
            "crispseg.data.dataset": (
                "Item",
                "SegmentationDataset",
                "build_dataset",
            ),
            "crispseg.data.encodings": ("read_labels",),
            "crispseg.data.layouts": (
                "LAYOUTS",
                "register_layout",
            ),
            "crispseg.data.own": ("OwnData", "Pairs", "PairSource", "own_dataset"),
            "crispseg.data.problems": ("Problem",),
            "crispseg.data.records": (
                "FileSource",
                "Record",
                "Sample",
                "SampleSource",
                "train_ids",
            ),
            "crispseg.data.report": (
                "DataReport",
                "SplitReport",
            ),
            "crispseg.data.transforms": ("JointTransform",),
            "crispseg.data.toy_streets": ("ToyStreets",),
            "crispseg.streets": ("make_street",),
        },
    )

__all__ = [
    "LAYOUTS",
    "ClassDraw",
    "ClassIndex",
    "DataReport",
    "FileSource",
    "Item",
    "JointTransform",
    "OwnData",
    "PairSource",
    "Pairs",
    "Problem",
    "Record",
    "Sample",
    "SampleSource",
    "SegmentationDataset",
    "SplitReport",
    "ToyStreets",
    "build_class_index",
    "build_dataset",
    "class_index",
    "data_check",
    "make_street",
    "own_dataset",
    "read_labels",
    "register_layout",
    "require_sound",
    "train_ids",
]
