"""Which predicted file belongs to which label file, by the customs of data sets and tools."""

from pathlib import Path

import pytest

from crispseg.bulk.outputs import OUTPUTS
from crispseg.bulk.scenes import SCENE_MAPS
from crispseg.data.pairing import pair_files, pair_with_images


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


def pairs_of(tmp_path: Path, predictions: list[str], labels: list[str], encoding: str = "raw-ids"):
    ours, theirs = touch(tmp_path / "ours", *predictions), touch(tmp_path / "theirs", *labels)
    pairs, problems = pair_files(ours, theirs, encoding, encoding)
    named = {
        pair.name: (pair.prediction.relative_to(ours).as_posix(), pair.labels.relative_to(theirs).as_posix())
        for pair in pairs
    }
    return named, [(problem.kind, problem.where) for problem in problems]


def test_equal_names_pair_whatever_the_suffix(tmp_path: Path):
    named, problems = pairs_of(tmp_path, ["east/a.tif", "b.v2.png"], ["east/a.png", "b.v2.png"])
    assert named == {"east/a": ("east/a.tif", "east/a.png"), "b.v2": ("b.v2.png", "b.v2.png")}
    assert problems == []


CITY = "frankfurt_000000_000294"


@pytest.mark.parametrize(
    "prediction",
    [
        f"{CITY}_pred_labelIds.png",
        f"{CITY}_leftImg8bit.png",
        f"{CITY}_leftImg8bit_labels.png",
        f"{CITY}.png",
        f"frankfurt/{CITY}_leftImg8bit.png",
    ],
)
def test_cityscapes_pairs_by_city_sequence_and_frame(prediction: str, tmp_path: Path):
    labels = [f"frankfurt/{CITY}_gtFine_{kind}.png" for kind in ("labelIds", "instanceIds", "color", "labelTrainIds")]
    named, problems = pairs_of(tmp_path, [prediction], labels)
    assert list(named.values()) == [(prediction, labels[0])]
    assert problems == []


@pytest.mark.parametrize(("encoding", "kind"), [("train-ids", "labelTrainIds"), ("colours", "color")])
def test_of_several_label_files_the_one_of_the_encoding_is_taken(encoding: str, kind: str, tmp_path: Path):
    labels = [f"{CITY}_gtFine_{kind}.png" for kind in ("labelIds", "instanceIds", "color", "labelTrainIds")]
    named, problems = pairs_of(tmp_path, [f"{CITY}.png"], labels, encoding)
    assert [true for _, true in named.values()] == [f"{CITY}_gtFine_{kind}.png"]
    assert problems == []


@pytest.mark.parametrize("outputs", [OUTPUTS, SCENE_MAPS], ids=["images", "scenes"])
def test_of_all_that_crispseg_segment_writes_the_labels_pair(outputs, tmp_path: Path):
    """Whatever it writes beside them: each output's ending has to be known here."""
    labels = next(output.ending for output in outputs if output.name == "labels")
    written = [f"{stem}{output.ending}" for stem in ("a", "east/b") for output in outputs]
    named, problems = pairs_of(tmp_path, written, ["a.png", "east/b.png"])
    assert named == {"a": (f"a{labels}", "a.png"), "east/b": (f"east/b{labels}", "east/b.png")}
    assert problems == []
    masks, photos = tmp_path / "ours", touch(tmp_path / "photos", "a.jpg", "east/b.jpg")
    found, problems = pair_with_images(masks, photos, sorted(photos.rglob("*.jpg")))
    assert [mask.relative_to(masks).as_posix() for _, mask, _ in found] == [f"a{labels}", f"east/b{labels}"]
    assert problems == []


def test_camvid_colour_labels_pair(tmp_path: Path):
    named, problems = pairs_of(tmp_path, ["0001TP_006690.png"], ["0001TP_006690_L.png"], "colours")
    assert list(named) == ["0001TP_006690"]
    assert problems == []


def test_endings_that_are_part_of_names_stay(tmp_path: Path):
    names = ["door_mask.png", "door.png", "seq_000001_000002_left.png", "seq_000001_000002_right.png"]
    named, problems = pairs_of(tmp_path, names, names)
    assert [pair[0] for pair in named.values()] == sorted(names)
    assert problems == []


def test_equal_names_in_other_folders_do_not_pair(tmp_path: Path):
    """One rule for all files: a missing file must not be replaced by its namesake of another sequence."""
    names = [f"{sequence}/{frame:06d}.png" for sequence in "ab" for frame in range(3)]
    named, problems = pairs_of(tmp_path, names[1:], names[:-1])
    assert len(named) == 4
    assert problems == [("no prediction", "a/000000"), ("no label file", "b/000002")]


def test_a_looser_rule_is_not_taken_for_the_sake_of_a_few_more(tmp_path: Path):
    named, problems = pairs_of(tmp_path, ["a/x.png", "b/y.png", "d/z.png"], ["a/x.png", "b/y.png", "c/z.png"])
    assert list(named) == ["a/x", "b/y"]
    assert problems == [("no prediction", "c/z"), ("no label file", "d/z")]


def test_flat_predictions_of_equal_names_are_ambiguous(tmp_path: Path):
    named, problems = pairs_of(tmp_path, ["x.png", "y.png"], ["a/x.png", "b/x.png", "a/y.png"])
    assert list(named) == ["y"]
    assert problems == [("several label files of one name", "x")]


def test_hidden_files_and_other_suffixes_do_not_count(tmp_path: Path):
    named, problems = pairs_of(tmp_path, ["a.png", ".a.png", "notes.txt", ".cache/a.png"], ["a.png", "a.json"])
    assert list(named) == ["a"]
    assert problems == []


def test_photos_beside_masks_do_not_count_but_jpegs_alone_are_taken_to_be_refused(tmp_path: Path):
    assert list(pairs_of(tmp_path / "1", ["a.png", "a.jpg"], ["a.png"])[0].values()) == [("a.png", "a.png")]
    assert list(pairs_of(tmp_path / "2", ["a.jpg"], ["a.png"])[0].values()) == [("a.jpg", "a.png")]
