"""Running exported files: .onnx by ONNX Runtime, .xml by OpenVINO, .pt2 by PyTorch, each imported when needed."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from crispseg.errors import ConfigError, DataError, WeightsError
from crispseg.extras import needed
from crispseg.inference.card import CARD_KEY, ExportCard
from crispseg.inference.looks import CPU_BATCH_PIXELS
from crispseg.inference.precision import checked_precision
from crispseg.labels import LabelSpace
from crispseg.ops.arrays import to_array

__all__ = ["SUFFIXES", "ExportedModel", "FileBackend", "is_exported"]

SUFFIXES = {".onnx": "onnx", ".xml": "openvino", ".pt2": "torch"}
"""Endings of exported files, and what runs them."""

_HEAD = 4096  # bytes of an OpenVINO file, in which its first tag is

Floats = npt.NDArray[np.float32]
_Run = Callable[[Floats], list[npt.NDArray[Any]]]


def is_exported(path: object) -> bool:
    """Whether a model is named by the path of an exported file."""
    return isinstance(path, (str, os.PathLike)) and Path(path).suffix.lower() in SUFFIXES


class ExportedModel:
    """An exported file, ready to run on the CPU.

    Args:
        path: ending in ``.onnx``, ``.xml`` (with its ``.bin`` beside it) or ``.pt2``.
        precision: in which OpenVINO computes what the file holds as floats: ``"float32"``, as it was compared with the
            model, ``"bfloat16"``, or ``"auto"``: bfloat16 where the processor multiplies it itself. The other formats
            are float32 alone.

    Attributes:
        card: what the file says of itself.
        precision: in which it computes; never ``"auto"``.

    Raises:
        WeightsError: if there is no such file, it is broken, or another tool has made it.
        ConfigError: if what runs such files is not installed, or does not compute so.
    """

    card: ExportCard
    precision: str

    def __init__(self, path: str | os.PathLike[str], precision: str = "float32") -> None:
        self.path = Path(path)
        checked_precision(precision)
        if not self.path.is_file():
            raise WeightsError(f"{self.path}: no such file; make one with crispseg export MODEL --out {self.path}")
        kind = SUFFIXES[self.path.suffix.lower()]
        if kind == "openvino":
            text, self._run, self.precision = _open_openvino(self.path, precision)
        elif precision in ("auto", "float32"):
            text, self._run = {"onnx": _open_onnx, "torch": _open_torch}[kind](self.path)
            self.precision = "float32"
        else:
            raise ConfigError(f"precision is {precision!r}, but {self.path} runs in float32 alone; leave it out")
        self.card = ExportCard.from_json(text, str(self.path))

    @property
    def label_space(self) -> LabelSpace:
        """Of the file's classes."""
        return self.card.label_space

    def __call__(self, images: Floats) -> dict[str, npt.NDArray[Any]]:
        """Run the file.

        Args:
            images: (N, 3, H, W) float32, RGB in [0, 1]; both sides at least the card's ``smallest_side``.

        Returns:
            The file's outputs by name; see `crispseg.inference.card.OUTPUTS`.

        Raises:
            DataError: if the images are smaller than that.
        """
        height, width = images.shape[-2:]
        if min(height, width) < self.card.smallest_side:
            raise DataError(
                f"the image (or window) has {height}×{width} pixels, but {self.path} takes sides of "
                f"{self.card.smallest_side} or more; enlarge it, or use the model folder"
            )
        found = self._run(np.ascontiguousarray(images, dtype=np.float32))
        return dict(zip(self.card.outputs, found, strict=True))

    def filled(self, images: Floats) -> dict[str, npt.NDArray[Any]]:
        """The same of images that are filled up as the card says, cut to their size."""
        height, width = images.shape[-2:]
        found = self(self.card.filling.fill(images))
        return {name: values[..., :height, :width] for name, values in found.items()}


class FileBackend:
    """What a `Predictor` does with an exported file, in NumPy.

    Args:
        model: with logits or probabilities.

    Raises:
        ConfigError: if it has neither.
    """

    device = "cpu"
    batch_pixels = CPU_BATCH_PIXELS

    def __init__(self, model: ExportedModel) -> None:
        if not {"logits", "probabilities"} & set(model.card.outputs):
            raise ConfigError(
                f"{model.path}: gives {', '.join(model.card.outputs)} only; scales, windows and confidences need "
                "probabilities: export it with --outputs probabilities (and boundaries)"
            )
        self.model = model
        self.precision = model.precision
        self._classes = "probabilities" if "probabilities" in model.card.outputs else "logits"

    def batch(self, images: Sequence[Any]) -> Floats:
        """Arrays or tensors (N, 3, H, W), as one batch."""
        return np.concatenate([np.asarray(to_array(one), dtype=np.float32) for one in images])

    def run(self, images: Floats) -> list[Floats]:
        """What the file gives of classes (N, K, h, w), and of boundaries (N, 1, h, w) if it does."""
        found = self.model.filled(images)
        return [found[name] for name in (self._classes, "boundaries") if name in found]

    def probabilities(self, maps: Sequence[Floats]) -> list[Floats]:
        """Class and boundary probabilities of what `run` gave, or of rows of it."""
        classes = maps[0] if self._classes == "probabilities" else _softmax(maps[0])
        return [classes, *maps[1:]]

    def resize(self, maps: Floats, size_hw: tuple[int, int]) -> Floats:
        """Bilinear, pixels as areas, as `crispseg.ops.resize`."""
        if maps.shape[-2:] == size_hw:
            return maps
        planes = maps.reshape(-1, *maps.shape[-2:])
        resized = [cv2.resize(plane, size_hw[::-1], interpolation=cv2.INTER_LINEAR) for plane in planes]
        return np.stack(resized).reshape(*maps.shape[:2], *size_hw)

    def mirror(self, maps: Floats) -> Floats:
        """Left and right exchanged."""
        return maps[..., ::-1]

    def join(self, maps: Sequence[Floats]) -> Floats:
        """Channels of several maps as those of one."""
        return np.concatenate(maps, axis=1)

    def decide(self, probabilities: Floats) -> tuple[npt.NDArray[np.uint8], Floats]:
        """Labels and confidences, (N, H, W) each."""
        return probabilities.argmax(axis=1).astype(np.uint8), probabilities.max(axis=1)

    def ready(self) -> AbstractContextManager[None]:
        """A file always is."""
        return nullcontext()


def _softmax(logits: Floats) -> Floats:
    shares: Floats = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    return shares


def onnx_session(runtime: Any, model: Path | bytes) -> Any:
    """Open a file or graph in ONNX Runtime, on the CPU.

    Processors with AVX2 or AVX-512 and without VNNI add products of 8 bits in 16 and saturate:
    `models/camvid.int8.onnx` lost 1.4 points of mean IoU there (docs/results/export.md). On these ONNX Runtime is asked
    for its exact kernels, which are slower; on all others the same request changes nothing.

    Args:
        runtime: the package ``onnxruntime``.
        model: a file's path, or what it holds.
    """
    options = runtime.SessionOptions()
    options.add_session_config_entry("session.x64quantprecision", "1")
    return runtime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _open_onnx(path: Path) -> tuple[str | None, _Run]:
    runtime = needed("onnxruntime", "onnx", f"running {path}")
    try:
        session = onnx_session(runtime, path)
    except Exception as error:  # ONNX Runtime's own classes, one for each reason
        raise _broken(path, error) from error
    text = session.get_modelmeta().custom_metadata_map.get(CARD_KEY)
    names = [one.name for one in session.get_inputs()]
    return text, lambda images: session.run(None, {names[0]: images})


def _open_openvino(path: Path, precision: str) -> tuple[str | None, _Run, str]:
    openvino = needed("openvino", "openvino", f"running {path}")
    core = openvino.Core()
    can_do = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if precision == "auto":
        precision = "bfloat16" if "BF16" in can_do else "float32"
    hint, capability = {"float32": ("f32", "FP32"), "bfloat16": ("bf16", "BF16"), "float16": ("f16", "FP16")}[precision]
    if capability not in can_do:  # OpenVINO itself would take float32 without a word
        raise ConfigError(
            f"precision is {precision!r}, which OpenVINO does not compute in on this processor; leave it out"
        )
    with path.open("rb") as file:
        if b"<net" not in file.read(_HEAD):  # OpenVINO would try its other formats, each with complaints of its own
            raise _broken(path, "it does not begin as a file of OpenVINO")
    try:
        model = core.read_model(path)
        compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": hint})
    except RuntimeError as error:
        raise _broken(path, error) from error
    text = str(model.get_rt_info(CARD_KEY).astype(str)) if model.has_rt_info(CARD_KEY) else None
    return text, lambda images: list(compiled(images).values()), precision


def _open_torch(path: Path) -> tuple[str | None, _Run]:
    torch = needed("torch", "torch", f"running {path}")
    extra = {CARD_KEY: ""}
    if not zipfile.is_zipfile(path):  # torch would log a traceback
        raise _broken(path, "it is not an archive, or breaks off")
    try:
        program = torch.export.load(path, extra_files=extra)
    except Exception as error:  # zip, pickle and serialisation errors of every kind
        raise _broken(path, error) from error
    module = program.module()

    def run(images: Floats) -> list[npt.NDArray[Any]]:
        with torch.inference_mode():
            return [one.numpy() for one in module(torch.from_numpy(images))]

    return extra[CARD_KEY] or None, run


def _broken(path: Path, error: Exception | str) -> WeightsError:
    reason = " ".join(str(error).split())
    return WeightsError(f"{path}: cannot be opened ({reason:.200}); export the model again")
