"""Active boundary loss, against its equations pixel by pixel."""

import math

import pytest
import torch

from crispseg.config import LossConfig
from crispseg.losses import ActiveBoundaryLoss, active_boundary_loss, build_loss
from crispseg.types import SegmentationOutput

AROUND = [(0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1), (-1, 0), (-1, 1)]


def divergence(p, q):
    return sum(float(a) * math.log(float(a) / float(b)) for a, b in zip(p, q, strict=True))


def plain(logits, labels, share, theta, smoothing):
    """Eq. 1 to 4 in loops, over one image."""
    p = logits[0].double().softmax(dim=0)
    height, width = labels.shape[-2:]
    inside = lambda row, column: 0 <= row < height and 0 <= column < width  # noqa: E731
    pixels = [(row, column) for row in range(height) for column in range(width)]
    strength, edges = {}, []
    for row, column in pixels:
        beside = [(row, column + 1), (row + 1, column)]
        beside = [at for at in beside if inside(*at)]
        strength[row, column] = max((divergence(p[:, row, column], p[:, *at]) for at in beside), default=0.0)
        if labels[0, row, column] != 255 and any(labels[0][at] not in (255, labels[0, row, column]) for at in beside):
            edges.append((row, column))
        if labels[0, row, column] == 255:
            strength[row, column] = 0.0
    distance = {at: min(math.dist(at, edge) for edge in edges) for at in pixels}
    threshold = max(sorted(strength.values(), reverse=True)[int(share * len(pixels))], 1e-6)
    total, chosen = 0.0, [at for at in pixels if strength[at] > threshold]
    for row, column in chosen:
        others = [(row + down, column + right) for down, right in AROUND]
        target = min(range(8), key=lambda k: distance.get(others[k], math.inf))
        clamped = [(min(max(r, 0), height - 1), min(max(c, 0), width - 1)) for r, c in others]
        scores = [divergence(p[:, row, column], p[:, r, c]) for r, c in clamped]
        normaliser = math.log(sum(math.exp(score) for score in scores))
        entropy = [normaliser - score for score in scores]
        mixed = (1 - smoothing) * entropy[target] + smoothing * sum(entropy) / 8
        total += mixed * min(distance[row, column], theta) / theta
    return total / len(chosen)


@pytest.mark.parametrize("seed", range(3))
def test_the_loss_is_what_its_equations_say(seed):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(1, 3, 6, 7, generator=generator)
    labels = (
        torch.randint(0, 3, (1, 2, 2), generator=generator).repeat_interleave(3, 1).repeat_interleave(4, 2)[..., :7]
    )
    labels[0, 0, 0] = 255
    labels[0, 3:, 4:] = (labels[0, 0, 4] + 1) % 3  # there is a boundary
    found = active_boundary_loss(logits, labels, share=0.3, farthest_px=2.0, smoothing=0.2)
    assert found.item() == pytest.approx(plain(logits, labels, 0.3, 2.0, 0.2), rel=1e-5)


def test_its_gradient_moves_the_boundary_towards_the_true_one():
    labels = torch.zeros(1, 6, 24, dtype=torch.long)
    labels[..., 12:] = 1
    edge = 0.5 * (torch.arange(24) - 15.6)  # four pixels too far to the right
    logits = torch.stack([-edge, edge])[None, :, None].repeat(1, 1, 6, 1)
    logits = (logits + 1e-3 * torch.randn(logits.shape, generator=torch.Generator().manual_seed(0))).requires_grad_()
    loss, optimiser, values = ActiveBoundaryLoss(share=0.05), torch.optim.SGD([logits], lr=20.0), []
    for _ in range(25):
        optimiser.zero_grad()
        values.append(loss(logits, labels))
        values[-1].backward()
        optimiser.step()
    assert values[-1].item() < 0.7 * values[0].item()
    assert (logits.argmax(dim=1) != labels).sum().item() < 6 * 4


def test_without_a_boundary_to_move_or_to_move_to_it_is_zero_with_a_gradient_path():
    logits = torch.zeros(2, 3, 5, 5, requires_grad=True)
    labels = torch.zeros(2, 5, 5, dtype=torch.long)
    for given in (labels, labels + 255):
        value = active_boundary_loss(logits + torch.arange(5), given)
        assert value.item() == 0
        value.backward()


def test_a_recipe_adds_it_to_any_system_by_its_weight():
    output = SegmentationOutput(torch.randn(1, 3, 16, 16))
    labels = torch.zeros(1, 16, 16, dtype=torch.long)
    labels[..., 8:] = 1
    with_it = build_loss("segmentation", LossConfig(active_boundary_weight=0.5), 3)(output, labels)
    assert with_it["active_boundary"].item() == pytest.approx(0.5 * active_boundary_loss(output.logits, labels).item())
    assert "active_boundary" not in build_loss("segmentation", LossConfig(), 3)(output, labels)
