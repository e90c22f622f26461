"""Images filled up to whole cells of a network's coarsest map, so that maps of all strides lie where the image does.

A map of stride s has ⌈H / s⌉ cells in H rows. Enlarged to H rows, cells that stand for s rows each are squeezed where s
does not divide H: at stride 32 the 12 cells of 360 rows reach to row 384, and the last of them lands 24 rows too high.
Networks are trained on crops that strides divide and know nothing of it. So images are filled before they are seen, and
what is seen of the filling is cut off.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from crispseg.ops.arrays import as_like, zeros_like

__all__ = ["Filling"]


class Filling(NamedTuple):
    """How images are filled up, below and at the right.

    Attributes:
        stride: of the coarsest map; 1: images stay as they are.
        mean: of each band, in [0, 1], which is what is filled in: 0 once it is normalised, as convolutions pad.

    Example:
        >>> Filling(4, (0.5,)).fill(np.ones((1, 1, 1, 3)))[0, 0].tolist()
        [[1.0, 1.0, 1.0, 0.5], [0.5, 0.5, 0.5, 0.5], [0.5, 0.5, 0.5, 0.5], [0.5, 0.5, 0.5, 0.5]]
    """

    stride: int = 1
    mean: tuple[float, ...] = ()

    def fill(self, images: Any) -> Any:
        """(N, C, H, W), an array or a tensor, as (N, C, H', W'), multiples of the stride; the same where they are."""
        height, width = images.shape[-2:]
        down, right = -height % self.stride, -width % self.stride
        if not down and not right:
            return images
        filled = zeros_like(images, (*images.shape[:2], height + down, width + right))
        filled[:] = as_like(np.reshape(np.asarray(self.mean, np.float32), (1, -1, 1, 1)), images)
        filled[..., :height, :width] = images
        return filled
