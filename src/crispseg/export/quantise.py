"""Graphs of ONNX in 8-bit integers, whole and with single layers in float."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from crispseg.export.quiet import quiet
from crispseg.extras import needed

__all__ = ["QUANTISERS", "in_float", "layers"]

Floats = npt.NDArray[np.float32]
_LAYERS = ("Conv", "MatMul", "Gemm")
# Those and what passes values on between them. Products (gates, the arithmetic of warps) stay in float: measured on
# models/camvid, quantising them changes neither time nor labels, and coordinates do not bear it. Clip is ReLU6: left
# out, ranges are those of before it, and 25 % of models/camvid's labels on some images were the float file's.
_OPERATIONS = (*_LAYERS, "Concat", "Resize", "MaxPool", "Relu", "Clip", "Add")


def by_onnxruntime(path: Path, images: Sequence[Floats]) -> Any:
    """Quantise with ONNX Runtime: weights by output channel, activations by their least and largest values.

    Args:
        path: of a float ``.onnx`` whose one input is ``images``.
        images: (1, 3, H, W) each, of any sizes.

    Returns:
        An ``onnx.ModelProto`` with pairs of QuantizeLinear and DequantizeLinear.
    """
    onnx = needed("onnx", "onnx", "quantising")
    tools = needed("onnxruntime.quantization", "onnx", "quantising")

    class Reader(tools.CalibrationDataReader):  # type: ignore[misc, name-defined] # imported late, by name
        def __init__(self) -> None:
            self._images: Iterator[Floats] = iter(images)

        def get_next(self) -> dict[str, Floats] | None:
            image = next(self._images, None)
            return None if image is None else {"images": image}

    graph = onnx.load(path)
    kept = [*_computed_products(graph), *_after_layers(graph)]
    with tempfile.TemporaryDirectory(prefix="crispseg-int8-") as folder, quiet():
        result = Path(folder) / "int8.onnx"
        tools.quantize_static(
            os.fspath(path),
            result,
            Reader(),
            quant_format=tools.QuantFormat.QDQ,
            op_types_to_quantize=list(_OPERATIONS),
            nodes_to_exclude=kept,
            per_channel=True,
            activation_type=tools.QuantType.QUInt8,
            weight_type=tools.QuantType.QInt8,
            calibrate_method=tools.CalibrationMethod.MinMax,
            # ReLUs stay, so that a layer can be taken back to float; the runtime merges them itself.
            extra_options={"QDQKeepRemovableActivations": True},
        )
        return onnx.load(result)


def by_nncf(path: Path, images: Sequence[Floats]) -> Any:
    """The same with NNCF, whose choice of ranges and correction of biases suit OpenVINO; see `by_onnxruntime`."""
    onnx = needed("onnx", "openvino", "quantising")
    graph = onnx.load(path)
    with quiet():
        nncf = needed("nncf", "openvino", "quantising for OpenVINO")
        return nncf.quantize(
            graph,
            nncf.Dataset(images, lambda image: {"images": image}),
            preset=nncf.QuantizationPreset.MIXED,
            subset_size=len(images),
            ignored_scope=nncf.IgnoredScope(names=_computed_products(graph)),
        )


def _computed_products(graph: Any) -> list[str]:
    """Matrix products of two computed maps stay in float: such is pooling, whose sums grow with the image.

    In integers, an image much smaller than those of calibration uses a small part of their range: models/camvid gave
    14 % of pixels another label at 65×97, and 3 % with its sums in float.
    """
    weights = {value.name for value in graph.graph.initializer}
    return [node.name for node in graph.graph.node if node.op_type == "MatMul" and not weights.intersection(node.input)]


def _after_layers(graph: Any) -> list[str]:
    """What enlarges the last layers' results stays in float: 256 levels between neighbouring pixels are ties."""
    makers = {name: node for node in graph.graph.node for name in node.output}
    found = []
    for output in graph.graph.output:
        node = makers.get(output.name)
        while node is not None and node.op_type not in _LAYERS:
            found.append(node.name)
            node = makers.get(node.input[0]) if node.input else None
    return found


_BACK = "_float"  # how names of weights end that went back to float

QUANTISERS = {"onnx": by_onnxruntime, "openvino": by_nncf}
"""By format."""


def layers(whole: Any, original: Any) -> list[str]:
    """Names of the convolutions and matrix products that are in integers, in the graph's order."""
    before = {node.name: set(node.input) for node in original.graph.node}
    sums = _computed_products(original)  # in float, though they may read what was rounded for another
    return [
        node.name
        for node in whole.graph.node
        if node.op_type in _LAYERS
        and node.name not in sums
        and any(name not in before[node.name] and not name.endswith(_BACK) for name in node.input)
    ]


def in_float(whole: Any, original: Any, names: Iterable[str]) -> Any:
    """Take layers of a quantised graph back to float.

    Args:
        whole: the quantised graph; stays as it is.
        original: the graph that it was made of.
        names: among `layers`.

    Returns:
        A new ``onnx.ModelProto``.
    """
    result = type(whole)()
    result.CopyFrom(whole)
    graph = result.graph
    before = {node.name: node for node in original.graph.node}
    weights = {value.name: value for value in original.graph.initializer}
    added: set[str] = set()
    wanted = set(names)
    for node in graph.node:
        if node.name not in wanted:
            continue
        for index, name in enumerate(before[node.name].input):  # from before the pair of Quantize and Dequantize
            if name not in weights:
                node.input[index] = name
                continue
            node.input[index] = f"{name}{_BACK}"  # the name itself may have become that of an integer's value
            if name not in added:
                graph.initializer.add().CopyFrom(weights[name])
                graph.initializer[-1].name = f"{name}{_BACK}"
                added.add(name)
    if wanted:
        _drop_unused(graph)
    return result


def _drop_unused(graph: Any) -> None:
    """Pairs and weights that nothing reads any more."""
    while True:
        read = {name for node in graph.node for name in node.input} | {value.name for value in graph.output}
        unused = [node for node in graph.node if not read.intersection(node.output)]
        for node in unused:
            graph.node.remove(node)
        if not unused:
            break
    for value in [value for value in graph.initializer if value.name not in read]:
        graph.initializer.remove(value)
