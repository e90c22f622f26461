"""From a model to a graph of free batch, height and width."""

from __future__ import annotations

import math
import operator
import warnings
from typing import Any

import torch
from torch import Tensor, nn

from crispseg.errors import ConfigError
from crispseg.export.resampling import RESAMPLING
from crispseg.layers.body import PropagatedBody
from crispseg.models import Segmenter

__all__ = ["EXAMPLE_HW", "SMALLEST_SIDE", "WithOutputs", "traced"]

SMALLEST_SIDE = 64
"""In pixels; below it, deep maps have a single cell, which graphs would take for a rule."""

EXAMPLE_HW = (611, 793)
"""The example's size; tracing follows shapes alone, so it costs nothing. No stride divides its sides, and halving
deep maps four times leaves more than one cell: graphs take what fits the example for a rule."""


class WithOutputs(nn.Module):
    """A model as files hold it: images to a tuple of the outputs that were asked for.

    Args:
        model: in evaluation mode.
        outputs: among `crispseg.inference.card.OUTPUTS`.
    """

    def __init__(self, model: Segmenter, outputs: tuple[str, ...]) -> None:
        super().__init__()
        self.model = model
        self.outputs = outputs

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """(N, C, H, W) in [0, 1] → the outputs, in order."""
        output = self.model(images)
        return tuple(_MAKERS[name](output) for name in self.outputs)


_MAKERS: dict[str, Any] = {
    "logits": lambda output: output.logits,
    "probabilities": lambda output: output.logits.softmax(dim=1),
    "labels": lambda output: output.logits.max(dim=1).indices.to(torch.uint8),
    "boundaries": lambda output: output.boundary_logits.sigmoid(),
}


def traced(module: WithOutputs) -> torch.export.ExportedProgram:
    """Trace a model once, for every batch and every size from `SMALLEST_SIDE` up.

    Raises:
        ConfigError: if the model has parts whose graph depends on the image's size, or torch cannot trace it.
    """
    if any(isinstance(part, PropagatedBody) for part in module.model.modules()):
        raise ConfigError(
            "body 'spn' propagates row by row, so its graph has as many steps as the image has rows; it cannot be "
            "exported for every size. Train with body 'flow' or 'dcn', or run the model folder itself"
        )
    axes = {
        0: torch.export.Dim("batch"),
        2: torch.export.Dim("height", min=SMALLEST_SIDE),
        3: torch.export.Dim("width", min=SMALLEST_SIDE),
    }
    channels = module.model.config.image_channels
    example = torch.rand(2, channels, *EXAMPLE_HW, generator=torch.Generator().manual_seed(0))
    torch.compiler.reset()  # what dynamo remembers of earlier graphs would be conditions of this one
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch, about itself
        try:
            program = torch.export.export(
                module, (example,), dynamic_shapes=(axes,), prefer_deferred_runtime_asserts_over_guards=True
            )
            if any(node.target in RESAMPLING for node in program.graph.nodes):
                program = program.run_decompositions(dict(RESAMPLING))
        except Exception as error:  # torch's tracer raises what comes
            reason = " ".join(str(error).split())
            raise ConfigError(
                f"torch.export cannot make a graph of this model for every size ({reason:.300})"
            ) from error
    _without_assertions(program)
    _with_whole_ceilings(program)
    return program


def _without_assertions(program: torch.export.ExportedProgram) -> None:
    """Take out what torch could not prove of sizes, such as that a deep map has more than one cell.

    Most of it is always so, the rest does not matter; whether it does, running the file at small sizes shows.
    """
    graph = program.graph_module.graph
    for node in list(graph.nodes):
        if node.target is torch.ops.aten._assert_scalar.default:
            graph.erase_node(node)
    graph.eliminate_dead_code()
    program.graph_module.recompile()


def _with_whole_ceilings(program: torch.export.ExportedProgram) -> None:
    """Write ⌈size / stride⌉ as (size + stride − 1) // stride: torch can trace the former, but not save it.

    timm's padding that keeps sizes computes so, in the shortcuts of dilated ResNet-D among others.
    """
    graph = program.graph_module.graph
    for node in list(graph.nodes):
        shares: Any = node.args[0] if node.target is math.ceil else None
        if not isinstance(shares, torch.fx.Node) or shares.target is not operator.truediv:
            continue
        size, stride = shares.args
        if not isinstance(stride, int):
            continue
        with graph.inserting_before(node):
            above = _whole(graph, operator.add, size, stride - 1)
            node.replace_all_uses_with(_whole(graph, operator.floordiv, above, stride))
    graph.eliminate_dead_code()
    program.graph_module.recompile()


def _whole(graph: torch.fx.Graph, function: Any, size: Any, number: int) -> torch.fx.Node:
    node = graph.call_function(function, (size, number))
    node.meta["val"] = function(size.meta["val"], number)
    return node
