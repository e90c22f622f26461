"""``crispseg refine`` through the real command line: encodings, sizes, what goes wrong, and going on."""

import json

import cv2
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import crispseg
from crispseg.cli import app
from crispseg.io import read_image, read_label_ids, write_png
from crispseg.labels import label_space

TRUTH = np.zeros((48, 64), dtype=np.uint8)
TRUTH[10:38, 14:50] = 1
COARSE = np.roll(TRUTH, 2, axis=1)


def refine(*arguments):
    return CliRunner().invoke(app, ["refine", *map(str, arguments)])


@pytest.fixture
def street(tmp_path):
    """A folder of images that show TRUTH, and an empty one of masks."""
    for name in ("a", "b", "c"):
        write_png(tmp_path / "images" / f"{name}.png", np.repeat(TRUTH[..., None] * np.uint8(200), 3, axis=-1))
    (tmp_path / "masks").mkdir()
    return tmp_path


def run(street, *more):
    return refine(street / "masks", "--images", street / "images", "--out", street / "out", *more)


def test_every_encoding_comes_back_as_it_was_and_nearer_to_the_truth(street):
    masks, colours = street / "masks", np.array([[0, 0, 0], [128, 64, 128]], dtype=np.uint8)
    write_png(masks / "a_labelIds.png", COARSE * np.uint16(26001))  # instances
    write_png(masks / "b.png", COARSE, np.resize(np.arange(768, dtype=np.uint8), (256, 3)))
    write_png(masks / "c_color.png", colours[COARSE])
    result = run(street, "--method", "guided_filter", "--steps", 4)
    assert result.exit_code == 0, result.output
    assert "3 of 3 masks refined" in result.output
    instances = read_label_ids(street / "out" / "a_labelIds.png")
    assert set(np.unique(instances)) == {0, 26001}
    with Image.open(street / "out" / "b.png") as palette_file:
        assert palette_file.mode == "P"
    coloured = read_image(street / "out" / "c_color.png")
    assert {tuple(colour) for colour in coloured.reshape(-1, 3)} == {tuple(colour) for colour in colours.tolist()}
    for found in (instances > 0, read_label_ids(street / "out" / "b.png"), coloured[..., 0] > 0):
        assert (found != TRUTH).sum() < 0.5 * (COARSE != TRUTH).sum()


def test_masks_of_half_the_size_are_enlarged_and_the_same_command_goes_on(street):
    write_png(street / "masks" / "a.png", 255 * COARSE[::2, ::2])
    first = run(street, "--method", "mean_field")
    assert first.exit_code == 0, first.output
    assert set(np.unique(read_label_ids(street / "out" / "a.png"))) == {0, 255}
    write_png(street / "masks" / "b.png", COARSE)
    again = run(street, "--method", "mean_field")
    assert "2 of 2 masks refined" in again.output
    assert "1 of them earlier" in again.output
    other = run(street, "--method", "guided_filter")
    assert other.exit_code == 2
    assert "has results of other options: method was 'mean_field'" in other.output
    assert run(street, "--method", "guided_filter", "--overwrite").exit_code == 0


def test_lines_stay_whole_when_asked_and_the_folder_remembers_it(street):
    line = np.zeros((48, 64), dtype=np.uint8)
    line[20:24] = 1
    write_png(street / "masks" / "a.png", line)
    line[:, 26:38] = 0  # the image does not show it there
    write_png(street / "images" / "a.png", np.repeat(line[..., None] * np.uint8(255), 3, axis=-1))

    def parts(*more):
        result = run(street, "--method", "guided_filter", "--keep-thin", 1, *more)
        assert result.exit_code == 0, result.output
        return cv2.connectedComponents(read_label_ids(street / "out" / "a.png").astype(np.uint8))[0] - 1

    assert parts() > 1
    other = run(street, "--method", "guided_filter", "--keep-thin", 1, "--keep-connected")
    assert other.exit_code == 2
    assert "keep_connected" in other.output
    assert parts("--keep-connected", "--overwrite") == 1


def test_what_is_wrong_is_listed_and_the_others_are_done(street):
    masks, rng = street / "masks", np.random.default_rng(0)
    write_png(masks / "a.png", COARSE)
    write_png(masks / "b.png", COARSE[:31])
    write_png(masks / "c.png", rng.integers(0, 255, (48, 64, 3), dtype=np.uint8))
    write_png(masks / "lost.png", COARSE)
    result = run(street, "--method", "guided_filter")
    assert result.exit_code == 1
    assert "1 of 4 masks refined" in result.output
    errors = [line for line in result.output.splitlines() if line.startswith("error:")]
    assert len(errors) == 3
    assert "b.png: the mask has 31×64 pixels and its image 48×64" in errors[0]
    assert "c.png" in errors[1]
    assert "a photograph rather than a mask" in errors[1]
    assert "lost.png: no image of a mask" in errors[2]


def test_values_are_checked_where_a_table_is_given_and_a_jpeg_is_no_mask(street):
    write_png(street / "masks" / "a.png", 99 * COARSE)
    unknown = run(street, "--method", "guided_filter", "--label-space", "camvid")
    assert unknown.exit_code == 1
    assert "a.png" in unknown.output
    assert "99" in unknown.output
    (street / "masks" / "a.png").unlink()
    Image.fromarray(COARSE).save(street / "masks" / "a.jpg")
    assert "JPEG changes label ids" in run(street, "--method", "guided_filter").output


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ([], "--model, or a method by --method"),
        (["--method", "crf"], "--method crf: "),
        (["--method", "mean_field", "--encoding", "rgb"], "--encoding rgb: "),
        (["--method", "mean_field", "--steps", "0"], "steps is 0"),
        (["--method", "mean_field", "--label-space", "nowhere"], "unknown label table 'nowhere'"),
        (["--model", "nowhere"], "nowhere"),
        (["--method", "mean_field"], "no label images found"),
    ],
)
def test_one_line_says_what_to_mend(street, more, message):
    result = run(street, *more)
    assert result.exit_code == 2
    assert message in result.output
    assert len(result.output.splitlines()) == 1


def test_a_network_of_directions_refines_and_a_segmenter_is_refused(street):
    options = {"backbone": "resnet18", "channels": 8, "output_stride": 32, "head_options": {"auxiliary": False}}
    refiner = crispseg.create_model("plain", num_classes=9, label_space=label_space("directions"), **options)
    crispseg.save_model(refiner, street / "refiner")
    crispseg.save_model(crispseg.create_model("plain", num_classes=2, **options), street / "segmenter")
    write_png(street / "masks" / "a.png", COARSE)
    result = run(street, "--model", street / "refiner", "--window", 32, 32)
    assert result.exit_code == 0, result.output
    assert read_label_ids(street / "out" / "a.png").shape == TRUTH.shape
    record = [json.loads(line) for line in (street / "out" / "refined.jsonl").read_text().splitlines()]
    assert record[0]["format"] == "crispseg refine 1"
    assert record[1]["image"] == "a"
    refused = refine(
        street / "masks", "--images", street / "images", "--out", street / "x", "--model", street / "segmenter"
    )
    assert refused.exit_code == 2
    assert "it segments, and is no refiner" in refused.output
    same = refine(street / "masks", "--images", street / "images", "--out", street / "masks", "--method", "mean_field")
    assert "is the folder of the masks too" in same.output
