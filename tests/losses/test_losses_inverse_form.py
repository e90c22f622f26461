"""InverseForm: its distances and its loss against their equations, its network by what it has to find."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from crispseg.config import LossConfig
from crispseg.errors import ConfigError, DataError, WeightsError
from crispseg.losses import (
    InverseFormLoss,
    InverseTransformation,
    build_loss,
    inverse_form_error,
    inverse_form_loss,
    load_inverse_form,
    save_inverse_form,
    train_inverse_form,
    transform_distance,
)
from crispseg.ops.boundaries import label_boundaries
from crispseg.types import SegmentationOutput


def boxes(seed, count=8, side=96):
    """Label maps of boxes over each other."""
    rng = np.random.default_rng(seed)
    maps = np.zeros((count, side, side), dtype=np.uint8)
    for one in maps:
        for label in range(14):
            (y, x), (height, width) = rng.integers(0, side - 12, 2), rng.integers(8, 28, 2)
            one[y : y + height, x : x + width] = label % 5
    return maps


@pytest.fixture(scope="module")
def network():
    """Trained for seconds: enough to know directions, and a third of the way."""
    return train_inverse_form(boxes(0), steps=320, batch_size=16)


class Sums(nn.Module):
    """In the network's place: six numbers that follow from the cells simply."""

    def forward(self, tiles):
        weights = torch.linspace(-1, 1, 32)
        moments = [(tiles * weight).mean(dim=(2, 3)) for weight in (1.0, weights, weights[:, None])]
        return torch.eye(2, 3) + torch.stack(moments, dim=2)  # (n, 2, 3)


# ── distances ──


def test_the_distances_are_what_their_equations_say():
    theta = np.eye(2, 3) + 0.3 * np.random.default_rng(0).standard_normal((40, 2, 3))
    theta[0, 0] *= -1  # one that mirrors
    euclidean = transform_distance(torch.from_numpy(theta))
    geodesic = transform_distance(torch.from_numpy(theta), "geodesic")
    for index, one in enumerate(theta):
        whole = np.vstack([one, [0, 0, 1]])
        assert euclidean[index].item() == pytest.approx(np.linalg.norm(whole - np.eye(3)))
        u, _, v = np.linalg.svd(whole)
        rotation = u @ np.diag([1, 1, np.linalg.det(u @ v)]) @ v
        angle = np.arccos((np.trace(rotation) - 1) / 2)
        expected = angle + 0.1 * np.trace((whole - rotation).T @ (whole - rotation))
        assert geodesic[index].item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("distance", ["euclidean", "geodesic"])
def test_distances_have_their_slopes_and_none_at_the_identity(distance):
    generator = torch.Generator().manual_seed(0)
    theta = torch.eye(2, 3, dtype=torch.float64) + 0.2 * torch.randn(3, 2, 3, generator=generator, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda given: transform_distance(given, distance), theta.requires_grad_())
    still = torch.eye(2, 3)[None].requires_grad_()
    value = transform_distance(still, distance)
    value.sum().backward()
    assert value.item() == 0
    assert not still.grad.any()


def test_an_unknown_distance():
    with pytest.raises(ValueError, match="'manhattan', one of"):
        transform_distance(torch.zeros(1, 2, 3), "manhattan")


# ── loss ──


def test_the_loss_is_the_mean_over_tiles_with_a_true_boundary():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, 96, 96, generator=generator)  # of nine tiles of 32×32, so pixels are cells
    labels = torch.zeros(2, 96, 96, dtype=torch.long)
    labels[0, 20:70, 5:20] = 1
    labels[1, :, 50:] = 2
    labels[1, 90:, :10] = 255
    p, ids = logits.double().softmax(dim=1).numpy(), labels.numpy()
    distances = []
    for image in range(2):
        truth, shown = np.zeros((96, 96)), np.zeros((96, 96))
        known = np.ones((96, 96), dtype=bool)
        for y, x in np.ndindex(96, 96):
            for to_y, to_x in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
                if 0 <= to_y < 96 and 0 <= to_x < 96:
                    own, other = ids[image, y, x], ids[image, to_y, to_x]
                    truth[y, x] = max(truth[y, x], own != other and 255 not in (own, other))
                    change = np.abs(p[image, :, y, x] - p[image, :, to_y, to_x]).sum() / 2
                    shown[y, x] = max(shown[y, x], change)
            known[y, x] = 255 not in ids[image, max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2]
        pair = torch.from_numpy(np.stack([truth * known, shown * known])).float()
        for row in range(0, 96, 32):
            for column in range(0, 96, 32):
                tile = pair[:, row : row + 32, column : column + 32]
                if tile[0].any():
                    distances.append(np.linalg.norm(Sums()(tile[None])[0].numpy() - np.eye(2, 3)))
    assert 0 < len(distances) < 18
    assert inverse_form_loss(logits, labels, Sums()).item() == pytest.approx(np.mean(distances), rel=1e-5)


def test_a_boundary_branch_is_compared_as_wide_as_it_is_told():
    labels = torch.zeros(1, 50, 41, dtype=torch.long)
    labels[:, 17:31, 9:30] = 1
    truth = label_boundaries(labels, 3)[:, None].float()
    sure = 40 * truth - 20
    values = [inverse_form_loss(sure, labels, Equal(), radius_px=radius, shape="square").item() for radius in (1, 2, 3)]
    assert values[0] > values[1] > values[2]
    assert values[2] == pytest.approx(0, abs=1e-5)


class Equal(nn.Module):
    """The identity for equal maps, and another transform for others."""

    def forward(self, tiles):
        difference = (tiles[:, 0] - tiles[:, 1]).abs().mean(dim=(1, 2))
        return torch.eye(2, 3) + difference[:, None, None]


def test_class_logits_that_are_sure_and_right_show_the_labels_boundaries():
    labels = torch.from_numpy(boxes(3, 2, 64)).long()
    labels[1, :9] = 255
    shown = labels.where(labels != 255, 4)
    logits = 100.0 * nn.functional.one_hot(shown, 5).permute(0, 3, 1, 2)
    assert inverse_form_loss(logits, labels, Equal()).item() == pytest.approx(0, abs=1e-6)
    assert inverse_form_loss(logits.roll(3, dims=3), labels, Equal()).item() > 0.01


@pytest.mark.parametrize("size", [(1, 1), (2, 7), (33, 100)])
def test_any_size(size, network):
    labels = torch.randint(0, 3, (2, *size), generator=torch.Generator().manual_seed(0))
    logits = torch.randn(2, 3, *size, requires_grad=True)
    value = inverse_form_loss(logits, labels, network)
    value.backward()
    assert torch.isfinite(value)
    assert torch.isfinite(logits.grad).all()


def test_without_a_true_boundary_it_is_zero_with_a_gradient_path(network):
    logits = torch.randn(2, 3, 12, 12, requires_grad=True)
    for labels in (torch.zeros(2, 12, 12, dtype=torch.long), torch.full((2, 12, 12), 255)):
        value = inverse_form_loss(logits, labels, network)
        assert value.item() == 0
        value.backward()


def test_it_is_a_mean():
    labels = torch.from_numpy(boxes(1, 2, 60)).long()
    logits = torch.randn(2, 5, 60, 60, generator=torch.Generator().manual_seed(0))
    once = inverse_form_loss(logits, labels, Sums())
    twice = inverse_form_loss(logits.repeat(2, 1, 1, 1), labels.repeat(2, 1, 1), Sums())
    assert twice.item() == pytest.approx(once.item())


def test_half_precision_and_autocast_compute_as_float32(network):
    labels = torch.from_numpy(boxes(1, 1, 60)).long()
    logits = torch.randn(1, 5, 60, 60, generator=torch.Generator().manual_seed(0)).bfloat16()
    plain = inverse_form_loss(logits.float(), labels, network)
    loss = InverseFormLoss(network)
    assert loss(logits, labels).item() == plain.item()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = loss(logits, labels)
    assert found.dtype == torch.float32
    assert found.item() == plain.item()
    assert loss.double()(logits, labels).item() == pytest.approx(plain.item())


def test_what_does_not_belong_together():
    with pytest.raises(ValueError, match="logits"):
        inverse_form_loss(torch.zeros(1, 3, 8, 8), torch.zeros(1, 8, 9, dtype=torch.long), Sums())
    with pytest.raises(ValueError, match="tiles is 0"):
        inverse_form_loss(torch.zeros(1, 3, 8, 8), torch.zeros(1, 8, 8, dtype=torch.long), Sums(), tiles=0)
    with pytest.raises(ValueError, match=r"pairs of maps .* \(1, 3, 8, 8\) found"):
        InverseTransformation()(torch.zeros(1, 3, 8, 8))


# ── network ──


def test_training_finds_transforms_on_other_maps(network):
    error = inverse_form_error(network, boxes(9), pairs=256)
    assert error.network < 0.85 * error.identity
    assert error.aligned < 0.15 * error.identity


def found_translation(network, share, axis):
    """Along the axis and across it, a mean over maps that are moved by a share of the tile; true is −2 times that."""
    lines = label_boundaries(torch.from_numpy(boxes(5, 16, 160)))[:, None].float()
    moved = lines.roll(round(share * 96), dims=3 if axis == "x" else 2)
    tiles = torch.cat((lines, moved), dim=1)[..., 32:128, 32:128]
    x, y = network(tiles)[:, :, 2].mean(dim=0).tolist()
    return (x, y) if axis == "x" else (y, x)


@pytest.mark.parametrize("share", [-0.08, 0.08])
@pytest.mark.parametrize("axis", ["x", "y"])
def test_the_direction_of_a_translation_is_found_soon(network, share, axis):
    along, across = found_translation(network, share, axis)
    assert 0.15 < along / (-2 * share) < 1.1
    assert abs(across) < 0.03


@pytest.mark.slow
def test_half_of_a_translation_is_found_with_more_training():
    network = train_inverse_form(boxes(0, 64), steps=1200, batch_size=32)
    for share in (-0.08, -0.04, 0.04, 0.08):
        for axis in ("x", "y"):
            along, across = found_translation(network, share, axis)
            assert 0.45 < along / (-2 * share) < 1.1
            assert abs(across) < 0.03
    error = inverse_form_error(network, boxes(9), pairs=512)
    assert error.network < 0.65 * error.identity


def test_the_same_seed_gives_the_same_network():
    first, second, other = (train_inverse_form(boxes(0), steps=2, batch_size=4, seed=seed) for seed in (3, 3, 4))
    for name, tensor in first.state_dict().items():
        assert torch.equal(tensor, second.state_dict()[name])
    assert not torch.equal(first.hidden.weight, other.hidden.weight)


def test_training_leaves_the_generator_of_others_alone():
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    train_inverse_form(boxes(0), steps=1, batch_size=2)
    assert torch.equal(torch.rand(3), expected)


def test_maps_without_a_boundary():
    with pytest.raises(DataError, match="no label map has a boundary"):
        train_inverse_form([np.zeros((20, 20), np.uint8), np.full((20, 20), 255, np.uint8)])


def predicted(labels, shift_px, softness_px=2.0):
    """Two classes, left and right of a border at column 48 + shift."""
    edge = (torch.arange(96) - 47.5 - shift_px) / softness_px
    return torch.stack([-edge, edge])[None, :, None].expand(1, 2, 96, 96)


@pytest.fixture
def halves():
    labels = torch.zeros(1, 96, 96, dtype=torch.long)
    labels[..., 48:] = 1
    return labels


def test_a_shifted_prediction_costs_more_and_the_gradient_moves_it_back(network, halves):
    costs = [inverse_form_loss(predicted(halves, shift), halves, network, tiles=1).item() for shift in (0.0, 5.0, 9.0)]
    assert costs[0] < costs[1] < costs[2]
    shift = torch.tensor(7.0, requires_grad=True)
    before = inverse_form_loss(predicted(halves, shift), halves, network, tiles=1)
    before.backward()
    assert shift.grad > 0
    nearer = shift.detach() - 1.0 * shift.grad.sign()
    assert inverse_form_loss(predicted(halves, nearer), halves, network, tiles=1) < before


@pytest.mark.parametrize("distance", ["euclidean", "geodesic"])
def test_the_gradient_is_that_of_finite_differences(halves, distance):
    """Through a smooth network: by a trained one, which has kinks, small steps of float32 say less."""

    def value(shift):
        return inverse_form_loss(predicted(halves, shift), halves, Sums(), distance=distance)

    shift = torch.tensor(4.3, requires_grad=True)
    value(shift).backward()
    step = 0.02
    numeric = (value(4.3 + step) - value(4.3 - step)) / (2 * step)
    assert shift.grad.item() == pytest.approx(numeric.item(), rel=0.02)


def test_the_network_gets_no_gradient_and_is_no_part_of_the_loss(network, halves):
    trainable = InverseTransformation().requires_grad_()
    trainable.load_state_dict(network.state_dict())
    logits = predicted(halves, 4.0).clone().requires_grad_()
    inverse_form_loss(logits, halves, trainable).backward()
    assert logits.grad.any()
    assert all(parameter.grad is None for parameter in trainable.parameters())
    loss = InverseFormLoss(trainable)
    assert not list(loss.parameters())
    assert not loss.state_dict()
    assert len(list(trainable.parameters())) == 10  # a copy was taken
    assert loss(logits, halves).item() == inverse_form_loss(logits, halves, network).item()
    assert {buffer.device.type for buffer in loss.to("meta").buffers()} == {"meta"}


# ── files and recipes ──


@pytest.fixture
def file(network, tmp_path):
    save_inverse_form(network, tmp_path / "nets" / "form.safetensors", {"seed": 0})
    return tmp_path / "nets" / "form.safetensors"


def test_a_saved_network_is_the_same(network, file):
    again = load_inverse_form(file)
    assert not any(parameter.requires_grad for parameter in again.parameters())
    tiles = torch.rand(3, 2, 40, 50)
    assert torch.equal(again(tiles), network(tiles))


def test_files_that_are_none(tmp_path, network):
    with pytest.raises(WeightsError, match="no such file; the network of the InverseForm loss expected, crispseg data"):
        load_inverse_form(tmp_path / "gone.safetensors")
    with pytest.raises(WeightsError, match="a folder, not a file"):
        load_inverse_form(tmp_path)
    broken = tmp_path / "broken.safetensors"
    for content in (b"", b"no such thing", b"\xff" * 300, (10**6).to_bytes(8, "little") + b"{}"):
        broken.write_bytes(content)
        with pytest.raises(WeightsError, match=r"broken.safetensors: cannot be read as safetensors"):
            load_inverse_form(broken)
    save_file({"weight": torch.zeros(3)}, broken)
    with pytest.raises(WeightsError, match="format None where 'crispseg inverse form 1' was expected"):
        load_inverse_form(broken)
    state = network.state_dict()
    metadata = {"format": "crispseg inverse form 1"}
    save_file({**state, "residual.bias": torch.zeros(8)}, broken, metadata)
    with pytest.raises(WeightsError, match=r"1 tensors are not .* residual.bias: \(8,\) in the file, \(6,\) in the"):
        load_inverse_form(broken)
    save_file({name: tensor for name, tensor in state.items() if name != "hidden.bias"}, broken, metadata)
    with pytest.raises(WeightsError, match=r"hidden.bias: missing in the file"):
        load_inverse_form(broken)
    save_file({**state, "residual.bias": torch.full((6,), torch.nan)}, broken, metadata)
    with pytest.raises(WeightsError, match=r"residual.bias holds no finite numbers"):
        load_inverse_form(broken)
    save_file({**state, "residual.bias": torch.zeros(6, dtype=torch.int64)}, broken, metadata)
    with pytest.raises(WeightsError, match=r"residual.bias holds no finite numbers in floating point"):
        load_inverse_form(broken)


def test_a_recipe_adds_it_to_any_system_by_its_weight(network, file, halves):
    config = LossConfig(inverse_form_weight=0.5, inverse_form_network=str(file))
    output = SegmentationOutput(predicted(halves, 5.0))
    terms = build_loss("segmentation", config, 2)(output, halves)
    assert terms["inverse_form"].item() == pytest.approx(0.5 * inverse_form_loss(output.logits, halves, network).item())
    without = LossConfig(inverse_form_network=str(file))
    assert "inverse_form" not in build_loss("segmentation", without, 2)(output, halves)
    branch = torch.randn(1, 1, 96, 96, generator=torch.Generator().manual_seed(0))
    output = SegmentationOutput(output.logits, boundary_logits=branch)
    for system, radius, shape in (("gscnn", 2, "disk"), ("decoupled", 1, "square")):
        found = build_loss(system, config, 2).eval()(output, halves)["inverse_form"].item()
        expected = inverse_form_loss(branch, halves, network, radius_px=radius, shape=shape).item()
        assert found == pytest.approx(0.5 * expected)


def test_a_weight_without_a_network_says_what_to_do(tmp_path):
    with pytest.raises(
        ConfigError, match=r"loss.inverse_form_weight is 0.5, and .*_network names no file; crispseg data"
    ):
        build_loss("segmentation", LossConfig(inverse_form_weight=0.5), 2)
    gone = LossConfig(inverse_form_weight=0.5, inverse_form_network=str(tmp_path / "gone"))
    with pytest.raises(WeightsError, match=r"loss.inverse_form_network: .*gone: no such file"):
        build_loss("segmentation", gone, 2)
