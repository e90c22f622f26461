"""The pictures of an image: what each is, which figures of the papers it redraws, what it needs, how it is drawn."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from crispseg.errors import ConfigError
from crispseg.explanation.looks import Ids, Shown
from crispseg.explanation.subject import Subject
from crispseg.labels import IGNORE_INDEX
from crispseg.pictures import (
    boundary_picture,
    change_map,
    colourise,
    error_map,
    gain_map,
    map_note,
    map_picture,
    outline_picture,
    split_frequencies,
)
from crispseg.pictures.colour import Picture, blend
from crispseg.pictures.drawing import Drawing
from crispseg.pictures.labels import CHANGES, EDGE, ERRORS, GAINS, faded
from crispseg.pictures.places import closer, fullest_places, with_frames
from crispseg.pictures.scales import draw_flow, draw_share_bar
from crispseg.pictures.sheets import draw_key, draw_legend, draw_sheet, scaled_to_width, stack
from crispseg.wording import nearest_name

__all__ = ["FIGURES", "Available", "Figure", "choose_figures", "figures_of"]

_INSETS = 3
_SMOOTHING = 1 / 80  # of the longer side: the deviation that parts low from high frequencies


@dataclass(frozen=True)
class Available:
    """What there is to draw from.

    Attributes:
        shown: what the model can show.
        labels: whether the truth is known.
        models: how many models look at the image.
    """

    shown: Shown
    labels: bool = False
    models: int = 1


@dataclass(frozen=True)
class Figure:
    """A picture that can be drawn of an image.

    Attributes:
        name: that the user chooses it by, and its file's name ends in.
        sentence: what it shows.
        papers: which figures of the papers it redraws.
        lacks: says what is missing for it; None: nothing.
        draw: makes it.
    """

    name: str
    sentence: str
    papers: str
    lacks: Callable[[Available], str | None]
    draw: Callable[[Subject], Drawing]


def figures_of(available: Available) -> dict[str, Figure]:
    """The pictures that can be drawn, by name: those of `FIGURES` that lack nothing, then one for each map."""
    figures = {figure.name: figure for figure in FIGURES if figure.lacks(available) is None}
    taken = {figure.name for figure in FIGURES}
    for name, info in available.shown.map_info.items():
        if info.kind == "flow" and name == "flow":
            continue  # it has its figure
        own = f"map_{name}" if name in taken else name
        figures[own] = Figure(own, f"The map alone: {info.title}.", "", _nothing, partial(_one_map, name=name))
    return figures


def choose_figures(names: Sequence[str] | None, available: Available) -> list[Figure]:
    """The pictures of these names, or all that can be drawn.

    Raises:
        ConfigError: if one is unknown or cannot be drawn; the message says why, and which can.

    Example:
        >>> [figure.name for figure in choose_figures(["outlines"], Available(Shown()))]
        ['outlines']
        >>> choose_figures(["gates"], Available(Shown()))
        Traceback (most recent call last):
        ...
        crispseg.errors.ConfigError: gates: the model has no gates; it can give prediction, overlay, outlines, ...
    """
    can = figures_of(available)
    if names is None:
        return list(can.values())
    if not names:
        raise ConfigError(f"no picture is named; some of {', '.join(can)} expected")
    known = {figure.name: figure for figure in FIGURES}
    for name in names:
        if name in can:
            continue
        if name not in known:
            raise ConfigError(f"no picture is called {name!r}; {nearest_name(name, [*can, *known])}")
        raise ConfigError(f"{name}: {known[name].lacks(available)}; it can give {', '.join(can)}")
    return [can[name] for name in dict.fromkeys(names)]


# What a picture may lack.


def _nothing(available: Available) -> str | None:
    return None


def _gates(available: Available) -> str | None:
    return None if available.shown.of_kind("gate") else "the model has no gates"


def _closable(available: Available) -> str | None:
    return None if available.shown.closable else "the model has no gates that can be closed"


def _flow(available: Available) -> str | None:
    return None if available.shown.of_kind("flow") else "the model has no flow"


def _features(available: Available) -> str | None:
    return None if available.shown.of_kind("features") else "the model shows no features"


def _boundaries(available: Available) -> str | None:
    return None if available.shown.boundaries else "the model has no boundary branch"


def _labels(available: Available) -> str | None:
    return None if available.labels else "it needs labels"


def _others(available: Available) -> str | None:
    return None if available.models > 1 else "it needs another model beside this one"


def _others_and_labels(available: Available) -> str | None:
    return _others(available) or _labels(available)


# How each is drawn.

_GATE_BAR = ("0, closed,", "1, open")


_Row = list[tuple[str, Picture]]
"""Pictures with their captions, of which two may be alike."""


def _sheet(subject: Subject, columns: _Row, *below: Drawing) -> Drawing:
    """A row of pictures by caption, with legends below it."""
    return _grid(subject, [columns], *below)


def _grid(subject: Subject, rows: Sequence[_Row], *below: Drawing) -> Drawing:
    width = subject.cell_width(max(len(row) for row in rows))
    pictures = draw_sheet(
        [[picture for _, picture in row] for row in rows],
        [[words for words, _ in row] for row in rows],
        cell_width=width,
    )
    return stack(pictures, *below)


def _classes(subject: Subject, *maps: Ids, columns: int) -> Drawing:
    """The legend of the classes that are seen, about as wide as so many pictures."""
    seen = sorted({int(value) for ids in maps for value in np.unique(ids)})
    fit = max(columns * subject.cell_width(columns) // _LEGEND_PX, 1)
    return draw_legend(subject.look.prediction.label_space, only=seen, columns=min(len(seen), fit))


_LEGEND_PX = 125  # of a column of a legend, about


def _key(colours: Mapping[str, tuple[int, int, int]]) -> Drawing:
    return draw_key(list(colours.items()), columns=len(colours))


def _in_colours(subject: Subject, ids: Ids) -> Picture:
    return colourise(ids, subject.look.prediction.label_space.palette)


def _prediction(subject: Subject) -> Drawing:
    predicted = subject.look.prediction.labels
    columns = [("image", subject.image), ("prediction", _in_colours(subject, predicted))]
    return _sheet(subject, columns, _classes(subject, predicted, columns=2))


def _overlay(subject: Subject) -> Drawing:
    predicted = subject.look.prediction.labels
    picture = blend(subject.image, _in_colours(subject, predicted))
    return _sheet(subject, [("prediction", picture)], _classes(subject, predicted, columns=1))


def _outlines(subject: Subject) -> Drawing:
    prediction = subject.look.prediction
    maps = {"outlines of the prediction": prediction.labels}
    if subject.labels is not None:
        maps["outlines of the truth"] = subject.labels
    palette = prediction.label_space.palette
    columns = [(caption, outline_picture(subject.image, ids, palette)) for caption, ids in maps.items()]
    return _sheet(subject, columns, _classes(subject, *maps.values(), columns=len(columns)))


def _frequencies(subject: Subject) -> Drawing:
    sigma = _SMOOTHING * max(subject.size_hw)
    whole = {"image": subject.image, "prediction": _in_colours(subject, subject.look.prediction.labels)}
    rows = []
    for caption, picture in whole.items():
        low, high = split_frequencies(picture, sigma)
        rows.append(
            [(caption, picture), (f"low frequencies: Gaussian, σ {sigma:.1f} px", low), ("high: the rest", high)]
        )
    return _grid(subject, rows)


def _crops(subject: Subject) -> Drawing:
    crops = subject.options.crops(subject.size_hw)
    width = subject.cell_width(len(crops) + 1)
    framed = with_frames(subject.image, list(crops.values()), width, [str(factor) for factor in crops])
    predicted = subject.look.prediction.labels
    inside = []
    for rows, columns in crops.values():  # all as high as the image
        share = (columns.stop - columns.start) / (rows.stop - rows.start)
        as_high = max(round(framed.size_hw[0] * share), 1)
        inside.append(closer(_in_colours(subject, predicted), (rows, columns), None, as_high))
    captions = ["crops around the vanishing point", *(f"crop factor {factor} px" for factor in crops)]
    return stack(draw_sheet([[framed, *inside]], captions), _classes(subject, predicted, columns=len(crops)))


def _boundary_branch(subject: Subject) -> Drawing:
    probability = subject.look.prediction.boundary_probability
    assert probability is not None  # by `lacks`
    picture = boundary_picture(probability)
    return _sheet(subject, [("image", subject.image), ("boundary probability", picture)])


def _edge_prior(subject: Subject) -> Drawing:
    probability = subject.look.prediction.boundary_probability
    assert probability is not None  # by `lacks`
    threshold = subject.options.edge_threshold
    edges = probability > threshold
    picture = faded(subject.image)
    picture[edges] = EDGE
    caption = f"above {threshold:g}: {100 * edges.mean():.1f} %; highest {probability.max():.2f}"
    return _sheet(subject, [("image", subject.image), (caption, picture)])


def _map(subject: Subject, name: str) -> tuple[str, Picture]:
    """A map's title with its scale, and its picture."""
    info, values = subject.look.shown.map_info[name], subject.look.maps[name]
    try:
        picture = map_picture(values, info, subject.size_hw)
    except ValueError as error:
        raise ConfigError(f"the head declares its map {name!r} as {info.kind}, but {error}") from error
    return f"{info.title}: {map_note(values, info)}", picture


def _one_map(subject: Subject, name: str) -> Drawing:
    kind = subject.look.shown.map_info[name].kind
    columns = [("image", subject.image), _map(subject, name)]
    if kind == "flow":
        return draw_flow(subject.look.maps[name], scaled_to_width(subject.image, subject.cell_width(2)))
    bars = {"gate": [draw_share_bar(*_GATE_BAR)], "features": []}
    return _sheet(subject, columns, *bars.get(kind, [draw_share_bar()]))


def _gate_sheet(subject: Subject) -> Drawing:
    maps = [_map(subject, name) for name in subject.look.shown.of_kind("gate")]
    return _sheet(subject, [("image", subject.image), *maps], draw_share_bar(*_GATE_BAR))


def _knockout(subject: Subject) -> Drawing:
    look, labels = subject.look, subject.labels
    before = look.prediction.labels
    gates = [("image", subject.image)]
    without = [("prediction", _in_colours(subject, before))]
    for name, after in look.without.items():
        gates.append(_map(subject, name))
        without.append((_effect(before, after, labels), change_map(subject.image, before, after, labels)))
    names = {"changes": "changes when it is closed"}
    if labels is not None:
        names = {"becomes wrong": "becomes wrong when it is closed", "becomes right": "right", "changes": "otherwise"}
    key = {words: CHANGES[name] for name, words in names.items()}
    return _grid(subject, [gates, without], draw_share_bar(*_GATE_BAR), _key(key))


def _effect(before: Ids, after: Ids, labels: Ids | None) -> str:
    changed = before != after
    if labels is None:
        return f"{100 * changed.mean():.1f} % change"
    judged = max(int((labels != IGNORE_INDEX).sum()), 1)
    wrong, right = changed & (before == labels), changed & (after == labels)
    return f"{100 * wrong.sum() / judged:.1f} % wrong, {100 * right.sum() / judged:.1f} % right"


def _flow_sheet(subject: Subject) -> Drawing:
    return _one_map(subject, subject.look.shown.of_kind("flow")[0])


def _feature_sheet(subject: Subject) -> Drawing:
    info = subject.look.shown.map_info
    maps = [(info[name].title, _map(subject, name)[1]) for name in subject.look.shown.of_kind("features")]
    return _sheet(subject, [("image", subject.image), *maps])


def _errors(subject: Subject) -> Drawing:
    predicted, labels = subject.look.prediction.labels, _known(subject)
    columns = [
        ("image", subject.image),
        ("truth", _in_colours(subject, labels)),
        ("prediction", _in_colours(subject, predicted)),
        (f"errors: {_share_right(predicted, labels)}", error_map(predicted, labels)),
    ]
    return _sheet(subject, columns, _classes(subject, predicted, labels, columns=4), _key(ERRORS))


def _known(subject: Subject) -> Ids:
    assert subject.labels is not None  # by `lacks`
    return subject.labels


def _share_right(predicted: Ids, labels: Ids) -> str:
    judged = labels != IGNORE_INDEX
    return f"{100 * (predicted == labels)[judged].mean():.1f} % right" if judged.any() else "nothing judged"


def _models(subject: Subject) -> Drawing:
    masks = {title: look.prediction.labels for title, look in subject.looks.items()}
    seen, keys = list(masks.values()), []
    columns = [("image", subject.image)]
    if subject.labels is not None:
        columns.append(("truth", _in_colours(subject, subject.labels)))
        seen.append(subject.labels)
    columns += [(title, _in_colours(subject, ids)) for title, ids in masks.items()]
    if subject.labels is not None:
        ours, other, *_ = masks
        columns.append((f"{ours} against {other}", gain_map(subject.labels, masks[ours], masks[other])))
        keys.append(_key(GAINS))
    first, *others = masks.values()
    differs = np.any([ids != first for ids in others], axis=0)
    return _with_insets(subject, columns, differs, _classes(subject, *seen, columns=len(columns)), *keys)


def _model_errors(subject: Subject) -> Drawing:
    labels = _known(subject)
    masks = {title: look.prediction.labels for title, look in subject.looks.items()}
    columns = [("image", subject.image), ("truth", _in_colours(subject, labels))]
    columns += [(f"{title}: {_share_right(ids, labels)}", error_map(ids, labels)) for title, ids in masks.items()]
    first, *others = ((ids != labels) & (labels != IGNORE_INDEX) for ids in masks.values())
    differs = np.any([wrong != first for wrong in others], axis=0)
    return _with_insets(subject, columns, differs, _classes(subject, labels, columns=len(columns)), _key(ERRORS))


def _with_insets(subject: Subject, columns: _Row, differs: npt.NDArray[np.bool_], *below: Drawing) -> Drawing:
    """Pictures beside each other, and below them the places where they differ most."""
    width = subject.cell_width(len(columns))
    places = fullest_places(differs, _INSETS)
    rows = [[with_frames(picture, places, width) for _, picture in columns]]
    for number, place in enumerate(places, start=1):
        rows.append([closer(picture, place, number, width) for _, picture in columns])
    return stack(draw_sheet(rows, [words for words, _ in columns]), *below)


FIGURES = (
    Figure("prediction", "The classes of the mask.", "GSCNN 7, GFF 8", _nothing, _prediction),
    Figure("overlay", "The mask on the image.", "", _nothing, _overlay),
    Figure("outlines", "The outlines of the mask, by class.", "GSCNN 9, Decoupled 3c", _nothing, _outlines),
    Figure("frequencies", "Low and high frequencies of image and mask.", "Decoupled 1a", _nothing, _frequencies),
    Figure("crops", "The crops of IoU at distance, and the mask in them.", "GSCNN 3, 4", _nothing, _crops),
    Figure("boundaries", "What the boundary branch says.", "GSCNN 6", _boundaries, _boundary_branch),
    Figure("edge_prior", "Where it says so above the threshold.", "Decoupled 5d", _boundaries, _edge_prior),
    Figure("gates", "What each gate lets pass.", "GFF 6, 7a, 9, 10; GSCNN 10", _gates, _gate_sheet),
    Figure("knockout", "What changes when a gate is closed.", "GFF 7b", _closable, _knockout),
    Figure("flow", "The flow in colours and as arrows.", "Decoupled 6", _flow, _flow_sheet),
    Figure("features", "Principal components of features.", "Decoupled 5a–c", _features, _feature_sheet),
    Figure("errors", "Where the mask is wrong.", "Decoupled 4, GSCNN 8", _labels, _errors),
    Figure("models", "Masks of models, and where they differ most.", "GFF 1, 4, 5, 8; GSCNN 7", _others, _models),
    Figure("model_errors", "Errors of models, closer.", "GSCNN 8, Decoupled 4", _others_and_labels, _model_errors),
)
"""What every model may have, in order; maps of its head come after them."""
