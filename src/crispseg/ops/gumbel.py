"""The softmax whose gradient stands in for the arg max's."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["gumbel_softmax"]


def gumbel_softmax(logits: Tensor, temperature: float = 1.0, generator: torch.Generator | None = None) -> Tensor:
    """Probabilities of the logits with Gumbel noise, drawn anew at every call (GSCNN, eq. 9).

    Args:
        logits: (N, K, …), any floating point dtype; unnormalised, for log p and the logits differ by a constant that
            the softmax takes out.
        temperature: τ of eq. 9, above 0.
        generator: the source of the noise; the default one of the device if left out.

    Returns:
        (N, K, …), float32, which add up to 1 over dim 1.

    Raises:
        ValueError: if the temperature is not above 0.

    Example:
        >>> gumbel_softmax(torch.tensor([[0.0, 99.0, 0.0]])).round().tolist()
        [[0.0, 1.0, 0.0]]
    """
    if temperature <= 0:
        raise ValueError(f"temperature is {temperature}, a positive number expected")
    logits = logits.float()
    # −log(−log u), in place; `exponential_` takes six times as long on a CPU as the uniform u.
    uniform = torch.rand(logits.shape, generator=generator, device=logits.device)
    noise = uniform.log_().neg_().clamp_min_(torch.finfo(uniform.dtype).tiny).log_().neg_()
    return noise.add(logits).div(temperature).softmax(dim=1)
