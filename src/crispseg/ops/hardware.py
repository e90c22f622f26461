"""What a device computes without emulating it."""

from __future__ import annotations

import torch

__all__ = ["computes_bfloat16"]


def computes_bfloat16(device_type: str) -> bool:
    """Whether products of bfloat16 numbers are computed by the hardware, so that they are faster than float32's.

    Args:
        device_type: ``"cpu"``: AVX-512 with BF16, or AMX; ``"cuda"``: Ampere or later. Other devices: not known, False.

    Example:
        >>> computes_bfloat16("meta")
        False
    """
    if device_type == "cuda":
        return torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)
    if device_type == "cpu":
        # PyTorch's own names; the public `torch.cpu.get_capabilities` is younger than the oldest version that we take.
        return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    return False
