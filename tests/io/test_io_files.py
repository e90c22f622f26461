import os
import subprocess
import sys
import time

import pytest

from crispseg.io import atomic_folder, atomic_write, files
from crispseg.io.files import remove_leftovers


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


@pytest.mark.parametrize("name", ["", ".", "..", "/", "folder", "folder/.."])
def test_a_folder_is_not_replaced_by_a_file(name, tmp_path, monkeypatch):
    (tmp_path / "folder").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(IsADirectoryError), atomic_write(name):
        pytest.fail("the work is not begun")
    assert os.listdir(tmp_path) == ["folder"]


@pytest.mark.parametrize("name", ["", ".", "..", "below/..", "../here", "whole"])
def test_the_working_folder_can_be_written_into_and_stays(name, tmp_path, monkeypatch):
    below = tmp_path / "here" / "below"
    below.mkdir(parents=True)
    target = tmp_path / "here"
    monkeypatch.chdir(below if name == ".." else target)
    (target / "mine.txt").write_text("mine")
    with atomic_folder(target if name == "whole" else name) as temporary:
        (temporary / "new.txt").write_text("new")
    assert (target / "new.txt").read_text() == "new"
    assert (target / "mine.txt").read_text() == "mine"
    assert os.path.samefile(os.curdir, below if name == ".." else target)
    assert os.listdir(tmp_path) == ["here"]


def test_nothing_stands_beside_the_root():
    with pytest.raises(PermissionError), atomic_folder("/"):
        pytest.fail("the work is not begun")


@pytest.mark.parametrize("can_exchange", [True, False])
def test_a_folder_is_there_whole_at_every_moment(tmp_path, monkeypatch, can_exchange):
    """As a process sees it that is killed before any of the calls which change names."""
    target = tmp_path / "model"
    with atomic_folder(target) as temporary:
        (temporary / "weights").write_text("old")
    (target / "notes").mkdir()
    (target / "notes" / "mine.txt").write_text("keep")
    if not can_exchange:
        monkeypatch.setattr(files, "_exchange", lambda first, second: False)
    seen = []

    def watched(function):
        def call(*arguments, **options):
            seen.append({str(path.relative_to(target)): path.read_text() for path in target.rglob("*.txt")})
            seen[-1]["weights"] = (target / "weights").read_text()
            return function(*arguments, **options)

        return call

    for module, name in ((os, "replace"), (os, "link"), (files, "_exchange"), (files.shutil, "rmtree")):
        monkeypatch.setattr(module, name, watched(getattr(module, name)))
    with atomic_folder(target) as temporary:
        (temporary / "weights").write_text("new")
    assert len(seen) >= 3
    assert {values["weights"] for values in seen} == {"old", "new"}
    assert all(values.get("notes/mine.txt") == "keep" for values in seen)
    assert (target / "notes" / "mine.txt").read_text() == "keep"
    assert os.listdir(tmp_path) == ["model"]


def test_leftovers_of_processes_that_have_ended_are_removed(tmp_path):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    here, day_ago = files._this_host(), time.time() - 90000
    names = {
        f".a.new-{here}-{ended.pid}-12ab.png": False,
        f".a.new-{here}-{os.getpid()}-12ab.png": True,  # somebody writes it
        f".b.new-{here}-{ended.pid}-12ab": False,
        ".c.new-beef-1-12ab.txt": True,  # of another host
        ".d.new-beef-1-12ab.txt": False,  # and older than a day
        ".mine.new-thing": True,
        "plain": True,
    }
    for folder in (tmp_path, tmp_path / "below"):
        folder.mkdir(exist_ok=True)
        for name in names:
            (folder / name).touch()
            if name.startswith(".d"):
                os.utime(folder / name, (day_ago, day_ago))
    (tmp_path / f".model.new-{here}-{ended.pid}-12ab").mkdir()
    remove_leftovers(tmp_path)
    kept = {name for name, is_kept in names.items() if is_kept}
    assert set(os.listdir(tmp_path)) == {*kept, "below"}
    assert set(os.listdir(tmp_path / "below")) == set(names)
    remove_leftovers(tmp_path, below=True)
    assert set(os.listdir(tmp_path / "below")) == kept
    remove_leftovers(tmp_path, everyones=True)
    assert set(os.listdir(tmp_path)) == {"plain", "below"}
    remove_leftovers(tmp_path / "nowhere")


def test_a_folder_removes_what_was_left_of_it(tmp_path):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    for stem in ("model", "other"):
        (tmp_path / f".{stem}.new-{files._this_host()}-{ended.pid}-12ab").mkdir()
    with atomic_folder(tmp_path / "model"):
        pass
    assert sorted(entry.split(".new")[0] for entry in os.listdir(tmp_path)) == [".other", "model"]
