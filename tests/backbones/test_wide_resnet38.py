"""WideResNet-38: structure against the released networks' key tables, behaviour against FACTS-level descriptions."""

import json
from pathlib import Path

import pytest
import torch

from crispseg.backbones import WideResNet38, build_backbone
from crispseg.backbones.wide_resnet38 import _own_name
from crispseg.errors import ConfigError, WeightsError

KEYS = Path(__file__).parents[3] / "shared" / "published" / "deeplabv3plus_wrn38.keys.json"

needs_keys = pytest.mark.skipif(
    not KEYS.is_file(), reason="the released networks' key tables are not beside the repository"
)


@pytest.fixture
def small():
    torch.manual_seed(0)
    return WideResNet38(width_factor=1 / 16)


@needs_keys
def test_names_and_shapes_match_the_released_network():
    released = {k: tuple(v) for k, v in json.loads(KEYS.read_text()).items() if k.startswith("mod")}
    with torch.device("meta"):
        ours = {key: tuple(value.shape) for key, value in WideResNet38().state_dict().items()}
    assert {_own_name(key): shape for key, shape in released.items()} == ours


def test_parameter_count_is_the_published_one():
    with torch.device("meta"):
        count = sum(p.numel() for p in WideResNet38().parameters())
    # By hand: convolutions, projections and two numbers per normalised channel, stage by stage.
    by_hand = 3 * 64 * 9
    width = 64
    for blocks, widths in [(3, (128, 128)), (3, (256, 256)), (6, (512, 512)), (3, (512, 1024))]:
        for _ in range(blocks):
            a, b = widths
            by_hand += 2 * width + width * a * 9 + 2 * a + a * b * 9 + (width * b if width != b else 0)
            width = b
    for a, b, c in [(512, 1024, 2048), (1024, 2048, 4096)]:
        by_hand += 2 * width + width * a + 2 * a + a * b * 9 + 2 * b + b * c + width * c
        width = c
    assert count == by_hand


@pytest.mark.parametrize(
    ("output_stride", "strides"),
    [(8, (2, 4, 8, 8, 8, 8)), (16, (2, 4, 8, 16, 16, 16)), (32, (2, 4, 8, 16, 32, 32))],
)
def test_info_tells_true_strides_and_widths(output_stride, strides):
    backbone = WideResNet38(output_stride, width_factor=1 / 16).eval()
    infos = [backbone.info.stem, *backbone.info.levels]
    assert tuple(info.stride for info in infos) == (1, *strides)
    assert [info.channels for info in infos] == [4, 8, 16, 32, 64, 128, 256]
    assert backbone.info.mid.name == "mod5"
    assert [backbone.info.levels[index].name for index in backbone.info.pyramid_indices] == [
        "mod2",
        "mod3",
        "mod5",
        "mod7",
    ]
    with torch.no_grad():
        features = backbone(torch.randn(2, 3, 65, 97))
    for feature, info in zip([features.stem, *features.levels], infos, strict=True):
        assert feature.shape == (2, info.channels, -(-65 // info.stride), -(-97 // info.stride))
        assert torch.isfinite(feature).all()


def test_dilations_of_the_late_stages():
    def dilations(stage):
        return {conv.dilation[0] for block in stage for conv in block.convolutions if conv.kernel_size == (3, 3)}

    assert [dilations(stage) for stage in WideResNet38(8, width_factor=1 / 16).stages] == [{1}, {1}, {1}, {2}, {4}, {4}]


def test_a_projection_takes_the_activated_input_and_an_identity_the_raw_one(small):
    small.eval()
    x = -torch.ones(1, small.info.levels[0].channels, 8, 8)
    identity_block, projecting_block = small.stages[0][1], small.stages[1][0]
    for block in (identity_block, projecting_block):
        block.convolutions[-1].weight.detach().zero_()  # leaves the shortcut alone
    with torch.no_grad():
        torch.testing.assert_close(identity_block(x), x)
        # Fresh statistics leave −1 as it is, and the ReLU before the projection makes it 0.
        torch.testing.assert_close(projecting_block(x), torch.zeros(1, small.info.levels[1].channels, 8, 8))


def test_whole_channels_are_dropped_in_training_only():
    torch.manual_seed(0)
    block = WideResNet38(width_factor=1 / 4).stages[5][0]
    seen = []
    block.dropout.register_forward_hook(lambda module, inputs, output: seen.append(output))
    x = torch.randn(2, block.norms[0].num_features, 6, 6)
    block.train()(x)
    block.eval()(x)
    in_training, in_evaluation = ((maps == 0).flatten(2).all(-1).float().mean() for maps in seen)
    assert 0.4 < float(in_training) < 0.6
    assert float(in_evaluation) < 0.05  # a ReLU may silence a channel
    rates = [stage[-1].dropout.p for stage in WideResNet38(width_factor=1 / 16).stages[-2:]]
    assert rates == [0.3, 0.5]


def test_every_parameter_receives_a_gradient(small):
    small(torch.randn(2, 3, 64, 64)).top.square().mean().backward()
    assert [name for name, p in small.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []


def test_images_of_a_batch_do_not_touch_each_other_in_evaluation(small):
    small.eval().double()
    images = torch.randn(2, 3, 33, 40, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(small(images).top[1:], small(images[1:]).top)


def test_weights_come_from_a_file_in_released_or_own_names(tmp_path):
    source = WideResNet38(width_factor=1 / 16)
    own = source.state_dict()
    released = {"module." + _released_name(key): value for key, value in own.items()}
    released["module.classifier.fc.weight"] = torch.zeros(10, 256)
    assert "module.mod6.block1.convs.bn3.0.weight" in released
    torch.save({"state_dict": released, "epoch": 1}, tmp_path / "released.pth.tar")
    torch.save(own, tmp_path / "own.pth")
    image = torch.randn(1, 3, 32, 32)
    for path in (tmp_path / "released.pth.tar", tmp_path / "own.pth"):
        loaded = WideResNet38(width_factor=1 / 16, weights=path)
        with torch.no_grad():
            torch.testing.assert_close(loaded.eval()(image).top, source.eval()(image).top)


def _released_name(key):
    """The inverse of the name map, written apart from it."""
    if key == "mod1.weight":
        return "mod1.conv1.weight"
    _, stage, block, kind, *rest = key.split(".")
    head = f"mod{int(stage) + 2}.block{int(block) + 1}"
    if kind == "projection":
        return f"{head}.proj_conv.weight"
    index, leaf = int(rest[0]) + 1, rest[1]
    if kind == "norms":
        return f"{head}.bn1.0.{leaf}" if index == 1 else f"{head}.convs.bn{index}.0.{leaf}"
    return f"{head}.convs.conv{index}.{leaf}"


def test_bad_arguments_are_named():
    with pytest.raises(ConfigError, match="output_stride is 4; 8, 16 or 32 expected"):
        build_backbone("wide_resnet38", 4)
    with pytest.raises(ConfigError, match="width_factor"):
        WideResNet38(width_factor=0.001)
    with pytest.raises(WeightsError, match=r"no weights to download; pass a file as model\.backbone_weights"):
        build_backbone("wide_resnet38", pretrained=True)
