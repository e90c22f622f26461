"""Which images `crispseg segment` takes, and what their results are called."""

from pathlib import Path

import pytest

from crispseg.bulk import collect_images
from crispseg.cli.segment import parse_scales
from crispseg.errors import ConfigError, DataError


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for name in ("photos/a.png", "photos/east/b.JPG", "photos/west/b.jpg", "photos/notes.txt", "c.v2.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def test_a_folder_keeps_its_sub_folders(photos: Path):
    found = collect_images([str(photos / "photos")], photos / "out")
    assert {str(target): source.name for target, source in found.items()} == {
        "a": "a.png",
        "east/b": "b.JPG",
        "west/b": "b.jpg",
    }


def test_files_and_patterns(photos: Path):
    found = collect_images([str(photos / "c.v2.png"), str(photos / "**/a.*")], photos / "out")
    assert list(map(str, found)) == ["c.v2", "a"]


def test_one_image_named_twice_is_done_once(photos: Path):
    assert len(collect_images([str(photos / "photos/a.png"), str(photos / "photos/*.png")], photos / "out")) == 1


def test_equal_names_are_refused(photos: Path):
    with pytest.raises(DataError, match="would both be written as"):
        collect_images([str(photos / "photos/*/b.*")], photos / "out")


@pytest.mark.parametrize("missing", ["nothing.png", "nothing/*.png"])
def test_an_argument_that_names_nothing_is_refused(photos: Path, missing: str):
    with pytest.raises(DataError, match="no such file"):
        collect_images([str(photos / missing)], photos / "out")


def test_a_folder_without_images_is_refused(tmp_path: Path):
    with pytest.raises(DataError, match="no images found"):
        collect_images([str(tmp_path)], tmp_path / "out")


def test_results_of_an_earlier_run_are_no_images(photos: Path):
    out = photos / "photos/out"
    out.mkdir()
    (out / "a_labels.png").touch()
    assert "out/a_labels" not in map(str, collect_images([str(photos / "photos")], out))
    assert len(collect_images([str(photos / "photos")], out)) == 3


def test_an_output_folder_around_the_images_is_fine(photos: Path):
    assert len(collect_images([str(photos / "photos")], photos)) == 3


def test_the_images_own_folder_is_refused_as_output(photos: Path):
    with pytest.raises(ConfigError, match="name another"):
        collect_images([str(photos / "photos")], photos / "photos")


def test_a_list_keeps_places_below_the_folder_of_all(photos: Path):
    listed = photos / "list.txt"
    listed.write_text(f"# two of one name\n{photos}/photos/east/b.JPG\n\n  {photos}/photos/west/b.jpg \n")
    assert sorted(map(str, collect_images([listed], photos / "out"))) == ["east/b", "west/b"]
    listed.write_text(f"{photos}/photos/east/b.JPG\n{photos}/photos/east/gone.png")
    assert sorted(map(str, collect_images([listed], photos / "out"))) == ["b", "gone"]


@pytest.mark.parametrize("content", [b"", b"\n# nothing\n", b"\xff\xd8", b"a\0b.png"])
def test_what_is_no_list_is_refused(tmp_path: Path, content: bytes):
    (tmp_path / "list.txt").write_bytes(content)
    with pytest.raises(DataError, match=r"list\.txt"):
        collect_images([tmp_path / "list.txt"], tmp_path / "out")


@pytest.mark.parametrize("text", ["", "a", "0.5,,1", "-1", "0", "inf", "nan"])
def test_bad_scales_are_refused(text: str):
    with pytest.raises(ConfigError, match="--scales"):
        parse_scales(text)
