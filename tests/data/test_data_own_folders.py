"""Images and masks as people keep them: five further arrangements of each kind beside those of the shared cases."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from miniatures import SIZE_HW, picture, save_picture, save_png
from PIL import Image

from crispseg.config import DataConfig
from crispseg.data.layouts import open_layout
from crispseg.data.layouts.drawn import draw
from crispseg.errors import ConfigError, DataError

TABLE = "classes: [background, crack, spall]\n"
COLOURS = np.array([[0, 0, 0], [255, 0, 0], [0, 90, 200]], np.uint8)
COLOUR_TABLE = (
    "classes: ["
    + ", ".join(
        f"{{name: {name}, colour: {colour.tolist()}}}"
        for name, colour in zip(("background", "crack", "spall"), COLOURS, strict=True)
    )
    + "]\n"
)


def ids_of(name: str) -> np.ndarray:
    rng = np.random.default_rng(len(name) + ord(name[-1]))
    return rng.integers(0, 3, SIZE_HW).astype(np.uint8)


def write(root: Path, image: str, mask: str, name: str) -> None:
    save_picture(root / image, name)
    save_png(root / mask, ids_of(name))


def opened(root: Path, split: str = "train", **values: object):
    return open_layout(DataConfig(layout="folder", root=str(root), **values), split)


def assert_holds(root: Path, names: list[str], split: str = "train", **values: object) -> None:
    source, _ = opened(root, split, **values)
    assert len(source.names) == len(names)
    for index, name in enumerate(names):
        sample = source.sample(index)
        np.testing.assert_array_equal(sample.labels, ids_of(name))
        if source.records[index].image.suffix == ".png":
            np.testing.assert_array_equal(sample.image, picture(name))


ARRANGEMENTS = {
    "mask": ("images/train/{}.jpg", "masks/train/{}_mask.png"),
    "label": ("images/train/{}.png", "labels/train/{}_label.tif"),
    "ome": ("images/train/{}.ome.tif", "labels/train/{}.ome.tif"),
    "ome beside none": ("images/train/{}.ome.tif", "labels/train/{}.png"),
    "both have endings": ("train/images/{}_sat.jpg", "train/masks/{}_mask.png"),
    "beginnings": ("image/train/image_{}.png", "mask/train/mask_{}.png"),
    "split first": ("train/images/{}.jpg", "train/labels/{}.png"),
    "split in the folder's name": ("train_images/{}.jpg", "train_masks/{}.bmp"),
    "owners' split": ("Images/training/{}.jpg", "Annotations/training/{}-GT.png"),
    "one folder": ("train/{}.jpg", "train/{}_mask.png"),
    "one folder, one stem": ("images/train/{}.jpg", "images/train/{}.png"),
    "folders below": ("images/train/drive1/{}.jpg", "masks/train/drive1/{}_gt.png"),
}


@pytest.mark.parametrize("name", ARRANGEMENTS)
def test_arrangements(tmp_path, name):
    image, mask = ARRANGEMENTS[name]
    for sample in ("a1", "b2", "c.3"):
        write(tmp_path, image.format(sample), mask.format(sample), sample)
    (tmp_path / "labels.yaml").write_text(TABLE)
    assert_holds(tmp_path, ["a1", "b2", "c.3"])


def test_said_folders_and_ending(tmp_path):
    for sample in ("a", "b"):
        write(tmp_path, f"aerial/2020/{sample}.png", f"truth/2020/{sample}_v2_final.png", sample)
        save_png(tmp_path / f"truth/2020/{sample}_v1.png", ids_of(sample))
    (tmp_path / "labels.yaml").write_text(TABLE)
    said = {"image_folder": "aerial/{split}", "label_folder": "truth/{split}"}
    assert_holds(tmp_path, ["a", "b"], "2020", label_ending="_v2_final.png", **said)
    with pytest.raises(DataError, match=r"another ending is said by data\.label_ending"):
        opened(tmp_path, "2020", **said)
    with pytest.raises(DataError, match=r"'_x': none of 4 label files ends so: a_v1\.png"):
        opened(tmp_path, "2020", label_ending="_x", **said)


def test_two_folders_of_masks_are_both_named(tmp_path):
    write(tmp_path, "images/train/a.jpg", "masks/train/a.png", "a")
    save_png(tmp_path / "labels/train/a.png", ids_of("a"))
    (tmp_path / "labels.yaml").write_text(TABLE)
    with pytest.raises(DataError, match=r"labels/train and masks/train both may be meant; say which by data\.label_f"):
        opened(tmp_path)
    assert_holds(tmp_path, ["a"], label_folder="masks/{split}")


@pytest.mark.parametrize(
    "place", ["train.txt", "ImageSets/train.txt", "splits/training.txt", "ImageSets/Main/train.txt"]
)
@pytest.mark.parametrize("line", ["{}", "{}.jpg", "images/{}.jpg", "images/{}.jpg masks/{}_mask.png", "{} 1"])
def test_lists(tmp_path, place, line):
    for sample in ("a", "b c", "d"):
        write(tmp_path, f"images/{sample}.jpg", f"masks/{sample}_mask.png", sample)
    (tmp_path / "labels.yaml").write_text(TABLE)
    listed = ["a", "d"] if " " in line else ["a", "b c"]
    (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / place).write_text("\n".join(line.format(*[name] * 2) for name in listed) + "\n\n")
    assert_holds(tmp_path, listed)


def test_lists_with_paths_of_other_machines(tmp_path):
    for sample in ("a", "b", "x/c", "y/c"):
        write(tmp_path, f"images/{sample}.jpg", f"masks/{sample}.png", sample)
        if "/" in sample:
            continue
        (tmp_path / f"images/{sample}.jpg").rename(tmp_path / f"images/x{sample}.jpg")
        (tmp_path / f"masks/{sample}.png").rename(tmp_path / f"masks/x{sample}.png")
    for name in ("x", "y"):  # files lie in sub-folders alone
        for kind, suffix in (("images", "jpg"), ("masks", "png")):
            for path in (tmp_path / kind).glob(f"*.{suffix}"):
                path.rename(tmp_path / kind / name / path.name)
    (tmp_path / "labels.yaml").write_text(TABLE)
    (tmp_path / "train.txt").write_text("/somewhere/images/xa.jpg\nimages\\x\\c.jpg\n")
    assert opened(tmp_path)[0].names == ["x/c", "x/xa"]
    (tmp_path / "train.txt").write_text("c.jpg\n")  # of x or of y?
    with pytest.raises(DataError, match=r"1 of 1 images that it lists are not there: c\.jpg"):
        opened(tmp_path)


def test_lists_that_are_wrong(tmp_path):
    write(tmp_path, "images/a.jpg", "masks/a.png", "a")
    (tmp_path / "labels.yaml").write_text(TABLE)
    (tmp_path / "train.txt").write_text("a\nb\n")
    with pytest.raises(DataError, match=r"train\.txt: 1 of 2 images that it lists are not there: b; add them"):
        opened(tmp_path)
    (tmp_path / "train.txt").write_text("a\na\n")
    with pytest.raises(DataError, match="1 names are listed twice: a"):
        opened(tmp_path)
    (tmp_path / "splits").mkdir()
    (tmp_path / "splits" / "train.txt").write_text("a\n")
    with pytest.raises(DataError, match=r"train\.txt and splits/train\.txt both may be meant"):
        opened(tmp_path)
    assert_holds(tmp_path, ["a"], split_lists="splits")


def rgb(ids: np.ndarray) -> np.ndarray:
    return COLOURS[ids]


def palette_of(colours: np.ndarray) -> np.ndarray:
    return np.concatenate([colours, np.zeros((256 - len(colours), 3), np.uint8)])


def with_alpha(pixels: np.ndarray, alpha: int = 255) -> np.ndarray:
    pixels = pixels if pixels.ndim == 3 else pixels[..., None]
    return np.concatenate([pixels, np.full_like(pixels[..., :1], alpha)], axis=2)


SHUFFLED = np.array([2, 0, 1])
MASKS = {
    "colours": lambda ids: Image.fromarray(rgb(ids)),
    "colours with alpha": lambda ids: Image.fromarray(with_alpha(rgb(ids))),
    "three equal channels": lambda ids: Image.fromarray(np.stack([ids] * 3, axis=2)),
    "grey with alpha": lambda ids: Image.fromarray(with_alpha(ids), "LA"),
    "16 bits": lambda ids: Image.fromarray(ids.astype(np.uint16)),
    "32 bits": lambda ids: Image.fromarray(ids.astype(np.int32)),
    "floats": lambda ids: Image.fromarray(ids.astype(np.float32)),
}


@pytest.mark.parametrize("kind", MASKS)
@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.filterwarnings("ignore:'mode' parameter:DeprecationWarning")
def test_kinds_of_masks(tmp_path, kind, suffix):
    if suffix == ".png" and kind in ("32 bits", "floats"):
        pytest.skip("PNG holds none")
    save_picture(tmp_path / "images/train/a.png", "a")
    (tmp_path / "labels/train").mkdir(parents=True)
    MASKS[kind](ids_of("a")).save(tmp_path / f"labels/train/a{suffix}")
    (tmp_path / "labels.yaml").write_text(COLOUR_TABLE)
    assert_holds(tmp_path, ["a"])


class TestPalettes:
    def write(self, root, indices, colours):
        save_picture(root / "images/train/a.png", "a")
        save_png(root / "labels/train/a.png", indices, palette_of(colours))
        (root / "labels.yaml").write_text(COLOUR_TABLE)

    def test_indices_and_colours_agree(self, tmp_path):
        self.write(tmp_path, ids_of("a"), COLOURS)
        assert_holds(tmp_path, ["a"])

    def test_indices_alone_are_known(self, tmp_path):
        self.write(tmp_path, ids_of("a"), np.array([[9, 9, 9], [8, 8, 8], [7, 7, 7]], np.uint8))
        assert_holds(tmp_path, ["a"])

    def test_colours_alone_are_known(self, tmp_path):
        self.write(tmp_path, ids_of("a") + np.uint8(10), np.concatenate([np.full((10, 3), 3, np.uint8), COLOURS]))
        assert_holds(tmp_path, ["a"])

    def test_both_are_known_and_differ(self, tmp_path):
        self.write(tmp_path, SHUFFLED[ids_of("a")].astype(np.uint8), COLOURS[[1, 2, 0]])
        with pytest.raises(DataError, match=r"a\.png: the indices may be ids or colours .*say which by data\.encoding"):
            opened(tmp_path)[0].sample(0)
        assert_holds(tmp_path, ["a"], encoding="colours")


class TestColours:
    def write(self, root, pixels, table=COLOUR_TABLE, suffix=".png", **options):
        save_picture(root / "images/train/a.png", "a")
        (root / "labels/train").mkdir(parents=True)
        Image.fromarray(pixels).save(root / f"labels/train/a{suffix}", **options)
        (root / "labels.yaml").write_text(table)

    def test_anti_aliased_colours_within_a_distance(self, tmp_path):
        noise = np.random.default_rng(0).integers(-9, 10, (*SIZE_HW, 3))
        blurred = np.clip(rgb(ids_of("a")).astype(int) + noise, 0, 255).astype(np.uint8)
        self.write(tmp_path, blurred)
        with pytest.raises(DataError, match=r"colours of none of the classes .* set data\.colour_distance"):
            opened(tmp_path)[0].sample(0)
        assert_holds(tmp_path, ["a"], colour_distance=16)
        with pytest.raises(DataError, match="within a distance of 1:"):
            opened(tmp_path, colour_distance=1)[0].sample(0)

    @pytest.mark.parametrize("distance", [40.0, 441.0])
    def test_nearest_is_what_a_comparison_with_every_class_gives(self, tmp_path, distance):
        pixels = np.random.default_rng(1).integers(0, 256, (*SIZE_HW, 3)).astype(np.uint8)
        distances = np.linalg.norm(pixels[:, :, None].astype(float) - COLOURS, axis=3)
        near = distances.min(axis=2) <= distance
        pixels[~near] = COLOURS[1]
        expected = np.where(near, distances.argmin(axis=2), 1)
        self.write(tmp_path, pixels)
        np.testing.assert_array_equal(opened(tmp_path, colour_distance=distance)[0].sample(0).labels, expected)

    def test_jpeg_needs_a_distance(self, tmp_path):
        ids = np.zeros(SIZE_HW, np.uint8)
        ids[:, 8:] = 1
        self.write(tmp_path, rgb(ids), suffix=".jpg", quality=100, subsampling=0)
        with pytest.raises(DataError, match="JPEG changes label ids"):
            opened(tmp_path)[0].sample(0)
        np.testing.assert_array_equal(opened(tmp_path, colour_distance=60)[0].sample(0).labels, ids)

    def test_a_table_without_colours_reads_none(self, tmp_path):
        self.write(tmp_path, rgb(ids_of("a")), TABLE)
        with pytest.raises(DataError, match=r"colours found: .*gives no colour for background, crack, spall; write"):
            opened(tmp_path)[0].sample(0)
        with pytest.raises(ConfigError, match=r"data\.encoding colours: .* gives no colour"):
            opened(tmp_path, encoding="colours")

    def test_grey_that_may_be_two_things_is_refused(self, tmp_path):
        table = "classes: [{name: a, colour: [1, 1, 1]}, {name: b, colour: [0, 0, 0]}]"
        ids = np.random.default_rng(0).integers(0, 2, SIZE_HW).astype(np.uint8)
        self.write(tmp_path, np.stack([ids] * 3, axis=2), table)
        with pytest.raises(
            DataError, match=r"three equal channels may be ids .* 0 would be 'a' as an id, 'b' as a col"
        ):
            opened(tmp_path)[0].sample(0)
        np.testing.assert_array_equal(opened(tmp_path, encoding="colours")[0].sample(0).labels, 1 - ids)
        np.testing.assert_array_equal(opened(tmp_path, encoding="raw-ids")[0].sample(0).labels, ids)

    def test_black_and_white_of_the_table(self, tmp_path):
        ids = np.random.default_rng(0).integers(0, 2, SIZE_HW).astype(np.uint8)
        table = "classes: [{name: a, colour: [0, 0, 0]}, {name: b, colour: [255, 255, 255]}]"
        self.write(tmp_path, np.stack([ids * 255] * 3, axis=2), table)
        np.testing.assert_array_equal(opened(tmp_path)[0].sample(0).labels, ids)
        (tmp_path / "labels.yaml").write_text(f"{table}\nignore_ids: [255]")
        with pytest.raises(DataError, match="255 would be 'ignored' as an id, 'b' as a colour"):
            opened(tmp_path)[0].sample(0)

    def test_one_class_in_colours_is_against_black(self, tmp_path):
        ids = np.random.default_rng(0).integers(0, 2, SIZE_HW).astype(np.uint8)
        self.write(tmp_path, rgb(ids), "classes: [{name: crack, colour: [255, 0, 0]}]")
        np.testing.assert_array_equal(opened(tmp_path)[0].sample(0).labels, ids)

    def test_what_is_seen_through_is_refused(self, tmp_path):
        self.write(tmp_path, with_alpha(rgb(ids_of("a")), 100))
        with pytest.raises(DataError, match="192 pixels are transparent and not black below"):
            opened(tmp_path)[0].sample(0)

    def test_sixteen_bits_a_channel_are_refused(self, tmp_path):
        import cv2

        self.write(tmp_path, rgb(ids_of("a")))
        cv2.imwrite(str(tmp_path / "labels/train/a.png"), np.full((*SIZE_HW, 3), 300, np.uint16))
        with pytest.raises(DataError, match="3 channels of 16 bits each found"):
            opened(tmp_path)[0].sample(0)


def test_without_a_table_the_values_are_named(tmp_path):
    write(tmp_path, "images/train/a.jpg", "labels/train/a.png", "a")
    with pytest.raises(DataError, match=r"labels\.yaml: no such file; .*; a\.png holds \d \(\d+ px\), "):
        opened(tmp_path)


class TestDrawing:
    def write(self, root):
        for drive in ("north", "south", "east", "west", "hill"):
            for index in range(4):
                write(root, f"images/{drive}_{index}.jpg", f"masks/{drive}_{index}.png", f"{drive}_{index}")
        (root / "labels.yaml").write_text(TABLE)

    def test_a_share(self, tmp_path):
        self.write(tmp_path)
        train, val = (opened(tmp_path, split, val=0.2)[0].names for split in ("train", "val"))
        assert (len(train), len(val)) == (16, 4)
        assert not {*train} & {*val}
        assert opened(tmp_path, "val", val=0.2)[0].names == val
        assert opened(tmp_path, "val", val=0.2, split_seed=1)[0].names != val
        assert sorted(opened(tmp_path, "train+val", val=0.2)[0].names) == sorted(train + val)

    def test_groups_stay_together(self, tmp_path):
        self.write(tmp_path)
        for pattern in ("^[a-z]+", "(.+)_[0-9]"):
            train, val = (opened(tmp_path, split, val=0.4, group_by=pattern)[0].names for split in ("train", "val"))
            assert len(val) == 8
            assert not {name[:4] for name in train} & {name[:4] for name in val}

    def test_what_is_wrong(self, tmp_path):
        self.write(tmp_path)
        for values, message in (
            ({"group_by": "x"}, "say how many by data.val"),
            ({"val": 0.2, "group_by": "("}, "no regular expression"),
            ({"val": 0.2, "group_by": "x"}, "'x' matches nothing in "),
            ({"val": 0.2, "group_by": "_"}, "1 group by .* found, 2 or more expected"),
            ({"val": 0.2, "val_split": "train"}, "must be another name"),
        ):
            with pytest.raises((ConfigError, DataError), match=message):
                opened(tmp_path, **values)

    @given(st.integers(2, 60), st.floats(0.01, 0.99), st.integers(0, 5))
    def test_the_share_is_met_as_nearly_as_can_be(self, count, share, seed):
        names = [f"x{index}" for index in range(count)]
        taken = draw(names, DataConfig(val=share, split_seed=seed))
        assert abs(len(taken) - min(max(share * count, 1), count - 1)) <= 0.5

    @given(st.integers(8, 40), st.integers(0, 39))
    def test_a_name_more_changes_little(self, count, seed):
        names = [f"x{index}" for index in range(count)]
        config = DataConfig(val=0.5, split_seed=seed)
        before = {names[index] for index in draw(names, config)}
        more = [*names, "another"]
        after = {more[index] for index in draw(more, config)}
        assert len(before - after) <= 1
