"""Weights of EfficientNets under their first PyTorch authors' names, as packages on PyPI carry them, for timm's models.

Those names count blocks through (``_blocks.15._project_conv``), where timm counts stages and blocks in them
(``blocks.6.0.conv_pwl``); what else differs stands in the tables.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from torch import Tensor

__all__ = ["timm_names"]

_OUTSIDE = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
_IN_BLOCK = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_se_reduce": "se.conv_reduce",
    "_se_expand": "se.conv_expand",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}
# A block that does not expand has no first convolution and norm, and timm names the others by their place.
_IN_FIRST_BLOCK = {**_IN_BLOCK, "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
_BLOCK_KEY = re.compile(r"_blocks\.(\d{1,4})\.(_\w+)\.(\w+)")


def timm_names(state: Mapping[str, Tensor], names: Iterable[str]) -> dict[str, Tensor]:
    """Give tensors timm's names, where they have the authors'; others keep theirs.

    Args:
        state: name → tensor.
        names: those of timm's whole model, in its order; they tell how many blocks a stage has.
    """
    blocks = list(dict.fromkeys(match[0] for name in names if (match := re.match(r"blocks\.\d+\.\d+", name))))
    expanding = {match[1] for key in state if (match := re.match(r"_blocks\.(\d+)\._expand_conv\.", key))}

    def renamed(key: str) -> str:
        if match := _BLOCK_KEY.fullmatch(key):
            number, module, leaf = match.groups()
            table = _IN_BLOCK if number in expanding else _IN_FIRST_BLOCK
            if module in table and int(number) < len(blocks):
                return f"{blocks[int(number)]}.{table[module]}.{leaf}"
        module, _, leaf = key.partition(".")
        return f"{_OUTSIDE[module]}.{leaf}" if module in _OUTSIDE else key

    return {renamed(key): value for key, value in state.items()}
