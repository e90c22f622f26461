"""The terms of the losses as their equations say them, one whole map after the other: what the frugal forms must equal.

The benchmark of a training step takes them for the released layout.
"""

import torch
from torch.nn import functional

from crispseg.losses import boundary_potential
from crispseg.losses.common import masked_mean


def straight_through_argmax(logits, temperature=1.0, generator=None):
    """One-hot arg max forward, the gradient of a Gumbel softmax backward (GSCNN, eq. 9)."""
    logits = logits.float()
    one_hot = torch.zeros_like(logits).scatter_(1, logits.argmax(dim=1, keepdim=True), 1.0)
    gumbel = -(-torch.rand(logits.shape, generator=generator).log()).clamp_min(torch.finfo(torch.float32).tiny).log()
    surrogate = ((logits + gumbel) / temperature).softmax(dim=1)
    return one_hot + (surrogate - surrogate.detach())


def dual_boundary_loss(logits, labels, temperature=1.0, generator=None, *, by="sobel"):
    """GSCNN, eq. 5, with a one-hot map for every class."""
    potential = boundary_potential(straight_through_argmax(logits, temperature, generator), by)
    with torch.no_grad():
        void = (labels == 255)[:, None]
        ids = labels.long()[:, None].masked_fill(void, 0)
        true_potential = boundary_potential(torch.zeros_like(logits, dtype=torch.float32).scatter_(1, ids, 1.0), by)
        support = 1 if by == "sobel" else 3
        near_void = functional.max_pool2d(void.float(), 2 * support + 1, stride=1, padding=support)
        either = torch.maximum(potential, true_potential) > 1e-4
        selected = (either & (near_void == 0)).float()
    return masked_mean((potential - true_potential).abs() * selected, selected)
