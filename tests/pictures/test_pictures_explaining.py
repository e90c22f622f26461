"""Pictures that explain, checked on content: arrows, changes, outlines, frequencies, places; and files of them."""

import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from crispseg.errors import ConfigError
from crispseg.labels import LabelSpace
from crispseg.pictures import (
    Drawing,
    change_map,
    draw_flow,
    draw_legend,
    draw_sheet,
    flow_picture,
    flow_wheel,
    fullest_places,
    gain_map,
    outline_picture,
    plot_boundary_f,
    split_frequencies,
)
from crispseg.pictures.drawing import Arrows, Box, Raster, Words
from crispseg.pictures.labels import CHANGES, GAINS, faded
from crispseg.pictures.places import closer, with_frames
from crispseg.pictures.plots import gate_plot
from crispseg.pictures.scales import flow_arrows

RNG = np.random.default_rng(0)
IMAGE = RNG.integers(0, 256, (40, 60, 3), dtype=np.uint8)


def test_arrows_point_to_where_features_come_from_and_the_longest_is_a_step_long():
    flow = np.zeros((2, 4, 6), dtype=np.float32)
    flow[0, :, :3], flow[1, :, 3:] = 2.0, -1.0  # two cells to the right; one up
    arrows, times = flow_arrows(flow, (40, 60), step_px=10)
    steps = arrows.ends - arrows.starts
    left, right = arrows.starts[:, 0] < 20, arrows.starts[:, 0] > 40
    np.testing.assert_allclose(steps[left], [[10, 0]] * int(left.sum()), atol=1e-5)
    np.testing.assert_allclose(steps[right], [[0, -5]] * int(right.sum()), atol=1e-5)
    assert times == pytest.approx(10 / 20)  # two cells are 20 px of this image
    assert not len(flow_arrows(np.zeros((2, 4, 6)), (40, 60))[0].starts)


def test_the_wheel_has_the_colours_of_flows_that_point_outward():
    wheel = flow_wheel(33)
    for row, column in ((16, 30), (5, 16), (25, 9)):
        flow = np.array([column - 16, row - 16], dtype=np.float32).reshape(2, 1, 1) / 16
        np.testing.assert_array_equal(wheel[row, column], flow_picture(flow, longest_px=1.0)[0, 0])
    assert (wheel[[0, 0, -1, -1], [0, -1, 0, -1]] == 255).all()


def test_a_drawn_flow_shows_the_field_in_its_colours():
    flow = np.full((2, 4, 6), 0.0, dtype=np.float32)
    flow[0] = 1.0
    drawing = draw_flow(flow, IMAGE).to_array()
    assert (drawing[28:68, 8:68] == (255, 0, 0)).all()  # all of it to the right: red


def test_changes_are_marked_by_what_becomes_of_them():
    before, after, true = np.array([[[0, 0, 1, 1, 1]], [[0, 1, 0, 2, 2]], [[0, 0, 0, 0, 255]]])
    image = IMAGE[:1, :5]
    picture = change_map(image, before, after, true)
    marks = ["becomes wrong", "becomes right", "changes", "changes"]
    assert [tuple(colour) for colour in picture[0, 1:].tolist()] == [CHANGES[name] for name in marks]
    np.testing.assert_array_equal(picture[0, 0], faded(image)[0, 0])
    unknown = change_map(image, before, after)
    assert (unknown[0, 1:] == CHANGES["changes"]).all()
    with pytest.raises(ValueError, match="the same"):
        change_map(image, before, after[:, :4])


def test_what_is_won_and_lost():
    picture = gain_map(np.array([[0, 0, 0, 0, 255]]), np.array([[0, 1, 0, 1, 0]]), np.array([[1, 0, 0, 1, 0]]))
    marks = [GAINS["won"], GAINS["lost"], GAINS["both right"], GAINS["both wrong"], (255, 255, 255)]
    assert [tuple(colour) for colour in picture[0].tolist()] == marks


def test_outlines_have_their_own_class_on_either_side_and_nothing_else_is_marked():
    palette = np.zeros((256, 3), dtype=np.uint8)
    palette[0], palette[7] = (200, 0, 0), (0, 0, 200)
    labels = np.zeros((40, 60), dtype=np.uint8)
    labels[:, 30:] = 7
    picture = outline_picture(IMAGE, labels, palette)
    assert (picture[:, 29] == palette[0]).all()
    assert (picture[:, 30] == palette[7]).all()
    np.testing.assert_array_equal(np.delete(picture, [29, 30], axis=1), np.delete(faded(IMAGE), [29, 30], axis=1))


def test_low_and_high_frequencies_add_up_to_the_picture():
    picture = (100 + RNG.integers(0, 80, (30, 40, 3))).astype(np.uint8)
    low, high = split_frequencies(picture, 3.0)
    np.testing.assert_array_equal(low.astype(int) + high - 128, picture)
    assert low.std() < picture.std() / 3
    with pytest.raises(ValueError, match="positive"):
        split_frequencies(picture, 0)


def test_the_fullest_places_are_found_in_order_and_do_not_overlap():
    marks = np.zeros((90, 120), dtype=bool)
    marks[10:16, 20:26] = True
    marks[70:73, 100:103] = True
    places = fullest_places(marks, 3, share=0.1)
    assert [marks[place].sum() for place in places] == [36, 9]
    first = places[0]
    assert first[0].start <= 10
    assert first[1].stop >= 26
    assert fullest_places(np.zeros((5, 5), dtype=bool), 3) == []
    everywhere = fullest_places(np.ones((30, 30), dtype=bool), 4, share=0.3)
    covered = np.zeros((30, 30), dtype=int)
    for place in everywhere:
        covered[place] += 1
    assert covered.max() == 1
    assert fullest_places(np.ones((3, 2), dtype=bool), 2) == [(slice(0, 3), slice(0, 2))]


def test_a_place_is_framed_and_enlarged_with_its_own_pixels():
    place = (slice(10, 20), slice(30, 40))
    framed = with_frames(IMAGE, [place], 60).to_array()
    frame = framed[8, 41]
    assert (framed[8:10, 28:42] == frame).any(axis=2).mean() > 0.4  # its upper line, and the number's label
    assert (framed[20:22, 28:42] == frame).all()
    np.testing.assert_array_equal(framed[10:20, 41 - 1 : 42].reshape(-1, 3), np.tile(frame, (20, 1)))
    outside = np.ones((40, 60), dtype=bool)
    outside[8:23, 28:42] = False
    np.testing.assert_array_equal(framed[outside], IMAGE[outside])
    large = closer(IMAGE, place, 1, 100).to_array()
    np.testing.assert_array_equal(large[55:95:10, 55:95:10], IMAGE[15:19, 35:39])


def test_drawings_are_painted_mark_over_mark():
    drawing = Drawing((20, 30), [Raster(2, 3, np.full((4, 5, 3), 7, np.uint8)), Box(4, 5, 6, 6, (9, 9, 9), line_px=1)])
    whole = Drawing((40, 40))
    whole.place(drawing, 10, 5)
    picture = whole.to_array()
    assert (picture[8:10, 12:17] == 7).all()
    assert (picture[10, 14:20] == 9).all()
    assert (picture[12, 14] == 9).all()
    assert (picture[11, 15] == 7).all()
    assert (picture[0] == 255).all()
    arrow = Drawing((11, 31), [Arrows(np.array([[2.5, 5.5]]), np.array([[27.5, 5.5]]), (0, 0, 0))]).to_array()
    assert (arrow[5, 3:26] < 100).all()
    assert (arrow[[0, -1]] == 255).all()
    assert (arrow[:, 29:] == 255).all()
    assert (arrow[2, 22:25] < 100).any()  # its head


HOSTILE = ["<script>alert(1)</script> & $x^2$ --", "\x1b[31m\nred"]


@pytest.mark.parametrize("kind", ["svg", "pdf"])
def test_files_for_print_are_sound_equal_and_keep_words(tmp_path, kind):
    space = LabelSpace.from_dict({"name": "odd", "classes": [{"name": name.strip()[:20]} for name in ("a", "b")]})
    drawing = draw_sheet([[IMAGE, draw_legend(space)]], HOSTILE)
    drawing.marks.append(Arrows(np.array([[2.0, 5.0]]), np.array([[27.0, 9.0]])))
    drawing.marks.append(Words(3, 3, HOSTILE[0], 12))
    paths = [tmp_path / f"{number}.{kind}" for number in range(2)]
    for path in paths:
        drawing.write(path)
    first, second = (path.read_bytes() for path in paths)
    assert first == second
    if kind == "pdf":
        assert first.startswith(b"%PDF-1.4")
        return
    root = ElementTree.fromstring(first)
    tags = {element.tag.rpartition("}")[2] for element in root.iter()}
    assert {"image", "path"} <= tags
    assert "script" not in tags
    assert root.attrib["viewBox"].split()[2:] == [f"{side * 0.72:g}" for side in reversed(drawing.size_hw)]


def test_the_svg_of_a_drawing_shows_what_the_array_shows(tmp_path):
    """Through the same figure as a picture of matplotlib, which SVG and PDF are written from."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    drawing = Drawing((60, 90), [Raster(10, 5, IMAGE), Box(70, 10, 12, 30, (200, 0, 0))])
    canvas = FigureCanvasAgg(drawing.figure())
    canvas.draw()
    np.testing.assert_array_equal(np.asarray(canvas.buffer_rgba())[..., :3], drawing.to_array())


def test_other_endings_are_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"\.png, \.pdf, \.svg"):
        Drawing((4, 4)).write(tmp_path / "a.jpg")


def test_plots_of_boundary_f_and_gates():
    assert plot_boundary_f({"a": {3: 0.6, 12: 0.8}, "b": {3: 0.65, 12: 0.85}}).shape == (420, 640, 3)
    with pytest.raises(ValueError, match="mean_f is"):
        plot_boundary_f({})
    shares = np.zeros(10)
    shares[2] = 1.0
    picture = gate_plot({"gate $1": (shares, 0.25, 0.5), "gate 2": (shares[::-1], 0.75, 0.1)}).to_array()
    teal, orange = ((picture == colour).all(axis=2) for colour in ((11, 110, 117), (194, 87, 26)))
    longer, shorter = (mask[:, 500:].any(axis=0).sum() for mask in (teal, orange))
    assert longer / shorter == pytest.approx(5, abs=0.2)  # the bars are to scale
    with pytest.raises(ValueError, match="no gates"):
        gate_plot({})
