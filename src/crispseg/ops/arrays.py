"""Arrays from wherever they come. PyTorch is not imported: who holds a tensor has it already."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["ArrayLike", "as_like", "to_array", "zeros_like"]

ArrayLike: TypeAlias = "npt.NDArray[Any] | Tensor"
"""A NumPy array or a tensor on any device."""


def to_array(values: ArrayLike) -> npt.NDArray[Any]:
    """Bring a tensor of any device to NumPy, 16-bit floats of any kind as float32; an array stays as it is."""
    if hasattr(values, "detach"):
        values = values.detach()
        array: npt.NDArray[Any] = (values.float() if values.is_floating_point() else values).cpu().numpy()
        return array
    return np.asarray(values)


def as_like(array: npt.NDArray[Any], values: Any) -> Any:
    """An array as what the values are: an array or a tensor, of their type and on their device."""
    return values.new_tensor(array) if hasattr(values, "new_tensor") else array.astype(values.dtype, copy=False)


def zeros_like(values: Any, shape: tuple[int, ...]) -> Any:
    """Zeros of another shape: an array or a tensor as the values are, of their type and on their device."""
    return values.new_zeros(shape) if hasattr(values, "new_zeros") else np.zeros(shape, values.dtype)
