"""Everything that is wrong with a data set, said at once, and in the same words before training."""

import json
import logging
import os
import shutil
import struct
import threading
from pathlib import Path

import miniatures
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from miniatures import MINIATURES
from PIL import Image

from crispseg.config import DataConfig
from crispseg.data import build_dataset, data_check, require_sound
from crispseg.data.inspection import inspect_all
from crispseg.data.problems import problems_in_words
from crispseg.data.records import Sample
from crispseg.data.report import BROKEN, LAYOUT, NO_LABELS, SHARED, SIZES, UNKNOWN_IDS
from crispseg.errors import ConfigError, DataError
from crispseg.io import image_size_hw, read_image


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch) -> Path:
    """An empty folder in the place of the user's cache folder."""
    folder = tmp_path_factory.mktemp("xdg")
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return folder / "crispseg"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    miniatures.folder(tmp_path)
    return tmp_path


def config_of(root: Path, **values: object) -> DataConfig:
    return DataConfig(**{"layout": "folder", "root": str(root), **values})


def complaint(config: DataConfig) -> str:
    with pytest.raises(DataError) as caught:
        require_sound(config)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("layout", MINIATURES)
def test_sound_miniatures(layout, tmp_path):
    miniature = MINIATURES[layout]
    raw = miniature.write(tmp_path)
    config = config_of(tmp_path, layout=layout, **miniature.values)
    report = data_check(config, [*miniature.splits][:2])
    assert report.sound, report.problems
    require_sound(config)
    for split in report.splits:
        names = miniature.splits[split.split]
        space = build_dataset(config, split.split, augment=False).label_space
        labels = [space.lookup[raw[name]] for name in names]
        assert (split.images, split.readable, split.sizes) == (len(names), len(names), 1)
        assert split.smallest_hw == split.median_hw == split.largest_hw == miniatures.SIZE_HW
        assert split.class_pixels == tuple(sum((m == k).sum() for m in labels) for k in range(space.num_classes))
        assert split.class_images == tuple(sum((m == k).any() for m in labels) for k in range(space.num_classes))
        assert split.ignored_pixels == sum((m == 255).sum() for m in labels)


class TestProblems:
    def test_all_are_listed_together(self, root):
        truncate(root / "images/train/wall_1.jpg", 40)
        miniatures.save_ids(root / "labels/train/wall_2.png", np.zeros((5, 7)))
        unknown = np.zeros(miniatures.SIZE_HW)
        unknown[0, :3], unknown[1, 0] = 9, 200
        miniatures.save_ids(root / "labels/val/wall_4.png", unknown)
        shutil.copy(root / "images/train/wall_3.jpg", root / "images/val/other.jpg")
        shutil.copy(root / "labels/train/wall_3.png", root / "labels/val/other.png")
        report = data_check(config_of(root))
        kinds = [problem.kind for problem in report.problems]
        assert kinds == [BROKEN, SIZES, UNKNOWN_IDS, SHARED]
        broken, size, ids, shared = (problem.detail for problem in report.problems)
        assert broken.startswith(f"{root}/images/train/wall_1.jpg: broken or truncated image")
        assert "wall_2.png: labels are 5×7 (height×width), their image" in size
        assert "wall_4.png: ids outside the label table 'labels': 9 (3 px), 200 (1 px); it knows 0-2" in ids
        assert f"{root}/images/val/other.jpg (val) and {root}/images/train/wall_3.jpg (train) are one image" in shared
        train, val = report.splits
        assert (train.images, train.readable, val.images, val.readable) == (3, 1, 3, 2)
        assert val.unknown_ids == {9: (3, 1), 200: (1, 1)}

    def test_two_faults_of_a_sample_are_two_problems(self, root):
        (root / "images/train/wall_1.jpg").write_text("x")
        miniatures.save_ids(root / "labels/train/wall_1.png", np.full(miniatures.SIZE_HW, 9))
        miniatures.save_ids(root / "labels/train/wall_2.png", np.full((3, 5), 8))
        report = data_check(config_of(root))
        assert [(problem.kind, problem.detail.split(": ")[0][len(str(root)) + 1 :]) for problem in report.problems] == [
            (BROKEN, "images/train/wall_1.jpg"),
            (SIZES, "labels/train/wall_2.png"),
            (UNKNOWN_IDS, "labels/train/wall_1.png"),
            (UNKNOWN_IDS, "labels/train/wall_2.png"),
        ]
        assert report.splits[0].unknown_ids == {8: (15, 1), 9: (12 * 16, 1)}
        assert (report.splits[0].readable, report.splits[0].sizes) == (1, 1)

    def test_both_files_may_be_broken(self, root):
        for path in (root / "images/train/wall_1.jpg", root / "labels/train/wall_1.png"):
            path.write_text("x")
        for check in ("full", "headers"):
            text = complaint(config_of(root, check=check))
            assert "2 × files that cannot be read" in text
            assert f"{root / 'images/train/wall_1.jpg'}, {root / 'labels/train/wall_1.png'}: not an image" in text

    def test_unpaired_splits_do_not_hide_the_others(self, root):
        (root / "labels/train/wall_2.png").unlink()
        (root / "images/val/wall_4.jpg").unlink()
        report = data_check(config_of(root))
        assert [(problem.kind, problem.where) for problem in report.problems] == [(LAYOUT, "train"), (LAYOUT, "val")]
        assert "1 of 3 images have no label file: images/train/wall_2.jpg" in report.problems[0].detail
        assert "1 of 2 label files have no image: labels/val/wall_4.png" in report.problems[1].detail
        assert report.splits == ()

    def test_a_missing_root_is_one_problem(self, tmp_path):
        report = data_check(config_of(tmp_path / "nowhere"))
        assert [problem.kind for problem in report.problems] == [LAYOUT]

    def test_labels_that_are_kept_back(self, root):
        for path in (root / "labels" / "val").iterdir():
            miniatures.save_ids(path, np.full(miniatures.SIZE_HW, 2))
        report = data_check(config_of(root))
        assert [problem.kind for problem in report.problems] == [NO_LABELS]
        assert "val: every pixel of its 2 images is ignored" in report.problems[0].detail

    def test_unknown_layouts_and_tables_are_errors(self, root):
        with pytest.raises(ConfigError, match="did you mean 'folder'"):
            data_check(config_of(root, layout="foldr"))
        with pytest.raises(ConfigError, match="did you mean 'folder'"):
            require_sound(config_of(root, layout="foldr"))
        with pytest.raises(ConfigError, match="unknown label table 'camvit'"):
            data_check(config_of(root, labels="camvit"))

    def test_the_report_is_plain_values(self, root):
        miniatures.save_ids(root / "labels/val/wall_4.png", np.full(miniatures.SIZE_HW, 9))
        values = json.loads(json.dumps(data_check(config_of(root)).to_dict()))
        assert values["sound"] is False
        assert values["class_names"] == ["background", "crack"]
        assert values["splits"][1]["unknown_ids"] == {"9": [12 * 16, 1]}
        assert values["problems"][0]["kind"] == UNKNOWN_IDS


class TestSharedImages:
    def test_numbers_that_begin_anew_in_each_split_are_none(self, root):
        for split in ("train", "val"):
            miniatures.save_picture(root / "images" / split / "0001.jpg", f"{split} 1")
            miniatures.save_ids(root / "labels" / split / "0001.png", np.zeros(miniatures.SIZE_HW))
        assert data_check(config_of(root)).sound
        require_sound(config_of(root))

    def test_the_same_image_under_one_name(self, root):
        for folder, suffix in (("images", "jpg"), ("labels", "png")):
            shutil.copy(root / folder / f"train/wall_1.{suffix}", root / folder / f"val/wall_1.{suffix}")
        (problem,) = data_check(config_of(root)).problems
        assert complaint(config_of(root)) == problem.detail
        assert problem.kind == SHARED

    def test_the_same_pixels_in_another_file_format(self, root):
        Image.fromarray(read_image(root / "images/train/wall_1.jpg")).save(root / "images/val/copy.png")
        shutil.copy(root / "labels/train/wall_1.png", root / "labels/val/copy.png")
        (problem,) = data_check(config_of(root)).problems
        assert "copy.png (val) and " in problem.detail

    def test_twice_in_one_split_is_no_leak(self, root):
        shutil.copy(root / "images/train/wall_1.jpg", root / "images/train/again.jpg")
        shutil.copy(root / "labels/train/wall_1.png", root / "labels/train/again.png")
        assert data_check(config_of(root)).sound

    def test_a_split_that_is_asked_for_twice_is_a_warning(self, root, caplog):
        config = config_of(root, train_split="train+val")
        logger = logging.getLogger("crispseg")
        logger.propagate, before = True, logger.propagate  # the command line takes it from the root logger
        with caplog.at_level(logging.WARNING):
            require_sound(config)
        logger.propagate = before
        assert "the split val is trained on and validated on" in caplog.text
        report = data_check(config)
        assert report.sound
        assert [split.split for split in report.splits] == ["train", "val"]


class TestBeforeTraining:
    def test_many_problems_on_one_line(self, root):
        for index in range(20):
            miniatures.save_picture(root / f"images/train/x_{index:02d}.jpg", str(index))
            miniatures.save_ids(root / f"labels/train/x_{index:02d}.png", np.zeros((3, 3)))
        (root / "images/val/wall_5.jpg").write_text("x")
        text = complaint(config_of(root))
        assert text.startswith(f"{root} (layout folder): 1 × files that cannot be read: ")
        assert " — 20 × labels of another size than their image: " in text
        assert "x_07.png" in text
        assert "x_08.png" not in text
        assert text.endswith("; and 12 more")

    @pytest.mark.parametrize("check", ["full", "headers"])
    @pytest.mark.parametrize("fault", ["size", "text", "truncated", "unpaired", "list"])
    def test_in_the_words_of_the_check(self, fault, check, tmp_path):
        """One fault: the check's words for it are the whole message."""
        miniatures.coco_stuff10k(tmp_path)
        image, labels = (
            tmp_path / f"{p}/{miniatures.COCO_TEST[0]}{e}" for p, e in (("images", ".jpg"), ("annotations", ".mat"))
        )
        if fault == "size":
            miniatures.save_mat(labels, "S", np.ones((3, 3), np.uint16))
        elif fault == "text":
            image.write_text("x")
        elif fault == "truncated":
            labels.write_bytes(labels.read_bytes()[:100])
        elif fault == "unpaired":
            labels.unlink()
        else:
            (tmp_path / "imageLists/test.txt").unlink()
        config = config_of(tmp_path, layout="coco_stuff10k", check=check)
        (problem,) = data_check(config).problems
        assert complaint(config) == problem.detail
        assert str(tmp_path) in problem.detail

    @pytest.mark.parametrize("fault", ["ids", "pixels", "shared", "no labels"])
    def test_what_only_pixels_show(self, fault, root):
        if fault == "ids":
            miniatures.save_ids(root / "labels/val/wall_4.png", np.full(miniatures.SIZE_HW, 9))
        elif fault == "pixels":
            truncate(root / "images/train/wall_1.jpg", 40)
        elif fault == "shared":
            Image.fromarray(read_image(root / "images/train/wall_1.jpg")).save(root / "images/val/copy.png")
            shutil.copy(root / "labels/train/wall_1.png", root / "labels/val/copy.png")
        else:
            for path in (root / "labels" / "val").iterdir():
                miniatures.save_ids(path, np.full(miniatures.SIZE_HW, 2))
        (problem,) = data_check(config_of(root)).problems
        assert complaint(config_of(root)) == problem.detail
        require_sound(config_of(root, check="headers"))

    def test_everything_that_the_check_lists(self, root):
        miniatures.save_ids(root / "labels/train/wall_2.png", np.full(miniatures.SIZE_HW, 9))
        (root / "images/train/wall_1.jpg").write_text("x")
        (root / "images/val/wall_4.jpg").unlink()
        text = complaint(config_of(root))
        problems = data_check(config_of(root)).problems
        assert [problem.kind for problem in problems] == [LAYOUT, BROKEN, UNKNOWN_IDS]
        assert text == f"{root} (layout folder): {problems_in_words(problems)}"

    def test_off(self, root):
        (root / "images/train/wall_1.jpg").write_text("x")
        require_sound(config_of(root, check="none"))

    def test_toy_streets_are_sound(self, cache):
        require_sound(DataConfig(layout="toy_streets"))
        assert not cache.exists(), "there are no files that could change"


class TestOnce:
    def looks(self, config: DataConfig) -> int:
        """At how many samples a check looks."""
        asked: list[int] = []
        require_sound(config, progress=lambda done, total: asked.append(done))
        return len(asked)

    def test_sound_data_is_looked_at_once(self, root, cache, caplog, monkeypatch):
        monkeypatch.setattr(logging.getLogger("crispseg"), "propagate", True)
        with caplog.at_level(logging.INFO):
            assert self.looks(config_of(root)) == 5
            assert set(caplog.messages) == {"checking 10 files once; data.check=headers skips it"}
            caplog.clear()
            assert self.looks(config_of(root)) == 0
        assert caplog.messages == []
        (kept,) = cache.glob("*.txt")
        assert kept.read_text() == f"nothing was wrong with 10 files of {root}, layout folder\n"

    @pytest.mark.parametrize("change", ["time", "size", "labels", "table", "more", "splits", "moved", "renamed"])
    def test_and_again_when_it_has_changed(self, change, root):
        config = config_of(root)
        assert self.looks(config) == 5
        image = root / "images/val/wall_5.jpg"
        if change == "time":
            os.utime(image, (1e9, 1e9))
        elif change == "size":
            before = image.stat()
            image.write_bytes(image.read_bytes() + b"\0")
            os.utime(image, ns=(before.st_atime_ns, before.st_mtime_ns))
        elif change == "labels":
            miniatures.save_ids(root / "labels/val/wall_5.png", np.ones(miniatures.SIZE_HW))
        elif change == "table":
            (root / "labels.yaml").write_text("{classes: [background, hole], ignore_ids: [2]}")
        elif change == "more":
            miniatures.save_picture(root / "images/train/more.jpg", "more")
            miniatures.save_ids(root / "labels/train/more.png", np.zeros(miniatures.SIZE_HW))
        elif change == "splits":
            config = config_of(root, train_split="val", val_split="train")
        elif change == "moved":
            for path in [*root.glob("*/train/wall_3.*")]:
                path.rename(path.parents[1] / "val" / path.name)
        else:
            for path in [*root.glob("*/train/wall_1.*")]:
                path.rename(path.with_stem("other"))
        assert self.looks(config) == (6 if change == "more" else 5)
        assert self.looks(config) == 0

    def test_what_is_unsound_is_not_remembered(self, root, cache):
        """Or a fault that is not in the files, such as a package that is missing, would be remembered too."""
        (root / "images/train/wall_1.jpg").write_text("x")
        assert complaint(config_of(root)) == complaint(config_of(root))
        assert not [*cache.glob("*.txt")]

    def test_a_copy_that_keeps_the_times_is_the_same(self, root, tmp_path_factory):
        assert self.looks(config_of(root)) == 5
        copy = tmp_path_factory.mktemp("copy") / "data"
        shutil.copytree(root, copy)
        assert self.looks(config_of(copy)) == 0
        truncate(copy / "images/val/wall_5.jpg", 1)
        assert "wall_5.jpg: broken or truncated image" in complaint(config_of(copy))

    def test_of_several_at_once_one_looks_and_the_others_wait(self, root):
        """Threads stand in for processes: each opens the lock for itself."""
        looks: list[int] = []
        together = [threading.Thread(target=lambda: looks.append(self.looks(config_of(root)))) for _ in range(4)]
        for thread in together:
            thread.start()
        for thread in together:
            thread.join()
        assert sorted(looks) == [0, 0, 0, 5]

    def test_headers_are_read_each_time(self, root, cache):
        for _ in range(2):
            assert self.looks(config_of(root, check="headers")) == 5
        assert not cache.exists()

    def test_where_nothing_can_be_written(self, root, monkeypatch, caplog):
        monkeypatch.setattr(logging.getLogger("crispseg"), "propagate", True)
        (root / "file").touch()
        with pytest.raises(ConfigError, match=r"data\.index_cache .*file: the result of the data check cannot be kept"):
            require_sound(config_of(root, index_cache=str(root / "file")))
        monkeypatch.setenv("XDG_CACHE_HOME", str(root / "file"))
        assert self.looks(config_of(root)) == 5
        assert "the result of the data check could not be kept" in caplog.text

    def test_a_user_without_a_home(self, root, monkeypatch, caplog):
        monkeypatch.setattr(logging.getLogger("crispseg"), "propagate", True)
        monkeypatch.delenv("XDG_CACHE_HOME")
        monkeypatch.setattr(Path, "home", lambda: (_ for _ in ()).throw(RuntimeError("no home")))
        assert self.looks(config_of(root)) == 5
        assert "the user has no home folder" in caplog.text


class TestReading:
    def test_progress_and_threads(self, root):
        seen: list[tuple[int, int]] = []
        one = data_check(config_of(root), threads=1, progress=lambda done, total: seen.append((done, total)))
        assert seen == [(done, 5) for done in range(1, 6)]
        assert data_check(config_of(root), threads=4) == one

    def test_threads_do_not_run_ahead(self):
        """Or the samples of a large data set would pile up in memory."""
        source = _Counting(400)
        findings = inspect_all(source, True, threads=2)
        for taken in range(1, 40):
            next(findings)
            assert source.asked <= taken + 2 * 4 + 2
        findings.close()

    def test_sizes(self, root):
        for name, size_hw in (("a", (4, 4)), ("b", (4, 6)), ("c", (40, 60)), ("d", (100, 2))):
            Image.new("RGB", size_hw[::-1], (len(name), 9, ord(name))).save(root / f"images/val/{name}.png")
            miniatures.save_ids(root / f"labels/val/{name}.png", np.zeros(size_hw))
        val = data_check(config_of(root), ["val"]).splits[0]
        assert (val.sizes, val.smallest_hw, val.median_hw, val.largest_hw) == (5, (4, 4), (12, 16), (40, 60))


class _Counting:
    """A source that counts how often it is asked."""

    def __init__(self, count: int) -> None:
        self.names = [str(index) for index in range(count)]
        self.asked = 0
        self._lock = threading.Lock()

    def size_hw(self, index: int) -> tuple[int, int]:
        return 2, 2

    def sample(self, index: int) -> Sample:
        with self._lock:
            self.asked += 1
        return Sample(np.full((2, 2, 3), index % 256, np.uint8), np.zeros((2, 2), np.uint8), str(index))


class TestHeaders:
    @pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "I;16"])
    @pytest.mark.parametrize("suffix", [".png", ".tif"])
    def test_as_the_decoded_file(self, mode, suffix, tmp_path):
        path = tmp_path / f"x{suffix}"
        Image.new(mode, (7, 5)).save(path)
        assert image_size_hw(path) == (5, 7)

    @pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
    @pytest.mark.parametrize("orientation", [1, 3, 6, 8])
    def test_orientation(self, orientation, suffix, tmp_path):
        exif = Image.Exif()
        exif[0x0112] = orientation
        path = tmp_path / f"x{suffix}"
        Image.new("RGB", (7, 5)).save(path, exif=exif)
        assert image_size_hw(path) == read_image(path).shape[:2]

    def test_orientation_behind_the_pixels(self, tmp_path):
        exif = Image.Exif()
        exif[0x0112] = 6
        path = tmp_path / "x.png"
        Image.new("RGB", (7, 5)).save(path, exif=exif)
        data = path.read_bytes()
        start = data.index(b"eXIf") - 4
        end = start + 12 + struct.unpack(">I", data[start : start + 4])[0]
        path.write_bytes(data[:start] + data[end:-12] + data[start:end] + data[-12:])
        assert image_size_hw(path) == read_image(path).shape[:2] == (7, 5)

    @given(kept=st.integers(0, 10_000))
    def test_a_png_that_ends_early(self, kept, tmp_path_factory):
        path = tmp_path_factory.getbasetemp() / "early.png"
        rng = np.random.default_rng(0)
        Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(path)
        whole = path.read_bytes()
        path.write_bytes(whole[: kept % len(whole)])
        with pytest.raises(DataError, match=r"early\.png: (broken or truncated image|not an image)"):
            image_size_hw(path)

    def test_missing(self, tmp_path):
        with pytest.raises(DataError, match="no such file"):
            image_size_hw(tmp_path / "x.png")


def truncate(path: Path, by: int) -> None:
    path.write_bytes(path.read_bytes()[:-by])
