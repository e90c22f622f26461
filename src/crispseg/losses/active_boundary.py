"""Active boundary loss (Wang et al., AAAI 2022): predicted boundaries move towards the true ones, step by step."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from crispseg.labels import IGNORE_INDEX
from crispseg.losses.common import check_labels, ratio_over_batch

__all__ = ["ActiveBoundaryLoss", "active_boundary_loss"]

_NEIGHBOURS = ((0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1), (-1, 0), (-1, 1))
_FLAT = 1e-6


def active_boundary_loss(
    logits: Tensor,
    labels: Tensor,
    *,
    share: float = 0.01,
    farthest_px: float = 20.0,
    smoothing: float = 0.2,
    ignore_index: int = IGNORE_INDEX,
) -> Tensor:
    """The loss of eq. 4: where predicted boundaries shall move to, and how little they say so.

    A pixel i is on a predicted boundary if KL(p_i, p_j) exceeds ε for its right or its lower neighbour (eq. 1); ε is
    chosen image by image so that at most `share` of the pixels are. M is the distance of each pixel to the nearest
    true boundary, exactly. The target is the one of the eight neighbours with the smallest M (eq. 2). The prediction is
    the softmax of KL(p_i, p_{i+δ}) over the eight (eq. 3), with the neighbours' gradient stopped, so that neighbouring
    pixels do not pull at each other. Its cross-entropy with the target is weighted by min(M, θ) / θ and averaged over
    the predicted boundary pixels of the batch. It is meant to stand beside cross-entropy.

    Args:
        logits: (N, K, H, W).
        labels: (N, H, W) train ids.
        share: of an image's pixels that are taken for predicted boundaries, at most.
        farthest_px: θ.
        smoothing: the share of the target that the eight directions have in common.
        ignore_index: the id of void pixels, which are neither boundaries nor moved.

    Returns:
        A scalar in float32; 0, with a gradient path, where there is no boundary to move or to move to.

    Raises:
        ValueError: if the shapes do not belong together.

    Example:
        >>> labels = torch.tensor([[[0, 0, 0, 1, 1, 1, 1, 1]]]).expand(1, 8, 8)
        >>> def logits(found: list[int]) -> Tensor:
        ...     return 4.0 * functional.one_hot(torch.tensor([[found] * 8]), 2).permute(0, 3, 1, 2)
        >>> active_boundary_loss(logits([0, 0, 0, 1, 1, 1, 1, 1]), labels, share=0.2).item()
        0.0
        >>> bool(active_boundary_loss(logits([0, 0, 0, 0, 0, 1, 1, 1]), labels, share=0.2) > 0.1)
        True
    """
    check_labels(logits, labels)
    log_p = functional.log_softmax(logits.float(), dim=1)
    boundary = _predicted_boundary(log_p.detach(), labels != ignore_index, share)
    distance, has_boundary = _distance_to_boundary(labels, ignore_index)
    image, row, column = (boundary & has_boundary[:, None, None]).nonzero(as_tuple=True)
    height, width = labels.shape[-2:]
    own = log_p[image, :, row, column]  # (n, K)
    divergences, distances = [], []
    for down, right in _NEIGHBOURS:
        to_row, to_column = (row + down).clamp(0, height - 1), (column + right).clamp(0, width - 1)
        beside = log_p[image, :, to_row, to_column].detach()
        divergences.append((own.exp() * (own - beside)).sum(dim=1))
        is_inside = (to_row == row + down) & (to_column == column + right)
        distances.append(distance[image, to_row, to_column].masked_fill(~is_inside, torch.inf))
    target = torch.stack(distances, dim=1).argmin(dim=1)
    losses = functional.cross_entropy(
        torch.stack(divergences, dim=1), target, reduction="none", label_smoothing=smoothing
    )
    weights = distance[image, row, column].clamp(max=farthest_px) / farthest_px
    total = (losses * weights).sum() + 0 * logits.float().sum()
    return ratio_over_batch(total, torch.tensor(float(len(image)), device=logits.device))


class ActiveBoundaryLoss(nn.Module):
    """`active_boundary_loss` as a module, for anybody's loop.

    Args:
        share: see `active_boundary_loss`.
        farthest_px: see there.
        smoothing: see there.
        ignore_index: see there.
    """

    def __init__(
        self,
        share: float = 0.01,
        farthest_px: float = 20.0,
        smoothing: float = 0.2,
        ignore_index: int = IGNORE_INDEX,
    ) -> None:
        super().__init__()
        self.share, self.farthest_px, self.smoothing = share, farthest_px, smoothing
        self.ignore_index = ignore_index

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Logits (N, K, H, W) and labels (N, H, W) to a scalar."""
        return active_boundary_loss(
            logits,
            labels,
            share=self.share,
            farthest_px=self.farthest_px,
            smoothing=self.smoothing,
            ignore_index=self.ignore_index,
        )


def _predicted_boundary(log_p: Tensor, valid: Tensor, share: float) -> Tensor:
    """Eq. 1, (N, H, W) bool."""
    p = log_p.exp()
    divergence = log_p.new_zeros(valid.shape)
    divergence[:, :, :-1] = (p * (log_p - log_p.roll(-1, dims=-1))).sum(dim=1)[:, :, :-1]
    down = (p * (log_p - log_p.roll(-1, dims=-2))).sum(dim=1)
    divergence[:, :-1] = torch.maximum(divergence[:, :-1], down[:, :-1])
    divergence = divergence.masked_fill(~valid, 0)
    most = int(share * valid[0].numel())
    flat = divergence.flatten(1)
    highest = flat.topk(min(most + 1, flat.shape[1]), dim=1).values[:, -1]
    epsilon = highest.clamp_min(_FLAT) if most < flat.shape[1] else highest.new_full(highest.shape, _FLAT)
    return divergence > epsilon[:, None, None]


def _distance_to_boundary(labels: Tensor, ignore_index: int) -> tuple[Tensor, Tensor]:
    """M, (N, H, W) in pixels, and which images have a boundary at all, (N,)."""
    maps, found = [], []
    for one in labels.detach().cpu().numpy():
        valid = one != ignore_index
        boundary = np.zeros(one.shape, dtype=bool)
        boundary[:, :-1] = (one[:, :-1] != one[:, 1:]) & valid[:, :-1] & valid[:, 1:]
        boundary[:-1] |= (one[:-1] != one[1:]) & valid[:-1] & valid[1:]
        found.append(bool(boundary.any()))
        maps.append(cv2.distanceTransform((~boundary).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE))
    return torch.from_numpy(np.stack(maps)).to(labels.device), torch.tensor(found, device=labels.device)
