"""The public names, so that none comes or goes by accident."""

import importlib
import importlib.metadata
import pkgutil
import re
from pathlib import Path

import pytest
import yaml

import crispseg


def test_the_public_face():
    assert sorted(crispseg.__all__) == [
        "ConfigError",
        "CrispsegError",
        "DataError",
        "IGNORE_INDEX",
        "LabelSpace",
        "Prediction",
        "Predictor",
        "Refiner",
        "SegmentationOutput",
        "Segmenter",
        "TrainingError",
        "WeightsError",
        "collect_images",
        "create_model",
        "describe",
        "evaluate",
        "explain",
        "fit",
        "load_model",
        "load_plugin",
        "load_recipe",
        "published",
        "push_to_hub",
        "save_model",
        "segment_images",
    ]


@pytest.mark.parametrize(
    "room", [module.name for module in pkgutil.iter_modules(crispseg.__path__) if module.name != "__main__"]
)
def test_every_room_has_what_it_announces(room):
    module = importlib.import_module(f"crispseg.{room}")
    assert module.__doc__
    for name in getattr(module, "__all__", []):
        assert hasattr(module, name), name


def test_version_is_the_packages():
    assert crispseg.__version__ == importlib.metadata.version("crispseg")


def test_every_page_that_names_the_version_names_this_one():
    root = Path(__file__).parents[2]
    cited = yaml.safe_load((root / "CITATION.cff").read_text(encoding="utf-8"))["version"]
    newest = re.search(r"^## \[(\d.*?)\]", (root / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)[1]
    minor = crispseg.__version__.rpartition(".")[0]
    assert cited == newest == crispseg.__version__
    assert f"\nVersion {minor}. " in (root / "README.md").read_text(encoding="utf-8")
