"""The arg max that lets gradients through."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["straight_through_argmax"]


def straight_through_argmax(
    logits: Tensor, temperature: float = 1.0, generator: torch.Generator | None = None
) -> Tensor:
    """One-hot arg max forward, the gradient of a Gumbel softmax backward (GSCNN, eq. 9).

    The noise is in the gradient only: the value is the arg max of the logits, as eq. 4 has it. Gumbel noise is drawn
    anew at every call.

    Args:
        logits: (N, K, …), any floating point dtype; unnormalised, for log p and the logits differ by a constant that
            the softmax takes out.
        temperature: τ of eq. 9, above 0.
        generator: the source of the noise; the default one of the device if left out.

    Returns:
        (N, K, …) one-hot over dim 1, float32; ties go to one class, as in `torch.argmax`.

    Example:
        >>> straight_through_argmax(torch.tensor([[0.2, 3.0, -1.0]])).tolist()
        [[0.0, 1.0, 0.0]]
    """
    if temperature <= 0:
        raise ValueError(f"temperature is {temperature}, a positive number expected")
    logits = logits.float()
    one_hot = torch.zeros_like(logits).scatter_(1, logits.argmax(dim=1, keepdim=True), 1.0)
    if not (torch.is_grad_enabled() and logits.requires_grad):
        return one_hot
    exponential = torch.empty_like(logits).exponential_(generator=generator)
    gumbel = -exponential.clamp_min(torch.finfo(exponential.dtype).tiny).log()
    surrogate_probability = ((logits + gumbel) / temperature).softmax(dim=1)
    return one_hot + (surrogate_probability - surrogate_probability.detach())  # the bracket is exactly zero
