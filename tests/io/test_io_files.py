import os

import pytest

from crispseg.io import atomic_folder, atomic_write


def test_a_write_that_fails_leaves_the_old_file_and_no_litter(tmp_path):
    target = tmp_path / "scores.txt"
    target.write_text("old")

    def write():
        with atomic_write(target) as temporary:
            temporary.write_text("half")
            raise RuntimeError("disk full")

    with pytest.raises(RuntimeError, match="disk full"):
        write()
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["scores.txt"]


def test_a_write_replaces_and_makes_parents(tmp_path):
    target = tmp_path / "a" / "b" / "scores.txt"
    for text in ("first", "second"):
        with atomic_write(target) as temporary:
            assert temporary.suffix == ".txt"
            assert temporary.parent == target.parent
            temporary.write_text(text)
            assert not target.exists() or target.read_text() == "first"
    assert target.read_text() == "second"
    assert os.listdir(target.parent) == ["scores.txt"]


def test_files_get_the_usual_permissions(tmp_path):
    with atomic_write(tmp_path / "new.txt") as temporary:
        temporary.write_text("x")
    (tmp_path / "plain.txt").write_text("x")
    assert (tmp_path / "new.txt").stat().st_mode == (tmp_path / "plain.txt").stat().st_mode


def test_a_folder_appears_whole_and_keeps_what_others_put_there(tmp_path):
    target = tmp_path / "model"
    with atomic_folder(target) as temporary:
        (temporary / "weights").write_text("1")
        (temporary / "old_part").write_text("1")
        assert not target.exists()
    (target / "notes").mkdir()
    (target / "notes" / "mine.txt").write_text("keep")
    with atomic_folder(target) as temporary:
        (temporary / "weights").write_text("2")
    assert (target / "weights").read_text() == "2"
    assert (target / "notes" / "mine.txt").read_text() == "keep"
    assert os.listdir(tmp_path) == ["model"]


def test_a_folder_that_fails_leaves_the_old_one(tmp_path):
    target = tmp_path / "model"
    with atomic_folder(target) as temporary:
        (temporary / "weights").write_text("1")

    def fill():
        with atomic_folder(target) as temporary:
            (temporary / "weights").write_text("2")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fill()
    assert (target / "weights").read_text() == "1"
    assert os.listdir(tmp_path) == ["model"]


def test_a_file_is_not_replaced_by_a_folder(tmp_path):
    (tmp_path / "model").write_text("mine")
    with pytest.raises(NotADirectoryError, match="is a file"), atomic_folder(tmp_path / "model"):
        pass
    assert (tmp_path / "model").read_text() == "mine"
