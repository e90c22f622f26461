"""Records of an evaluation that somebody changed are refused by line; sound ones are read."""

import json
from dataclasses import replace

import numpy as np
import pytest

from crispseg.errors import ConfigError, DataError
from crispseg.evaluation import compare
from crispseg.evaluation.journal import RECORDS_NAME, Journal, RecordFile
from crispseg.evaluation.records import Settings, score_image
from crispseg.labels import LabelSpace

TWO = LabelSpace.from_dict({"name": "two", "classes": ["sky", "road"]})


@pytest.fixture
def run(tmp_path):
    settings = Settings(TWO, (1, 2), {"kind": "test"}, (0, 1), 0)
    labels = np.zeros((6, 8), dtype=np.uint8)
    labels[3:] = 1
    records = [score_image(np.roll(labels, shift, axis=0), labels, settings, name) for shift, name in enumerate("ab")]
    empty = score_image(labels, np.full_like(labels, 255), settings, "nothing counted")
    with Journal(tmp_path, settings) as journal:
        pass
    list(journal.take_over(lambda _: True))
    with journal:
        for record in (*records, empty):
            journal.append(record)
        journal.finish(3, 0)
    return tmp_path


def test_untouched_records_are_sound(run):
    assert [record.name for record in RecordFile(run)] == ["a", "b", "nothing counted"]


@pytest.mark.parametrize(
    "change",
    [
        {"classes": [0, 2]},
        {"classes": [0, 0]},
        {"classes": [0, -1]},
        {"classes": "01"},
        {"classes": None},
        {"confusion": [[0, 0, 10**9]]},
        {"confusion": [[0, 3, 1]]},
        {"confusion": [[2, 0, 1]]},
        {"confusion": [[0, 0, 1.5]]},
        {"confusion": [[0, 0, 1], [0, 0, 2]]},
        {"confusion": [[0, 0]]},
        {"confusion": [[0, 0, 10**30]]},
        {"boundary": [[1, 1]]},
        {"boundary": [[0, 0], [0, 0]]},
        {"matched": [[[10**6] * 2] * 2] * 2},
        {"boundary_iou": [[5, 5], [1, 1]]},
        {"trimap": [[[1] * 2] * 3] * 2},
        {"distance": [[[1] * 2] * 3] * 2},
        {"size_hw": [2]},
        {"size_hw": ["6", "8"]},
        {"stamp": "x"},
        {"name": 3},
        {"instances": [[0, 1, 1, 1]], "raw_confusion": [[0, 0, 1]]},
    ],
)
def test_impossible_counts_are_refused_by_line(run, change):
    path = run / RECORDS_NAME
    lines = path.read_text().splitlines()
    lines[1] = json.dumps({**json.loads(lines[1]), **change})
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(DataError, match=r"images\.jsonl, line 2: no record of an image"):
        list(RecordFile(run))


@pytest.mark.parametrize("key", ["label_space", "radii_px", "source", "crop_factors_px", "crop_margin_px"])
@pytest.mark.parametrize("value", [None, "x", [[1]], {"a": 1}, -1, [-1], [True, "a"]])
def test_settings_that_are_none_are_refused(run, key, value):
    path = run / RECORDS_NAME
    head, *lines = path.read_text().splitlines()
    path.write_text("\n".join([json.dumps({**json.loads(head), key: value}), *lines]) + "\n")
    if (key, value) == ("source", {"a": 1}):
        return
    with pytest.raises(DataError, match=r"images\.jsonl"):
        list(RecordFile(run))


def test_more_resamples_than_memory_holds_are_refused(run):
    with pytest.raises(ConfigError, match="100000000000 resamples"):
        compare([run, run], resamples=10**11)


def test_settings_without_instances_refuse_records_with_them(run):
    record = next(iter(RecordFile(run)))
    with pytest.raises(ValueError, match="instances"):
        record.check(replace(RecordFile(run).settings, instances=True))
