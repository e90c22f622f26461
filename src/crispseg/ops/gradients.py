"""Image gradients and smoothing as tensor operations, so that models that use them stay in one graph.

Filters are sums of shifted maps rather than convolutions: each pixel is computed by the same operations in the same
order, so flat regions stay exactly flat, and autocast has nothing to round. The frame is replicated.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import cv2
import numpy as np
import torch
from torch import Tensor
from torch._higher_order_ops import while_loop
from torch.nn import functional

__all__ = ["canny_edges", "gaussian_blur", "sobel_gradient", "sobel_magnitude", "spatial_gradient"]


def sobel_magnitude(images: Tensor) -> Tensor:
    """Strength of the image gradient by 3×3 Sobel filters, of the channel where it is strongest.

    Args:
        images: (N, C, H, W) in [0, 1], RGB or any other channels.

    Returns:
        (N, 1, H, W) in [0, 1]: 0 where flat, 1 at the steepest that three pixels in a row and column allow; a straight
        step from 0 to 1 reads 4 / √20 ≈ 0.89.

    Example:
        >>> step = torch.tensor([0.0, 0.0, 1.0, 1.0]).expand(1, 3, 4, 4)
        >>> sobel_magnitude(step)[0, 0, 1].mul(20**0.5).round(decimals=3).tolist()
        [0.0, 4.0, 4.0, 0.0]
    """
    _check(images)
    horizontal, vertical = _sobel(images)
    strongest = (horizontal.square() + vertical.square()).amax(dim=1, keepdim=True)
    # A root has no gradient at zero; the root of 1 does, and its argument does not depend on the image there.
    is_flat = strongest == 0
    return strongest.masked_fill(is_flat, 1.0).sqrt().masked_fill(is_flat, 0.0) / math.sqrt(20)


def sobel_gradient(maps: Tensor) -> tuple[Tensor, Tensor]:
    """Derivatives along x and y by 3×3 Sobel filters, per pixel; the ∇G∗ of GSCNN, end of section 3.3.1.

    Args:
        maps: (N, C, H, W), floating point.

    Returns:
        ∂/∂x and ∂/∂y, each (N, C, H, W), in units of the maps per pixel: a plane has its slope, a straight step of 1
        has ½ on the two pixels beside it.

    Example:
        >>> gx, gy = sobel_gradient(torch.tensor([0.0, 0.0, 1.0, 1.0]).expand(1, 1, 3, 4))
        >>> gx[0, 0, 1].tolist(), gy.any().item()
        ([0.0, 0.5, 0.5, 0.0], False)
    """
    _check(maps)
    horizontal, vertical = _sobel(maps)
    return horizontal / 8, vertical / 8


def spatial_gradient(maps: Tensor) -> tuple[Tensor, Tensor]:
    """Central differences along x and y, per pixel; the ∇ of GSCNN's eq. 4.

    Args:
        maps: (N, C, H, W), floating point.

    Returns:
        ∂/∂x and ∂/∂y, each (N, C, H, W), in units of the maps per pixel. At the frame the missing neighbour is
        replicated, which halves the one-sided difference.

    Example:
        >>> gx, gy = spatial_gradient(torch.tensor([[[[0.0, 2.0, 4.0]]]]))
        >>> gx.flatten().tolist(), gy.flatten().tolist()
        ([1.0, 2.0, 1.0], [0.0, 0.0, 0.0])
    """
    _check(maps)
    padded = functional.pad(maps, (1, 1, 1, 1), mode="replicate")
    inner_rows, inner_columns = padded[:, :, 1:-1], padded[:, :, :, 1:-1]
    return (inner_rows[..., 2:] - inner_rows[..., :-2]) / 2, (inner_columns[:, :, 2:] - inner_columns[:, :, :-2]) / 2


def gaussian_blur(maps: Tensor, sigma_px: float = 1.0, kernel_size: int | None = None) -> Tensor:
    """Smooth maps with a Gaussian; the G of GSCNN's eq. 4.

    Args:
        maps: (N, C, H, W), floating point.
        sigma_px: standard deviation in pixels.
        kernel_size: odd number of taps per axis; two deviations to each side if left out.

    Returns:
        (N, C, H, W).

    Example:
        >>> impulse = torch.tensor([[[[0.0, 0.0, 1.0, 0.0, 0.0]]]])
        >>> gaussian_blur(impulse, sigma_px=1.0).mul(1000).round().flatten().tolist()
        [54.0, 244.0, 403.0, 244.0, 54.0]
    """
    _check(maps)
    radius = math.ceil(2 * sigma_px) if kernel_size is None else kernel_size // 2
    if sigma_px <= 0 or (kernel_size is not None and kernel_size != 2 * radius + 1):
        raise ValueError(f"sigma_px {sigma_px} > 0 and an odd kernel_size expected, kernel_size {kernel_size} found")
    taps = [math.exp(-0.5 * (offset / sigma_px) ** 2) for offset in range(-radius, radius + 1)]
    weights = [tap / sum(taps) for tap in taps]
    rows = functional.pad(maps, (radius, radius, 0, 0), mode="replicate")
    blurred = _weighted_shifts(rows, weights, dim=3)
    columns = functional.pad(blurred, (0, 0, radius, radius), mode="replicate")
    return _weighted_shifts(columns, weights, dim=2)


def canny_edges(images: Tensor, low: float, high: float) -> Tensor:
    """Canny edges, equal to ``cv2.Canny(image, low, high)`` on the image rounded to bytes.

    That is: 3×3 Sobel derivatives, per pixel those of the channel with the largest |dx| + |dy| (the first of equals),
    thinned across the edge in four directions; what is above ``high`` is an edge, and what is above ``low`` and hangs
    together with it (8 neighbours).

    On the CPU OpenCV itself computes it, ten times as fast. On a GPU and in a graph, exported or compiled, tensor
    operations do, the last step in a loop until nothing changes.

    Args:
        images: (N, C, H, W) in [0, 1]; scaled to 0–255 and rounded. Bytes (0–255) are taken as they are.
        low: the lower threshold on |dx| + |dy|, where a step over the whole range of 0–255 counts 1020.
        high: the upper threshold.

    Returns:
        (N, 1, H, W), float32, 1 on edges and 0 elsewhere. It has no gradient.

    Raises:
        ValueError: if ``low`` exceeds ``high``, or the images are no batch.
    """
    if low > high:
        raise ValueError(f"low threshold {low} exceeds high threshold {high}; swap them")
    _check(images)
    with torch.no_grad():
        scale = 1.0 if images.dtype == torch.uint8 else 255.0
        levels = (images.float() * scale).round().clamp(0, 255)
        by_opencv = images.device.type == "cpu" and images.shape[1] == 3 and not _is_traced(images)
        return (_canny_by_opencv if by_opencv else _canny_by_tensors)(levels, low, high)


def _canny_by_opencv(levels: Tensor, low: float, high: float) -> Tensor:
    images = levels.to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()
    edges = np.stack([cv2.Canny(image, low, high) for image in images])
    return torch.from_numpy(edges > 0)[:, None].float()


def _canny_by_tensors(levels: Tensor, low: float, high: float) -> Tensor:
    horizontal, vertical = (derivative.int() for derivative in _sobel(levels))
    channel = (horizontal.abs() + vertical.abs()).argmax(dim=1, keepdim=True)
    dx, dy = horizontal.gather(1, channel), vertical.gather(1, channel)
    magnitude = dx.abs() + dy.abs()
    ridges = _is_ridge(magnitude, dx, dy) & (magnitude > math.floor(low))
    return _connected_to(ridges & (magnitude > math.floor(high)), ridges).float()


def _is_traced(images: Tensor) -> bool:
    """Whether there are no values to look at: a graph is being made, or shapes alone are followed."""
    return torch.compiler.is_compiling() or type(images) is not Tensor


def _is_ridge(magnitude: Tensor, dx: Tensor, dy: Tensor) -> Tensor:
    """Whether no neighbour across the edge is stronger; the gradient's direction is one of four sectors."""
    height, width = magnitude.shape[-2:]
    padded = functional.pad(magnitude, (1, 1, 1, 1))

    def neighbour(down: int, right: int) -> Tensor:
        return padded.narrow(-2, 1 + down, height).narrow(-1, 1 + right, width)

    # tan 22.5° in 15 fractional bits, as OpenCV has it; tan 67.5° = tan 22.5° + 2
    tan_22 = round(math.tan(math.pi / 8) * 2**15)
    run, rise = dx.abs(), dy.abs() * 2**15  # ONNX shifts no signed numbers
    is_horizontal = rise < run * tan_22
    is_vertical = rise > run * (tan_22 + 2**16)
    is_falling = (dx < 0) != (dy < 0)
    along_x = (magnitude > neighbour(0, -1)) & (magnitude >= neighbour(0, 1))
    along_y = (magnitude > neighbour(-1, 0)) & (magnitude >= neighbour(1, 0))
    along_rising = (magnitude > neighbour(-1, -1)) & (magnitude > neighbour(1, 1))
    along_falling = (magnitude > neighbour(-1, 1)) & (magnitude > neighbour(1, -1))
    # And and or rather than `where`, which ONNX Runtime does not have for truth values.
    diagonal = (is_falling & along_falling) | (~is_falling & along_rising)
    upright = (is_vertical & along_y) | (~is_vertical & diagonal)
    return (is_horizontal & along_x) | (~is_horizontal & upright)


def _connected_to(seeds: Tensor, members: Tensor) -> Tensor:
    """The members, (N, 1, H, W) bool, that hang together with a seed over members and their 8 neighbours.

    Every member points to one with a higher index in its component, at first itself, and takes over what its neighbours
    and its target point to. Halving the chains in each round makes rounds logarithmic in the length of an edge, where
    growing from the seeds pixel by pixel would take as many rounds as the edge has pixels.
    """
    shape = members.shape
    batch, _, height, width = shape
    index = torch.arange(height * width, device=members.device)[None].repeat(batch, 1)

    def take_over(target: Tensor) -> Tensor:
        # Non-members point to themselves and are seen by nobody.
        seen = torch.where(members, target.view_as(members), -1)
        best = _highest_around(seen).flatten(1)
        best = torch.where(members.flatten(1), torch.maximum(best, target), target)
        hooked = target.scatter_reduce(1, target, best, "amax")  # tells the target what its followers see
        higher = torch.maximum(torch.maximum(hooked, best), hooked.gather(1, target))
        return higher.gather(1, higher)

    if torch.compiler.is_compiling():
        target = _until_it_stays(take_over, index)
    else:
        target, higher = index, take_over(index)
        while not torch.equal(target, higher):
            target, higher = higher, take_over(higher)
    reached = torch.zeros_like(target).scatter_reduce(1, target, seeds.flatten(1).to(target.dtype), "amax")
    return (reached.gather(1, target) > 0).view(shape) & members


def _until_it_stays(step: Callable[[Tensor], Tensor], start: Tensor) -> Tensor:
    """Repeat a step until it changes nothing, as a loop in a graph."""

    def goes_on(values: Tensor, changed: Tensor) -> Tensor:
        return changed > 0

    def once_more(values: Tensor, changed: Tensor) -> tuple[Tensor, Tensor]:
        stepped = step(values)
        return stepped, (stepped != values).sum()

    begin = (start, torch.ones((), dtype=torch.int64, device=start.device))
    values: Tensor = while_loop(goes_on, once_more, begin)[0]  # type: ignore[no-untyped-call]
    return values


def _highest_around(maps: Tensor) -> Tensor:
    """The maximum of 3×3 neighbours of integer maps; beyond the frame is −1."""
    height, width = maps.shape[-2:]
    padded = functional.pad(maps, (1, 1, 1, 1), value=-1)
    rows = torch.maximum(torch.maximum(padded[..., :width], padded[..., 1:-1]), padded[..., 2:])
    return torch.maximum(torch.maximum(rows[..., :height, :], rows[..., 1:-1, :]), rows[..., 2:, :])


def _sobel(maps: Tensor) -> tuple[Tensor, Tensor]:
    """3×3 Sobel derivatives along x and y, unscaled (a step of 1 reads 4), each (N, C, H, W)."""
    padded = functional.pad(maps, (1, 1, 1, 1), mode="replicate")
    columns = padded[..., :-2, :] + 2 * padded[..., 1:-1, :] + padded[..., 2:, :]
    rows = padded[..., :-2] + 2 * padded[..., 1:-1] + padded[..., 2:]
    return columns[..., 2:] - columns[..., :-2], rows[..., 2:, :] - rows[..., :-2, :]


def _weighted_shifts(padded: Tensor, weights: list[float], dim: int) -> Tensor:
    """Correlate with weights along one axis of maps that are padded for it."""
    size = padded.shape[dim] - len(weights) + 1
    total = padded.narrow(dim, 0, size) * weights[0]
    for shift, weight in enumerate(weights[1:], start=1):
        total = total.add(padded.narrow(dim, shift, size), alpha=weight)
    return total


def _check(maps: Tensor) -> None:
    if maps.ndim != 4:
        raise ValueError(f"maps (N, C, H, W) expected, {tuple(maps.shape)} found")
