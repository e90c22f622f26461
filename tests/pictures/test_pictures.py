"""What each picture must show, checked at single pixels and over whole scales."""

import base64

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from crispseg.labels import LabelSpace
from crispseg.pictures import (
    boundary_picture,
    colourise,
    error_map,
    flow_picture,
    gate_picture,
    legend,
    map_note,
    map_picture,
    overlay,
    pca_picture,
    sheet,
    to_data_uri,
    to_png_bytes,
)
from crispseg.types import MapInfo

SPACE = LabelSpace.from_dict(
    {
        "name": "two",
        "classes": [{"name": "road", "colour": [128, 64, 128]}, {"name": "Bürgersteig", "colour": [0, 0, 142]}],
    }
)


def is_picture(picture, size_hw=None):
    shaped = picture.dtype == np.uint8 and picture.ndim == 3 and picture.shape[2] == 3
    return shaped and (size_hw is None or picture.shape[:2] == size_hw)


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (5, 1), (6, 9)])
@pytest.mark.parametrize("tensors", [False, True])
def test_every_picture_takes_arrays_and_tensors_of_any_size(size, tensors):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, size).astype(np.uint8)
    values = {
        "labels": labels,
        "image": rng.integers(0, 256, (*size, 3)).astype(np.uint8),
        "gate": rng.random((1, *size), dtype=np.float32),
        "flow": rng.normal(size=(2, *size)).astype(np.float32),
        "features": rng.normal(size=(5, *size)).astype(np.float32),
    }
    given = {key: torch.from_numpy(v) for key, v in values.items()} if tensors else values
    pictures = [
        overlay(given["image"], given["labels"], SPACE.palette),
        boundary_picture(given["labels"]),
        boundary_picture(given["gate"]),
        boundary_picture(given["labels"] == 1),
        error_map(given["labels"], 1 - given["labels"]),
        gate_picture(given["gate"]),
        flow_picture(given["flow"]),
        pca_picture(given["features"]),
    ]
    assert all(is_picture(picture, size) for picture in pictures)
    for enlarged in (
        gate_picture(given["gate"], (12, 20)),
        flow_picture(given["flow"], (12, 20)),
        pca_picture(given["features"], (12, 20)),
    ):
        assert is_picture(enlarged, (12, 20))


def test_half_precision_maps_can_be_shown():
    for dtype in (torch.float16, torch.bfloat16):
        assert is_picture(gate_picture(torch.rand(1, 4, 4).to(dtype)))
        assert is_picture(pca_picture(torch.rand(3, 4, 4).to(dtype)))


def test_labels_in_their_colours_and_void_without():
    labels = np.array([[0, 1, 255]], dtype=np.uint8)
    assert colourise(labels, SPACE.palette).tolist() == [[[128, 64, 128], [0, 0, 142], [0, 0, 0]]]
    image = np.full((1, 3, 3), 200, np.uint8)
    shown = overlay(image, labels, SPACE.palette, alpha=1.0)
    assert shown.tolist() == [[[128, 64, 128], [0, 0, 142], [200, 200, 200]]]


def test_errors_are_brighter_than_what_is_right():
    right, wrong, void = error_map(np.array([[0, 1, 0]]), np.array([[0, 0, 255]]))[0].astype(int)
    assert wrong[0] > 2 * right[0]
    assert right[1] > right[0]
    assert wrong.sum() > right.sum() > void.sum() == 0


def test_boundaries_of_labels_are_both_sides_of_a_border_and_none_at_void():
    labels = np.zeros((5, 9), dtype=np.uint8)
    labels[:, 4:] = 1
    labels[:, 8] = 255
    bright = boundary_picture(labels).max(axis=2) > 128
    assert bright[2].tolist() == [False, False, False, True, True, False, False, False, False]


@pytest.mark.parametrize("picture_of", [gate_picture, boundary_picture])
def test_scales_grow_brighter_all_the_way(picture_of):
    ramp = picture_of(np.linspace(0, 1, 256, dtype=np.float32)[None])
    lightness = cv2.cvtColor(ramp.astype(np.float32) / 255, cv2.COLOR_RGB2Lab)[0, :, 0]
    assert (np.diff(lightness) > -0.2).all()
    assert lightness[-1] - lightness[0] > 70


def test_scales_do_not_depend_on_what_else_is_shown():
    alone, beside = gate_picture(np.array([[0.4]])), gate_picture(np.array([[0.4, 1.0]]))
    np.testing.assert_array_equal(alone[0, 0], beside[0, 0])


@given(angle=st.floats(0, 6.28), length=st.floats(0.1, 1))
def test_flow_has_its_hue_by_direction_and_saturation_by_length(angle, length):
    flow = np.array([length * np.cos(angle), length * np.sin(angle)], dtype=np.float32).reshape(2, 1, 1)
    red, green, blue = flow_picture(flow, longest_px=1.0)[0, 0].astype(float) / 255
    assert max(red, green, blue) == 1
    assert 1 - min(red, green, blue) == pytest.approx(length, abs=0.01)
    x, y = red - (green + blue) / 2, (green - blue) * np.sqrt(3) / 2  # the colour as a point on its wheel
    assert np.cos(np.arctan2(y, x) - angle) > 0.98


def test_no_flow_is_white():
    assert (flow_picture(np.zeros((2, 3, 3))) == 255).all()


def test_pca_tells_regions_apart_and_does_not_change_with_scale_or_order_of_cells():
    generator = np.random.default_rng(0)
    means = generator.normal(size=(3, 16))
    regions = np.zeros((12, 12), int)
    regions[4:], regions[:, 8:] = 1, 2
    features = means[regions].transpose(2, 0, 1) + generator.normal(size=(16, 12, 12)) * 0.01
    picture = pca_picture(features).astype(int)
    colours = np.array([picture[regions == k].mean(axis=0) for k in range(3)])
    for k in range(3):
        assert np.abs(picture[regions == k][:, :2] - colours[k, :2]).max() < 30
        assert np.abs(colours[k, :2] - colours[(k + 1) % 3, :2]).max() > 60
    assert np.abs(pca_picture(features * 100 + 7).astype(int) - picture).max() <= 1
    assert np.abs(pca_picture(features[:, ::-1])[::-1].astype(int) - picture).max() <= 1


@pytest.mark.parametrize("seed", range(6))
def test_pca_directions_point_to_where_their_heaviest_channel_grows(seed):
    # An eigenvector's sign is its library's whim; without a rule, like features would come out in opposite colours.
    generator = np.random.default_rng(seed)
    weights = generator.normal(size=(6, 1, 1))
    features = weights * generator.normal(size=(1, 8, 8))
    heaviest = features[np.abs(weights.ravel()).argmax()]
    red = pca_picture(features)[..., 0].astype(float)
    assert np.corrcoef(red.ravel(), heaviest.ravel())[0, 1] > 0.9


def test_pca_of_few_or_constant_channels():
    assert (pca_picture(np.full((4, 3, 3), 2.5)) == 128).all()
    one = pca_picture(np.arange(9.0).reshape(1, 3, 3))
    assert one[0, 0, 0] == 0
    assert one[2, 2, 0] == 255
    assert (one[..., 1:] == 128).all()


def test_sheet_places_every_picture_whole():
    pictures = [np.full((h, w, 3), v, np.uint8) for h, w, v in ((10, 20, 10), (14, 8, 60), (6, 30, 110))]
    found = sheet([[pictures[0], pictures[1]], [pictures[2]]], [["first", "second"], [""]], gap=3)
    assert is_picture(found)
    assert found.shape[1] == 30 + 8 + 3 * 3
    for picture in pictures:
        assert (found == picture[0, 0]).all(axis=2).sum() == picture.shape[0] * picture.shape[1]
    assert (found[0] == 255).all()


def test_captions_are_drawn_and_long_ones_stay_in_their_column():
    picture = np.full((30, 60, 3), 200, np.uint8)
    bare, named = sheet([[picture, picture]]), sheet([[picture, picture]], ["a caption far too long for it", "b"])
    words = named[8 : named.shape[0] - bare.shape[0] + 8]
    assert words.min() < 100
    assert (words[:, 69:75] == 255).all()  # the gap between the columns
    with_letters = sheet([[picture]], ["Bürger × σ"])
    assert (with_letters != sheet([[picture]], ["B□rger □ □"])).any()


def test_sheet_scales_to_a_width():
    wide, small = np.zeros((50, 100, 3), np.uint8), np.zeros((5, 10, 3), np.uint8)
    assert sheet([[wide], [small]], cell_width=40, gap=0).shape == (40, 40, 3)


def test_legend_shows_each_colour_and_name():
    found = legend(SPACE)
    for colour in ((128, 64, 128), (0, 0, 142)):
        assert (found == colour).all(axis=2).sum() > 100
    both, one = legend(SPACE, only=[1, 255]), legend(SPACE, only=[1])
    assert (both == 0).all(axis=2).sum() > (one == 0).all(axis=2).sum() + 100
    assert legend(SPACE, columns=2).shape[1] > found.shape[1]
    assert legend(SPACE, columns=2).shape[0] < found.shape[0]


@pytest.mark.parametrize("shape", [(7, 5, 3), (7, 5)])
def test_png_and_data_uri_hold_the_pixels(shape):
    picture = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    png = to_png_bytes(picture)
    head, _, body = to_data_uri(picture).partition(",")
    assert head == "data:image/png;base64"
    assert base64.b64decode(body) == png
    assert to_data_uri(png) == to_data_uri(picture)
    decoded = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(decoded[..., ::-1] if len(shape) == 3 else decoded, picture)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: gate_picture(np.zeros((2, 3, 3))), r"\(h, w\) or \(1, h, w\)"),
        (lambda: gate_picture(np.array([[1.5]])), r"\[0, 1\] expected"),
        (lambda: gate_picture(np.array([[np.nan]])), r"\[0, 1\] expected"),
        (lambda: boundary_picture(np.zeros((2, 3, 3), int)), r"\(H, W\) expected"),
        (lambda: flow_picture(np.zeros((3, 3, 3))), r"\(2, h, w\)"),
        (lambda: flow_picture(np.full((2, 1, 1), np.inf)), "not finite"),
        (lambda: flow_picture(np.zeros((2, 1, 1)), longest_px=0), "positive"),
        (lambda: pca_picture(np.zeros((3, 3))), r"\(C, h, w\)"),
        (lambda: pca_picture(np.full((2, 1, 1), np.nan)), "not finite"),
        (lambda: error_map(np.zeros((2, 2)), np.zeros((2, 3))), "the same"),
        (lambda: overlay(np.zeros((2, 2, 3), np.uint8), np.zeros((2, 3), int), SPACE.palette), "the same"),
        (lambda: sheet([[]]), "no pictures"),
        (lambda: sheet([[np.zeros((2, 2))]]), r"\(H, W, 3\) expected"),
        (lambda: sheet([[np.zeros((2, 2, 3), np.uint8)]], ["a", "b"]), "2 captions for 1 columns"),
        (lambda: sheet([[np.zeros((2, 2, 3), np.uint8)]], [["a", "b"]]), "captions do not fit"),
        (lambda: legend(SPACE, only=[2]), "ids"),
        (lambda: to_png_bytes(np.zeros((2, 2, 4), np.uint8)), r"\(2, 2, 4\)"),
    ],
)
def test_what_does_not_fit_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_map_is_drawn_by_its_kind():
    info = {kind: MapInfo(kind, kind, "A map.") for kind in ("share", "logit", "flow", "features")}
    generator = torch.Generator().manual_seed(0)
    maps = torch.rand(4, 3, 5, generator=generator)
    np.testing.assert_array_equal(map_picture(maps, info["features"], (6, 10)), pca_picture(maps, (6, 10)))
    np.testing.assert_array_equal(map_picture(maps[:2], info["flow"]), flow_picture(maps[:2]))
    np.testing.assert_array_equal(map_picture(maps[:1], info["share"]), gate_picture(maps[0]))
    # several shares are one by their mean; a logit's share is its sigmoid
    np.testing.assert_array_equal(map_picture(maps, info["share"]), gate_picture(maps.mean(0)))
    np.testing.assert_array_equal(map_picture(maps[:1].logit(), info["logit"]), gate_picture(maps[0]))
    with pytest.raises(ValueError, match=r"gate holds .* \[0, 1\] expected"):
        map_picture(3 + maps, info["share"])
    with pytest.raises(ValueError, match=r"\(2, h, w\) expected"):
        map_picture(maps, info["flow"])


def test_a_note_gives_a_map_its_scale():
    flow = np.array([[[3.0, 0.0]], [[4.0, 1.0]]])
    assert "up to 5.0 cells" in map_note(flow, MapInfo("flow", "flow", ""))
    assert map_note(np.array([[[0.0, 0.5]]]), MapInfo("share", "gate", "")) == "mean 0.25"
    assert map_note(np.array([[[0.0, -200.0]]]), MapInfo("logit", "edge", "")) == "mean 0.25"


def test_a_row_s_captions_grow_smaller_together_before_one_is_cut():
    from crispseg.pictures.drawing import Words
    from crispseg.pictures.sheets import draw_sheet

    picture = np.zeros((10, 120, 3), np.uint8)

    def words(*captions: str) -> list[tuple[str, int]]:
        return [(mark.text, mark.px) for mark in draw_sheet([[picture] * 2], captions).marks if isinstance(mark, Words)]

    assert words("short", "also short") == [("short", 14), ("also short", 14)]
    (_, size), (text, other) = words("short", "some more letters")
    assert (text, size) == ("some more letters", other)
    assert 10 <= size < 14
    (_, size), (text, other) = words("short", "by far more letters than can be there")
    assert size == other == 10
    assert text.endswith("…")
