"""InverseForm (Borse et al., CVPR 2021): how far predicted boundaries are moved, turned and scaled, as a loss."""

from __future__ import annotations

import copy
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from crispseg.labels import IGNORE_INDEX
from crispseg.losses.common import check_labels, ratio_over_batch
from crispseg.ops.boundaries import Shape, boundary_targets, soft_boundaries

__all__ = [
    "InverseFormLoss",
    "InverseTransformation",
    "TransformDistance",
    "inverse_form_loss",
    "transform_distance",
]

TransformDistance = Literal["euclidean", "geodesic"]
"""How far a transform is from the identity: by its numbers, or by its rotation and what remains beside it."""

_RESIDUAL_WEIGHT = 0.1  # λ of the geodesic distance
_NEWTON_STEPS = 10  # towards the nearest rotation; each squares the error
_CELLS = 32
_GAIN = 6.0  # of cells, which lines fill to a sixth or so; with less the training begins much later
_WIDTHS = (32, 64, 128)
_HIDDEN = 256


class InverseTransformation(nn.Module):
    """Which affine transform made one boundary map of another (section 3.2); `train_inverse_form` trains one.

    θ is meant as a spatial transformer means it: the second map is the first one read at θ·(x, y, 1), where x and y run
    from −1 to 1 over a tile. So equal maps have the identity, and a map that was moved to the right by the share s of
    the tile's width has −2s in the place of x's translation.

    What departs from the paper: its network is a multilayer perceptron on tiles of 224×224 pixels and gives the eight
    numbers of a homography, or six for the Euclidean distance. Here tiles of any size are averaged over 32×32 cells
    first, three convolutions and two linear layers follow, 0.6 million parameters in all, and what comes out are the
    six numbers of an affine transform. Untrained, it says the identity of every pair.

    Example:
        >>> InverseTransformation()(torch.rand(4, 2, 40, 60))[0].tolist()
        [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
    """

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = 2
        for width in _WIDTHS:
            layers += [nn.Conv2d(before, width, 3, stride=2, padding=1), nn.ReLU()]
            before = width
        self.features = nn.Sequential(*layers)
        last_side = _CELLS // 2 ** len(_WIDTHS)
        self.hidden = nn.Linear(before * last_side**2, _HIDDEN)
        self.residual = nn.Linear(_HIDDEN, 6)
        nn.init.zeros_(self.residual.weight)
        nn.init.zeros_(self.residual.bias)

    def forward(self, tiles: Tensor) -> Tensor:
        """Pairs of boundary maps to transforms.

        Args:
            tiles: (N, 2, h, w) in [0, 1]: the true map, and the predicted one, which is taken for what became of it.

        Returns:
            θ, (N, 2, 3).

        Raises:
            ValueError: if the tiles are no pairs.
        """
        if tiles.ndim != 4 or tiles.shape[1] != 2:
            raise ValueError(f"pairs of maps (N, 2, h, w) expected, {tuple(tiles.shape)} found")
        features: Tensor = self.features(_GAIN * _cells(tiles))
        residual: Tensor = self.residual(functional.relu(self.hidden(features.flatten(1)))).view(-1, 2, 3)
        return torch.eye(2, 3, dtype=residual.dtype, device=residual.device) + residual


def inverse_form_loss(
    logits: Tensor,
    labels: Tensor,
    network: nn.Module,
    *,
    tiles: int = 3,
    distance: TransformDistance = "euclidean",
    radius_px: int = 1,
    shape: Shape = "disk",
    ignore_index: int = IGNORE_INDEX,
) -> Tensor:
    """How far the transform between true and predicted boundaries is from the identity, as a mean over tiles.

    The predicted boundaries are a boundary branch's, or follow from class probabilities by
    `crispseg.ops.boundaries.soft_boundaries`. Both maps are cut into tiles, and the network says which transform would
    make the true tile the predicted one. The paper adds its distances from the identity up; here their mean over the
    tiles that hold a true boundary is taken, so that neither the number of tiles nor empty ones change the value.
    It is meant to stand beside a cross-entropy of the classes and one of the boundaries: where a prediction shows
    nothing at all, it has nothing to move.

    Args:
        logits: (N, K, H, W) of K classes; or (N, 1, H, W) of a boundary branch, before the sigmoid.
        labels: (N, H, W) train ids.
        network: an `InverseTransformation` that was trained, or any module from (n, 2, h, w) to (n, 2, 3). It gets no
            gradient.
        tiles: into how many parts each side is cut: the paper's 3.
        distance: see `transform_distance`.
        radius_px: how far from a label change a pixel still is a boundary; of a boundary branch. Those of class
            probabilities are the pixels beside it.
        shape: of the reach, likewise.
        ignore_index: the id of void pixels, around which neither map has a boundary.

    Returns:
        A scalar in float32; 0, with a gradient path, where no tile holds a true boundary.

    Raises:
        ValueError: if the shapes do not belong together, or `tiles` is below 1.

    Example:
        >>> labels = torch.zeros(1, 48, 48, dtype=torch.long)
        >>> labels[:, 16:32, 16:32] = 1
        >>> logits = torch.randn(1, 2, 48, 48)
        >>> inverse_form_loss(logits, labels, InverseTransformation()).item()  # untrained, it says that all is well
        0.0
    """
    check_labels(logits, labels)
    if tiles < 1:
        raise ValueError(f"tiles is {tiles}, at least 1 expected")
    if logits.shape[1] == 1:
        predicted = logits.float().sigmoid()
    else:
        predicted, radius_px, shape = soft_boundaries(logits.float().softmax(dim=1)), 1, "disk"
    target, valid = boundary_targets(labels, radius_px, ignore_index, shape=shape)
    near_void = functional.max_pool2d((~valid).float(), 2 * radius_px + 1, stride=1, padding=radius_px)
    pairs = torch.cat((target, predicted), dim=1) * (near_void == 0)
    cells = torch.cat(
        [_cells(pairs[..., rows, columns]) for rows in _parts(pairs, -2, tiles) for columns in _parts(pairs, -1, tiles)]
    )
    weights = {
        name: tensor.detach().float() for name, tensor in (*network.named_parameters(), *network.named_buffers())
    }
    with torch.autocast(cells.device.type, enabled=False):
        theta = functional_call(network, weights, (cells,))
    has_boundary = cells[:, 0].flatten(1).any(dim=1)
    distances = transform_distance(theta, distance).masked_fill(~has_boundary, 0.0)
    return ratio_over_batch(distances.sum(), has_boundary.sum())


def transform_distance(theta: Tensor, distance: TransformDistance = "euclidean") -> Tensor:
    """How far affine transforms are from the identity (section 3.3).

    ``euclidean`` is ‖θ − I‖, the Frobenius norm. ``geodesic`` looks at the rotation P of three dimensions that is
    nearest to the 3×3 matrix θ (with 0, 0, 1 as its last row): its angle, arccos((Tr P − 1) / 2), plus 0.1 times
    ‖θ − P‖². The paper found no clear winner, and large gradients by the second: the arc cosine has an infinite
    one at the identity. Here the angle is found from its sine and its cosine, which has none.

    Args:
        theta: (N, 2, 3).
        distance: which.

    Returns:
        (N,), 0 for the identity.

    Raises:
        ValueError: if there is no such distance.

    Example:
        >>> moved = torch.tensor([[[1.0, 0.0, 0.3], [0.0, 1.0, -0.4]]])
        >>> round(transform_distance(moved).item(), 4)
        0.5
        >>> turned = torch.tensor([[[0.6, -0.8, 0.0], [0.8, 0.6, 0.0]]])
        >>> round(transform_distance(turned, "geodesic").item(), 4)  # arccos 0.6
        0.9273
    """
    if distance not in get_args(TransformDistance):
        raise ValueError(f"distance is {distance!r}, one of {get_args(TransformDistance)} expected")
    if distance == "euclidean":
        residual = theta - torch.eye(2, 3, dtype=theta.dtype, device=theta.device)
        norm: Tensor = torch.linalg.vector_norm(residual.flatten(1), dim=1)
        return norm
    last_row = torch.tensor([0.0, 0.0, 1.0], dtype=theta.dtype, device=theta.device).expand(len(theta), 1, 3)
    matrix = torch.cat((theta, last_row), dim=1)
    rotation = _nearest_rotation(matrix)
    sine = torch.linalg.vector_norm((rotation - rotation.mT).flatten(1), dim=1) / 8**0.5
    cosine = (rotation.diagonal(dim1=1, dim2=2).sum(dim=1) - 1) / 2
    return torch.atan2(sine, cosine) + _RESIDUAL_WEIGHT * (matrix - rotation).square().sum(dim=(1, 2))


class InverseFormLoss(nn.Module):
    """`inverse_form_loss` as a module, for anybody's loop.

    Its network moves with the module, and is none of its parameters nor of its saved state: nobody trains it by
    mistake, and a checkpoint does not hold it.

    Args:
        network: that was trained (`train_inverse_form`, `load_inverse_form`); a copy is taken.
        tiles: see `inverse_form_loss`.
        distance: see there.
        radius_px: see there.
        shape: see there.
        ignore_index: see there.
    """

    def __init__(
        self,
        network: InverseTransformation,
        tiles: int = 3,
        distance: TransformDistance = "euclidean",
        *,
        radius_px: int = 1,
        shape: Shape = "disk",
        ignore_index: int = IGNORE_INDEX,
    ) -> None:
        super().__init__()
        self.network = _without_parameters(network)
        self.tiles, self.ignore_index = tiles, ignore_index
        self.distance: TransformDistance = distance
        self.radius_px = radius_px
        self.shape: Shape = shape

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Logits (N, K, H, W), or (N, 1, H, W) of a boundary branch, and labels (N, H, W) to a scalar."""
        return inverse_form_loss(
            logits,
            labels,
            self.network,
            tiles=self.tiles,
            distance=self.distance,
            radius_px=self.radius_px,
            shape=self.shape,
            ignore_index=self.ignore_index,
        )


def _cells(maps: Tensor) -> Tensor:
    """(N, C, h, w) → means over the network's cells, (N, C, 32, 32)."""
    return functional.adaptive_avg_pool2d(maps, _CELLS)


def _parts(maps: Tensor, dim: int, count: int) -> list[slice]:
    """A side in parts that differ by a pixel at most; a side of fewer pixels has fewer parts."""
    size = maps.shape[dim]
    count = min(count, size)
    return [slice(index * size // count, (index + 1) * size // count) for index in range(count)]


def _nearest_rotation(matrices: Tensor) -> Tensor:
    """P = U diag(1, 1, det(UVᵀ)) Vᵀ of the singular value decomposition, (N, 3, 3).

    Where the determinant is positive, as it is of whatever does not mirror, Newton's iteration X ← (X + X⁻ᵀ) / 2 finds
    it; the decomposition has no gradient where singular values are equal, and those of the identity are. What mirrors
    or has no volume gets the decomposition's rotation, without a gradient.
    """
    is_proper = torch.linalg.det(matrices) > _FLAT
    identity = torch.eye(3, dtype=matrices.dtype, device=matrices.device)
    nearest = torch.where(is_proper[:, None, None], matrices, identity)
    for _ in range(_NEWTON_STEPS):
        nearest = (nearest + torch.linalg.inv(nearest).mT) / 2
    u, _, v = torch.linalg.svd(matrices.detach())
    signs = torch.ones_like(matrices[:, 0])
    signs[:, 2] = torch.linalg.det(u @ v)
    return torch.where(is_proper[:, None, None], nearest, (u * signs[:, None]) @ v)


_FLAT = 1e-3


def _without_parameters(network: InverseTransformation) -> InverseTransformation:
    """A copy whose parameters are buffers that are no part of its state."""
    frozen = copy.deepcopy(network).eval()
    for module in frozen.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            delattr(module, name)
            module.register_buffer(name, parameter.detach(), persistent=False)
    return frozen
