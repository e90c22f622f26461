"""TensorFlow's one-sided padding: cells look at the same place whatever the image's size, and near their middle."""

import copy

import pytest
import timm
import torch

from crispseg.backbones import TimmBackbone, build_backbone
from crispseg.backbones.same_padding import fix_padding
from crispseg.errors import ConfigError


@pytest.fixture(scope="module")
def nets():
    """A network as timm pads it, with fixed padding, and centred; the same weights."""
    torch.manual_seed(0)
    own = timm.create_model("tf_efficientnet_lite0", features_only=True).eval()
    fixed, centred = copy.deepcopy(own), copy.deepcopy(own)
    fix_padding(fixed, "fixed", centred=False)
    fix_padding(centred, "centred", centred=True)
    return own, fixed, centred


@pytest.fixture(scope="module")
def small():
    """A small network as timm pads it, and centred; the same weights."""
    torch.manual_seed(0)
    own = timm.create_model("test_efficientnet", features_only=True, pad_type="same").eval()
    centred = copy.deepcopy(own)
    fix_padding(centred, "centred", centred=True)
    return own, centred


@torch.no_grad()
def test_sizes_that_the_stride_divides_give_timms_maps():
    torch.manual_seed(0)
    own = timm.create_model("tf_efficientnet_lite0", features_only=True).eval()
    ours = TimmBackbone("tf_efficientnet_lite0", 32).eval()
    ours.net.load_state_dict(own.state_dict())
    image = torch.randn(1, 3, 64, 96)
    features = ours(image)
    for expected, found in zip(own(image), [features.stem, *features.levels], strict=True):
        torch.testing.assert_close(found, expected)


@torch.no_grad()
def test_other_sizes_do_not_move_the_maps(nets):
    own, fixed, centred = nets
    image = torch.randn(1, 3, 1056, 32)
    cut = image[:, :, :1000]  # 125 cells at stride 8, 63 at 16: timm's maps of strides 16 and 32 move

    def moves(net):
        pairs = zip(net(image), net(cut), strict=True)
        return [not torch.allclose(whole[:, :, :3], part[:, :, :3], atol=1e-4) for whole, part in pairs]

    assert moves(own) == [False, False, False, True, True]
    assert moves(fixed) == moves(centred) == [False] * 5


@torch.no_grad()
def test_centred_maps_are_those_of_a_moved_image_and_look_at_the_middle(small):
    own, centred = small
    image = torch.randn(1, 3, 512, 512)
    maps = centred(image)
    for index, moved_px in enumerate((1, 1, 5, 5, 21)):
        stride = 2 ** (index + 1)
        expected = own(torch.roll(image, (moved_px, moved_px), dims=(2, 3)))[index]
        inside = slice(192 // stride, 320 // stride)
        torch.testing.assert_close(
            maps[index][..., inside, inside], expected[..., inside, inside], atol=1e-4, rtol=1e-3
        )
        looks_at_px, middle_px = stride - 1 - moved_px, (stride - 1) / 2  # in the cell; timm's look at its last pixel
        assert abs(looks_at_px - middle_px) <= stride / 4


@torch.no_grad()
def test_without_one_sided_padding_nothing_changes():
    net = timm.create_model("test_efficientnet", features_only=True)
    before = str(net)
    fix_padding(net, "test_efficientnet", centred=False)
    assert str(net) == before


def test_what_cannot_be_centred_is_named():
    with pytest.raises(ConfigError, match="no one-sided padding"):
        TimmBackbone("resnet18", 32, padding="centred")
    with pytest.raises(ConfigError, match="only timm models"):
        build_backbone("wide_resnet38", padding="centred")
    with pytest.raises(ConfigError, match="'middle'"):
        TimmBackbone("resnet18", 32, padding="middle")
