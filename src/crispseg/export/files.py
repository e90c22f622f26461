"""Writing an exported file: trace, convert, run it at other sizes than the example's, compare, only then keep it."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from crispseg.errors import ConfigError, WeightsError
from crispseg.export.graph import EXAMPLE_HW, SMALLEST_SIDE, WithOutputs, traced
from crispseg.export.int8 import Int8, accepted
from crispseg.export.quiet import quiet
from crispseg.extras import needed
from crispseg.inference.card import CARD_KEY, OUTPUTS, ExportCard
from crispseg.inference.exported import SUFFIXES, ExportedModel
from crispseg.io import atomic_write
from crispseg.models import Segmenter

__all__ = ["FORMATS", "TRIED", "Exported", "chosen_outputs", "compare", "export_model"]

FORMATS = {kind: suffix for suffix, kind in SUFFIXES.items()}
"""``onnx``, ``openvino`` and ``torch``, and how their files end."""

TRIED = ((1, 65, 97), (3, 128, 71), (1, 203, 160))
"""Batch, height and width of the images that a file is compared on; none is the example's."""

TOLERANCE = 1e-4
"""The largest difference of logits (a share of the largest logit, if that is above 1) and probabilities."""

LABEL_SHARE = 1e-3
"""The largest share of differing labels: where two classes are equally likely, rounding decides."""


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        path: of the file; OpenVINO's has its weights beside it, ending in ``.bin``.
        card: what it says of itself.
        differences: by output, the largest difference from the model at the sizes that were tried; of labels, the
            largest share. Of an 8-bit file, that of the float file that it was made of; the card's ``quantised`` says
            what it lost.
    """

    path: Path
    card: ExportCard
    differences: Mapping[str, float]


def export_model(
    model: Segmenter,
    path: str | os.PathLike[str],
    *,
    outputs: Sequence[str] = (),
    card: Mapping[str, Any] | None = None,
    int8: Int8 | None = None,
) -> Exported:
    """Write a model as a file for another runtime, for every batch, height and width.

    Images go in as (N, 3, H, W) float32 RGB in [0, 1], with three bands more of a mask where the model refines masks by
    looking at them (`crispseg.ops.directions.mask_bands`); the normalisation is inside. The file is run in its runtime
    at three sizes that are not the example's, odd ones among them, and compared with the model; where it differs,
    nothing is written.

    Args:
        model: stays as it is.
        path: ending in ``.onnx``, ``.xml`` (OpenVINO; the weights go beside it, as ``.bin``) or ``.pt2`` (a program
            of ``torch.export``).
        outputs: among ``logits``, ``probabilities``, ``labels`` and ``boundaries``; none: logits, and boundaries if
            the model has such a branch.
        card: of the model folder, kept in the file.
        int8: how to write the file in 8-bit integers, and what it may lose; None: in float32.

    Raises:
        ConfigError: if an output or the ending is unknown, a part of the model cannot be exported, or an extra is
            not installed.
        DataError: if an image to calibrate with, or one with labels, is broken.
        WeightsError: if the file's outputs differ from the model's, or the 8-bit file loses more than it may.
    """
    target = Path(path)
    kind = SUFFIXES.get(target.suffix.lower())
    if kind is None:
        raise ConfigError(f"{target}: ends in none of {', '.join(SUFFIXES)}; the ending says the format")
    if kind != "torch":
        needed("onnxscript", "onnx", "exporting")
        needed("onnxruntime", "onnx", "exporting")
    if kind == "openvino":
        needed("openvino", "openvino", "exporting to OpenVINO")
    if int8 is not None and kind not in _GRAPH_WRITERS:
        raise ConfigError(f"{target}: {kind} files are in float only; for 8 bits write .onnx or .xml")
    if model.config.sees_mask and int8 is not None:
        raise ConfigError(
            f"{target}: 8-bit files are calibrated by images, and this model refines masks; leave out --int8"
        )
    if model.config.image_channels != 3 and not model.config.sees_mask:
        raise ConfigError(
            f"{target}: the model takes images of {model.config.image_channels} bands, and exported files take three "
            "so far; use the model folder"
        )
    chosen = chosen_outputs(model, outputs)
    export_card = ExportCard(chosen, model.label_space, SMALLEST_SIDE, card or {}, filling=model.filling)
    with _in_evaluation(model), tempfile.TemporaryDirectory(prefix="crispseg-export-") as folder:
        module = WithOutputs(model, chosen)
        whole = Path(folder) / f"model{'.onnx' if int8 else target.suffix.lower()}"
        _WRITERS[SUFFIXES[whole.suffix]](module, export_card, whole)
        differences = compare(ExportedModel(whole), module)
        if int8 is not None:

            def write(graph: Any, card: ExportCard, name: str) -> Path:
                path = Path(folder) / f"{name}{target.suffix.lower()}"
                _GRAPH_WRITERS[kind](graph, card, path)
                return path

            whole, export_card = accepted(whole, export_card, kind, int8, TRIED, write)
        put_in_place(whole, target)
    return Exported(target, export_card, differences)


def chosen_outputs(model: Segmenter, outputs: Sequence[str]) -> tuple[str, ...]:
    """The outputs that were asked for, or what a `Predictor` reads.

    Raises:
        ConfigError: if one is unknown, named twice, or the model does not have it.
    """
    with _in_evaluation(model), torch.inference_mode():
        has_boundaries = model(torch.zeros(1, model.config.image_channels, 64, 64)).boundary_logits is not None
    if not outputs:
        return ("logits", "boundaries") if has_boundaries else ("logits",)
    if unknown := [name for name in outputs if name not in OUTPUTS]:
        raise ConfigError(f"outputs: {unknown[0]!r} found, of {', '.join(OUTPUTS)} expected")
    if len(set(outputs)) < len(outputs):
        raise ConfigError(f"outputs: {', '.join(outputs)}; each once expected")
    if "boundaries" in outputs and not has_boundaries:
        raise ConfigError("outputs: the model has no boundary branch; leave out boundaries")
    return tuple(outputs)


def compare(exported: ExportedModel, module: WithOutputs) -> dict[str, float]:
    """Run file and model on the same images, at sizes that are not the example's.

    Returns:
        By output, the largest difference; of labels, the largest share that differs.

    Raises:
        WeightsError: if a difference is above its bound, or the file does not run.
    """
    differences = dict.fromkeys(module.outputs, 0.0)
    generator = np.random.default_rng(0)
    channels = module.model.config.image_channels
    for batch, height, width in TRIED:
        assert (height, width) != EXAMPLE_HW
        images = generator.integers(0, 256, (batch, channels, height, width)).astype(np.float32) / np.float32(255)
        with torch.inference_mode():
            expected = [one.numpy() for one in module(torch.from_numpy(images))]
        where = f"at {batch}×{channels}×{height}×{width}"
        try:
            found = exported(images)
        except Exception as error:  # every runtime has its own
            reason = " ".join(str(error).split())
            raise WeightsError(
                f"the exported file does not run {where} ({reason:.300}); nothing was written"
            ) from error
        for name, ours in zip(module.outputs, expected, strict=True):
            theirs = found[name]
            if theirs.shape != ours.shape or theirs.dtype != ours.dtype:
                raise WeightsError(
                    f"the exported file gives {name} {theirs.dtype} {theirs.shape} {where}, the model {ours.dtype} "
                    f"{ours.shape}; nothing was written"
                )
            if name == "labels":
                difference, bound = float((theirs != ours).mean()), LABEL_SHARE
            else:
                difference = float(np.abs(theirs - ours).max())
                bound = TOLERANCE * max(1.0, float(np.abs(ours).max()))
            if not difference <= bound:  # NaN is not
                raise WeightsError(
                    f"the exported file's {name} differ from the model's by {difference:.3g} {where}, where "
                    f"{bound:.3g} is allowed; nothing was written"
                )
            differences[name] = max(differences[name], difference)
    return differences


def put_in_place(whole: Path, target: Path) -> None:
    """Move a finished file to its place, OpenVINO's weights before the file that names them."""
    pairs = [(whole, target)]
    if (weights := whole.with_suffix(".bin")).is_file():
        pairs.insert(0, (weights, target.with_suffix(".bin")))
    for source, place in pairs:
        with atomic_write(place) as temporary:
            shutil.copyfile(source, temporary)


def write_onnx(module: WithOutputs, card: ExportCard, path: Path) -> None:
    """Write a model as ONNX, unchecked."""
    program = traced(module)
    with quiet():
        try:
            converted = torch.onnx.export(
                program, input_names=["images"], output_names=list(card.outputs), verbose=False, opset_version=18
            )
        except Exception as error:  # the exporter's own classes, with pages of text
            reason = " ".join(str(error).split())
            raise ConfigError(f"torch.onnx cannot convert this model ({reason:.300})") from error
    assert converted is not None
    model = converted.model
    _name_axes(model, card)
    for node in model.graph:
        node.metadata_props.clear()  # tracebacks, with the paths of this machine, a megabyte of them
    model.metadata_props[CARD_KEY] = card.to_json()
    converted.save(path)


def _name_axes(model: Any, card: ExportCard) -> None:
    """Free axes get the names that people look for; torch calls them s77."""
    names = {str(model.graph.inputs[0].shape[axis]): name for axis, name in ((0, "batch"), (2, "height"), (3, "width"))}
    for value in (*model.graph.inputs, *model.graph.outputs):
        for axis, size in enumerate(value.shape):
            if str(size) in names:
                value.shape[axis] = names[str(size)]


def _write_openvino(module: WithOutputs, card: ExportCard, path: Path) -> None:
    """From the ONNX file: OpenVINO's own reader of programs lacks operations that ours have."""
    onnx_path = path.with_suffix(".onnx")
    write_onnx(module, card, onnx_path)
    _to_openvino(onnx_path, card, path)


def _to_openvino(onnx_path: Path, card: ExportCard, path: Path) -> None:
    openvino = needed("openvino", "openvino", "exporting to OpenVINO")
    try:
        model = openvino.convert_model(onnx_path)
    except Exception as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"OpenVINO cannot read this model ({reason:.300})") from error
    model.set_rt_info(card.to_json(), CARD_KEY)
    openvino.save_model(model, path, compress_to_fp16=False)


def _write_onnx_graph(graph: Any, card: ExportCard, path: Path) -> None:
    onnx = needed("onnx", "onnx", "exporting")
    onnx.helper.set_model_props(graph, {CARD_KEY: card.to_json()})
    onnx.save(graph, path)


def _write_openvino_graph(graph: Any, card: ExportCard, path: Path) -> None:
    onnx_path = path.with_suffix(".onnx")
    _write_onnx_graph(graph, card, onnx_path)
    _to_openvino(onnx_path, card, path)


def _write_torch(module: WithOutputs, card: ExportCard, path: Path) -> None:
    program = traced(module)
    whole = io.BytesIO()  # torch's own writer of files ends the process where the disk is full
    try:
        torch.export.save(program, whole, extra_files={CARD_KEY: card.to_json()})
    except Exception as error:  # torch's own classes, with the whole graph in the text
        reason = " ".join(str(error).split())
        raise ConfigError(
            f"torch.export cannot save this model ({reason:.300}); write .onnx or .xml, or use the model folder"
        ) from error
    path.write_bytes(whole.getbuffer())


_WRITERS = {"onnx": write_onnx, "openvino": _write_openvino, "torch": _write_torch}
_GRAPH_WRITERS = {"onnx": _write_onnx_graph, "openvino": _write_openvino_graph}


@contextlib.contextmanager
def _in_evaluation(model: Segmenter) -> Iterator[None]:
    """On the CPU it must be already; every module is afterwards in the mode that it was in."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True
