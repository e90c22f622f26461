"""Parameters and GMACs, against counts by hand and against the released networks' numbers."""

import pytest
import torch
from torch import nn

from crispseg import models
from crispseg.backbones import Backbone
from crispseg.config import ModelConfig
from crispseg.errors import ConfigError
from crispseg.labels import LabelSpace
from crispseg.models import Segmenter, create_model, describe
from crispseg.types import FeatureInfo, Features, FeaturesInfo, SegmentationOutput

SPACE = LabelSpace.from_dict({"name": "two", "classes": ["a", "b"]})

HEADS = [name for name in models.HEADS if not name.startswith("released_")]


class OneConvolution(Backbone):
    """3×3, stride 2, 3 → 8."""

    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        info = FeatureInfo("convolution", 8, 2)
        self.info = FeaturesInfo(info, (info,), 0, (0,))

    def forward(self, images_normalised):
        feature = self.convolution(images_normalised)
        return Features(feature, (feature,), 0)


class TwoParts(nn.Module):
    """A grouped 1×1 convolution that evaluation runs, a linear layer of the head's own forward, one for training."""

    def __init__(self):
        super().__init__()
        self.grouped = nn.Conv2d(8, 4, 1, groups=2, bias=False)
        self.own = nn.Parameter(torch.ones(2, 4))
        self.extra = nn.Conv2d(8, 2, 1)

    def forward(self, features, images, *, with_maps=False):
        grouped = self.grouped(features.low)
        logits = torch.einsum("kc,nchw->nkhw", self.own, grouped)
        if self.training:
            logits = logits + self.extra(features.low)
        return SegmentationOutput(logits)


def test_counts_by_hand():
    model = Segmenter(OneConvolution(), TwoParts(), ModelConfig(), SPACE).train()
    description = describe(model, (32, 64))
    cells = 16 * 32
    assert [(part.name, part.parameters, round(part.gmacs * 1e9)) for part in description.parts] == [
        ("backbone", 3 * 8 * 9 + 8, cells * 3 * 8 * 9),
        ("head", 8, cells * 4 * 2),
        ("head.grouped", 16, cells * 4 * 4),
        ("head.extra (training only)", 18, 0),
    ]
    assert [part.training_only for part in description.parts] == [False, False, False, True]
    assert description.parameters == sum(p.numel() for p in model.parameters())
    assert description.inference_parameters == description.parameters - 18
    assert round(description.gmacs * 1e9) == cells * (216 + 8 + 16)


def test_the_model_stays_as_it_is():
    model = create_model("plain", backbone="test_resnet", num_classes=2, channels=8).train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    describe(model, (64, 64))
    assert model.training
    for key, value in model.state_dict().items():
        assert value.device.type == "cpu"
        torch.testing.assert_close(value, before[key], rtol=0, atol=0)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert all(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize("head", HEADS)
def test_parts_add_up_for_every_head(head):
    model = create_model(head, backbone="test_resnet", num_classes=5, channels=16, output_stride=16)
    description = describe(model, (97, 65))
    assert description.parameters == sum(p.numel() for p in model.parameters())
    assert description.parts[0].name == "backbone"
    assert all(part.parameters >= 0 and part.gmacs >= 0 for part in description.parts)
    assert {part.name for part in description.parts if part.gmacs > 0} >= {"backbone", "head.context"}


@pytest.mark.parametrize("head", HEADS)
def test_a_model_without_values_counts_like_one_with(head):
    options = {"backbone": "test_resnet", "num_classes": 5, "channels": 16, "output_stride": 16}
    with torch.device("meta"):
        hollow = create_model(head, **options)
    assert describe(hollow, (33, 65)) == describe(create_model(head, **options), (33, 65))
    assert all(tensor.is_meta for tensor in hollow.state_dict().values())


@pytest.mark.slow
@pytest.mark.parametrize("backbone", ["test_vit", "test_convnext", "test_maxvit"])
def test_every_family_of_backbones_is_counted(backbone):
    description = describe(create_model("fcn", backbone=backbone, num_classes=2, channels=8), (70, 50))
    assert description.parts[0].gmacs > 0


def test_attention_products_are_counted():
    model = create_model("fcn", backbone="test_vit", num_classes=2, channels=8)
    small, large = (describe(model, (side, side)).parts[0].gmacs for side in (160, 320))
    # Four times the tokens: linear layers alone would cost four times as much (class token aside).
    assert large > 4.2 * small


def test_a_deformable_convolution_counts_as_a_plain_one():
    options = {"backbone": "test_resnet", "num_classes": 2, "channels": 16, "output_stride": 16}
    model = create_model("decoupled", head_options={"body": "dcn"}, **options)
    part = next(part for part in describe(model, (64, 96)).parts if part.name == "head.generate_body")
    cells, width = 4 * 6, model.head.context.out_channels
    assert round(part.gmacs * 1e9) == cells * 9 * width * (width + 18)


@pytest.mark.parametrize(
    ("head", "backbone", "parameters_m", "gmacs", "outside"),
    [
        ("deeplabv3plus", "resnet50s", 40.47, 189.6, 0.0),
        # The released network runs its body classifier in evaluation too: 3×3 256 → 256 and 1×1 → 19 on 64×64 cells.
        ("decoupled", "resnet50s", 41.75, 203.1, 64 * 64 * (256 * 256 * 9 + 256 * 19) / 1e9),
        ("decoupled", "wide_resnet38", 138.38, 774.3, 64 * 64 * (256 * 256 * 9 + 256 * 19) / 1e9),
        ("deeplabv3plus", "wide_resnet38", 137.10, 728.1, 0.0),
    ],
)
def test_released_networks_numbers(head, backbone, parameters_m, gmacs, outside):
    with torch.device("meta"):  # no time for values that nobody reads
        model = create_model(head, backbone=backbone, num_classes=19)
    description = describe(model, (512, 512))
    assert description.parameters / 1e6 == pytest.approx(parameters_m, abs=0.1)
    assert description.gmacs + outside == pytest.approx(gmacs, rel=0.005)


@pytest.mark.slow
def test_a_large_image_costs_no_memory():
    model = create_model("gscnn", backbone="test_resnet", num_classes=2, channels=16)
    small, large = describe(model, (1024, 2048)).gmacs, describe(model, (16384, 16384)).gmacs
    assert large / small == pytest.approx(128, rel=0.01)


def test_sizes_without_pixels_are_refused():
    model = create_model("fcn", backbone="test_resnet", num_classes=2, channels=8)
    with pytest.raises(ConfigError, match="a positive height and width expected"):
        describe(model, (0, 512))
