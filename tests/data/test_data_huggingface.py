"""Layout huggingface on data sets that the library itself saves; skipped where it is not installed."""

import importlib.util
import io

import numpy as np
import pytest
from PIL import Image

from crispseg.config import DataConfig
from crispseg.data import data_check
from crispseg.data.layouts import open_layout
from crispseg.errors import ConfigError, DataError

HAS = importlib.util.find_spec("datasets") is not None
needs = pytest.mark.skipif(not HAS, reason="datasets is not installed: pip install 'crispseg[datasets]'")
IMAGES = [np.random.default_rng(i).integers(0, 256, (6, 8, 3), dtype=np.uint8) for i in range(4)]
MASKS = [np.random.default_rng(9 + i).integers(0, 2, (6, 8), dtype=np.uint8) for i in range(4)]


def saved(root, mask_column="label"):
    import datasets

    def png(array):
        buffer = io.BytesIO()
        Image.fromarray(array).save(buffer, "PNG")
        return {"bytes": buffer.getvalue(), "path": None}

    features = datasets.Features(
        {"image": datasets.Image(), mask_column: datasets.Image(), "n": datasets.Value("int32")}
    )
    parts = {}
    for split, rows in (("train", range(3)), ("validation", range(3, 4))):
        columns = {"image": [png(IMAGES[i]) for i in rows], mask_column: [png(MASKS[i]) for i in rows], "n": [*rows]}
        parts[split] = datasets.Dataset.from_dict(columns, features=features)
    datasets.DatasetDict(parts).save_to_disk(str(root))


def config(tmp_path, **values):
    (tmp_path / "labels.yaml").write_text("classes: [background, crack]")
    values = {"labels": str(tmp_path / "labels.yaml"), "val_split": "validation", **values}
    return DataConfig(layout="huggingface", root=str(tmp_path / "saved"), **values)


@needs
def test_rows_are_samples(tmp_path):
    saved(tmp_path / "saved")
    source, table = open_layout(config(tmp_path), "train+validation")
    assert source.names == ["train_000000", "train_000001", "train_000002", "validation_000000"]
    assert table.class_names == ("background", "crack")
    for index in range(4):
        sample = source.sample(index)
        np.testing.assert_array_equal(sample.image, IMAGES[index])
        np.testing.assert_array_equal(sample.labels, MASKS[index])
        assert source.size_hw(index) == (6, 8)
    assert data_check(config(tmp_path)).sound
    assert len(open_layout(config(tmp_path, val=0.4, val_split="val"), "val")[0].names) == 1


@needs
def test_columns_and_splits(tmp_path):
    saved(tmp_path / "saved", "truth")
    with pytest.raises(DataError, match=r"no column of pictures called label, annotation.* are image, truth, of image"):
        open_layout(config(tmp_path), "train")
    assert open_layout(config(tmp_path, label_column="truth"), "train")[0].sample(1).labels.sum() == MASKS[1].sum()
    with pytest.raises(DataError, match="no split 'test'; it has train, validation"):
        open_layout(config(tmp_path), "test")
    with pytest.raises(DataError, match=r"needs data\.labels"):
        open_layout(config(tmp_path, labels=None), "train")


@pytest.mark.skipif(HAS, reason="datasets is installed")
def test_without_the_library_the_extra_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"pip install 'crispseg\[datasets\]'"):
        open_layout(config(tmp_path), "train")
