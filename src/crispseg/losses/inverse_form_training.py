"""Training of InverseForm's network (section 3.4), on boundaries of label maps that are moved at random."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from crispseg.errors import DataError
from crispseg.labels import IGNORE_INDEX
from crispseg.losses.inverse_form import InverseTransformation
from crispseg.ops.boundaries import label_boundaries

__all__ = ["STEPS", "InverseFormError", "inverse_form_error", "train_inverse_form"]

STEPS = 3000
"""Of the training, unless it is told otherwise."""

_MOST_TURN = math.radians(15)
_MOST_LOG_SCALE = math.log(1.2)
_MOST_SHIFT = 0.25  # of x and y from −1 to 1: an eighth of a tile
_SHARES = (0.2, 0.5)  # of a map's side that a tile has; with 3 × 3 tiles of a crop a third of the crop's
_MAP_SIDE = 192  # of maps in memory, to which they are shrunk or enlarged
_SAMPLES = 64  # points per side at which a tile is read, two for a cell of the network
_WEAKEST = 0.3  # certainty of a predicted boundary
_WIDEST_BLUR = 7  # samples
_RATE, _DECAY = 2e-3, 1e-2
_MEASURED_AT_ONCE = 256  # pairs


class InverseFormError(NamedTuple):
    """How far predicted transforms are from the true ones, ‖θ̂ − θ‖ as a mean over pairs.

    Attributes:
        network: of the network.
        identity: of whoever says that nothing has moved.
        aligned: of the network where nothing has.
    """

    network: float
    identity: float
    aligned: float


def train_inverse_form(
    label_maps: Iterable[npt.NDArray[np.uint8]],
    *,
    seed: int = 0,
    steps: int = STEPS,
    batch_size: int = 64,
    ignore_index: int = IGNORE_INDEX,
    progress: Callable[[int, int], object] | None = None,
) -> InverseTransformation:
    """Train the network of the InverseForm loss on boundaries that are moved by known transforms.

    A pair is a tile of a true boundary map and the same tile of the map moved by θ; the network learns to say θ, by the
    mean of ‖θ̂ − θ‖ (section 3.3). Tiles are places drawn at random, a fifth to half of the map's sides.

    What departs from the paper: it moves maps as a spatial transformer that was trained on images would, and gives no
    ranges; here transforms are drawn: turns up to 15°, scales of each axis up to 1.2 and its inverse, shifts up to an
    eighth of a tile, all times one share that is drawn, too, so that small ones are frequent. And as predictions are no
    lines of certainty 1, moved tiles are blurred over up to 7 of 64 samples, and weakened, down to 0.3.

    Args:
        label_maps: (H, W) train ids each, of any sizes; all are shrunk or enlarged to boundary maps of 192×192. Those
            without a boundary are left out.
        seed: of the network's first weights and of all that is drawn. On one machine with one number of threads the
            same seed gives the same network.
        steps: of the optimiser.
        batch_size: pairs in a step.
        ignore_index: the id of void pixels.
        progress: called with (steps done, steps in all).

    Returns:
        The network, in evaluation mode; its parameters want no gradient.

    Raises:
        DataError: if no map has a boundary.

    Example:
        >>> square = np.zeros((48, 48), dtype=np.uint8)
        >>> square[16:32, 16:32] = 1
        >>> network = train_inverse_form([square], steps=2, batch_size=4)
        >>> round(sum(parameter.numel() for parameter in network.parameters()) / 1e6, 1)
        0.6
    """
    maps = _boundary_maps(label_maps, ignore_index)
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = InverseTransformation()
    optimizer = torch.optim.AdamW(network.parameters(), lr=_RATE, weight_decay=_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _RATE, total_steps=steps)
    for step in range(steps):
        tiles, theta = _moved_pairs(maps, batch_size, generator, softened=True)
        optimizer.zero_grad()
        _error(network(tiles), theta, tiles).backward()  # type: ignore[no-untyped-call] # as torch has it
        optimizer.step()
        if step + 1 < steps:
            schedule.step()
        if progress is not None:
            progress(step + 1, steps)
    return network.eval().requires_grad_(False)


def inverse_form_error(
    network: InverseTransformation,
    label_maps: Iterable[npt.NDArray[np.uint8]],
    *,
    seed: int = 0,
    pairs: int = 2048,
    ignore_index: int = IGNORE_INDEX,
) -> InverseFormError:
    """Measure a network on label maps, best on others than it was trained on.

    Pairs are drawn as for `train_inverse_form`, sharp and certain.

    Args:
        network: that was trained.
        label_maps: see `train_inverse_form`.
        seed: of what is drawn.
        pairs: how many, at least; a multiple of 256 is taken.
        ignore_index: the id of void pixels.

    Raises:
        DataError: if no map has a boundary.
    """
    maps = _boundary_maps(label_maps, ignore_index)
    generator = torch.Generator().manual_seed(seed)
    rounds = math.ceil(pairs / _MEASURED_AT_ONCE)
    sums = torch.zeros(3)
    with torch.no_grad():
        for _ in range(rounds):
            tiles, theta = _moved_pairs(maps, _MEASURED_AT_ONCE, generator, softened=False)
            still = torch.eye(2, 3).expand_as(theta)
            same = tiles[:, :1].expand_as(tiles)
            errors = ((network(tiles), theta), (still, theta), (network(same), still))
            sums += torch.stack([_error(found, true, tiles) for found, true in errors])
    return InverseFormError(*(sums / rounds).tolist())


def _error(found: Tensor, theta: Tensor, tiles: Tensor) -> Tensor:
    """Mean of ‖θ̂ − θ‖ over the pairs whose first map has a boundary."""
    has_boundary = (tiles[:, 0].flatten(1).amax(dim=1) > 0).float()
    distances: Tensor = torch.linalg.vector_norm((found - theta).flatten(1), dim=1)
    return (distances * has_boundary).sum() / has_boundary.sum().clamp_min(1)


def _boundary_maps(label_maps: Iterable[npt.NDArray[np.uint8]], ignore_index: int) -> Tensor:
    """(M, 1, side, side) in bytes; lines of one pixel to each side, then of two, in turn."""
    maps = []
    for index, labels in enumerate(label_maps):
        boundaries = label_boundaries(torch.as_tensor(labels)[None], 1 + index % 2, ignore_index, shape="disk")[0]
        if boundaries.any():
            drawn = boundaries.view(torch.uint8).mul(255).numpy()
            maps.append(cv2.resize(drawn, (_MAP_SIDE, _MAP_SIDE), interpolation=cv2.INTER_AREA))
    if not maps:
        raise DataError("no label map has a boundary between two classes; give maps of more than one class")
    return torch.from_numpy(np.stack(maps))[:, None]


def _moved_pairs(maps: Tensor, count: int, generator: torch.Generator, *, softened: bool) -> tuple[Tensor, Tensor]:
    """Tiles (N, 2, h, w) of maps drawn at random, as they are and moved, and θ (N, 2, 3)."""

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(count, *shape, generator=generator)

    chosen = maps[torch.randint(len(maps), (count,), generator=generator)].float()
    theta = _random_transforms(uniform)
    share = uniform(*_SHARES, 2)
    flip = torch.randint(2, (count, 2), generator=generator) * 2 - 1
    place = torch.zeros(count, 3, 3)  # a tile in its map
    place[:, 0, 0], place[:, 1, 1] = (share * flip).unbind(1)
    place[:, :2, 2] = uniform(-1, 1, 2) * (1 - share)
    place[:, 2, 2] = 1
    moved = place @ torch.cat((theta, torch.tensor([[[0.0, 0.0, 1.0]]]).expand(count, 1, 3)), dim=1)
    size = [count, 1, _SAMPLES, _SAMPLES]
    tiles = [
        functional.grid_sample(
            chosen, functional.affine_grid(matrix[:, :2], size, align_corners=False), align_corners=False
        )
        for matrix in (place, moved)
    ]
    if softened:
        width = int(torch.randint((_WIDEST_BLUR + 1) // 2, (1,), generator=generator)) * 2 + 1
        for kernel, padding in (((1, width), (0, width // 2)), ((width, 1), (width // 2, 0))):
            tiles[1] = functional.avg_pool2d(tiles[1], kernel, stride=1, padding=padding, count_include_pad=False)
        tiles[1] = tiles[1] * uniform(_WEAKEST, 1, 1, 1, 1)
    return torch.cat(tiles, dim=1) / 255, theta


def _random_transforms(uniform: Callable[..., Tensor]) -> Tensor:
    """θ, (N, 2, 3): turned, scaled along each axis and moved, by shares of the most that are drawn as well."""
    amount = uniform(0, 1)
    turn = amount * uniform(-_MOST_TURN, _MOST_TURN)
    scale = (amount[:, None] * uniform(-_MOST_LOG_SCALE, _MOST_LOG_SCALE, 2)).exp()
    shift = amount[:, None] * uniform(-_MOST_SHIFT, _MOST_SHIFT, 2)
    cosine, sine = turn.cos(), turn.sin()
    rotation = torch.stack((cosine, -sine, sine, cosine), dim=1).view(-1, 2, 2)
    return torch.cat((rotation * scale[:, None], shift[:, :, None]), dim=2)
