"""Where a command computes."""

from __future__ import annotations

from crispseg.errors import ConfigError

__all__ = ["choose_device"]


def choose_device(wanted: str | None) -> str:
    """The device that was asked for, or a GPU where there is one, or the CPU.

    Args:
        wanted: as torch names it; None: no wish.

    Raises:
        ConfigError: if torch does not know the device or cannot use it here.

    Example:
        >>> choose_device("cpu")
        'cpu'
    """
    import torch

    if wanted is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        if torch.device(wanted).type == "meta":
            raise RuntimeError("it holds no values")
        torch.empty(0, device=wanted)
    # torch: unknown or absent device, built without CUDA, a device type without tensors
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"--device {wanted}: cannot be used here ({reason}); leave it out, or give cpu") from error
    return wanted
