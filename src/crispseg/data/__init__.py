"""Data sets: a layout says where samples lie, a label table what they mean, a joint transform how they vary."""

from crispseg.data.dataset import Item, SegmentationDataset, build_dataset
from crispseg.data.layouts import LAYOUTS
from crispseg.data.records import FileSource, Record, Sample, SampleSource
from crispseg.data.toy_streets import ToyStreets, make_street
from crispseg.data.transforms import JointTransform

__all__ = [
    "LAYOUTS",
    "FileSource",
    "Item",
    "JointTransform",
    "Record",
    "Sample",
    "SampleSource",
    "SegmentationDataset",
    "ToyStreets",
    "build_dataset",
    "make_street",
]
