"""From names to a model, and the errors on the way."""

import pytest
import torch

from crispseg.config import ModelConfig
from crispseg.context import Identity
from crispseg.errors import ConfigError
from crispseg.heads import Plain
from crispseg.labels import LabelSpace
from crispseg.models import build_model, create_model

SMALL = {"backbone": "test_resnet", "channels": 8, "output_stride": 32, "num_classes": 3}


def test_fcn_and_pspnet_are_plain():
    fcn, pspnet = create_model("fcn", **SMALL), create_model("pspnet", **SMALL)
    assert (fcn.config.head, fcn.config.context) == ("plain", "identity")
    assert (pspnet.config.head, pspnet.config.context) == ("plain", "ppm")


@pytest.mark.parametrize(("head", "context"), [("gscnn", "aspp"), ("decoupled", "aspp"), ("gff", "ppm")])
def test_default_context_is_the_papers(head, context):
    assert create_model(head, **SMALL).config.context == context


def test_same_config_builds_the_same_network():
    model = create_model("gff", **SMALL, head_options={"levels": [0, 1, 3]})
    again = build_model(ModelConfig(**model.config.model_dump()), model.label_space)
    assert {k: v.shape for k, v in again.state_dict().items()} == {k: v.shape for k, v in model.state_dict().items()}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"head": "gf"}, "did you mean 'gff'"),
        ({"head": "gff", "context": "asp"}, "did you mean 'aspp'"),
        ({"head": "pspnet", "context": "aspp"}, "leave it out or use head 'plain'"),
        ({"head": "decoupled", "head_options": {"downsampl": "conv"}}, "did you mean 'downsample'"),
        ({"head": "gff", "context_options": {"bin": [1]}}, "did you mean 'bins'"),
        ({"head": "gff", "head_options": {"levels": [2, 1]}}, "ascending"),
        ({"head": "gscnn", "head_options": {"gate_levels": [0, 9, 1]}}, "three indices"),
        ({"head": "gscnn", "head_options": {"gradient": "prewitt"}}, "'canny'"),
    ],
)
def test_errors_name_what_was_found_and_meant(changes, message):
    with pytest.raises(ConfigError, match=message):
        create_model(**(SMALL | changes))


@pytest.mark.parametrize(
    "images", [torch.zeros(1, 3, 8, 8, dtype=torch.uint8), torch.zeros(3, 8, 8), torch.zeros(1, 1, 8, 8)]
)
def test_wrong_images_are_refused(images):
    with pytest.raises(ValueError, match=r"RGB in \[0, 1\]"):
        create_model("plain", **SMALL)(images)


def test_normalisation_is_the_models_own():
    model = create_model("plain", **SMALL).eval()
    seen = {}
    model.backbone.register_forward_hook(lambda module, args, result: seen.update(images=args[0]))
    model(torch.full((1, 3, 32, 32), 0.5))
    expected = (0.5 - model.mean) / model.std
    torch.testing.assert_close(seen["images"], expected.expand(1, 3, 32, 32))


def test_label_space_travels_with_the_model():
    space = LabelSpace.from_dict({"name": "pair", "classes": ["sky", "pole"]})
    model = create_model("plain", **(SMALL | {"num_classes": 9}), label_space=space)
    assert model.num_classes == 2
    assert model.label_space.class_names == ("sky", "pole")


def test_an_invalid_value_is_an_error_of_ours():
    with pytest.raises(ConfigError, match=r"output_stride: 7 found; Input should be 8, 16 or 32"):
        create_model("fcn", output_stride=7)


def test_parts_from_outside_are_built_by_name(own_parts):
    from crispseg.backbones import WideResNet38, register_backbone
    from crispseg.models import register_context, register_head

    class MyHead(Plain):
        pass

    class MyContext(Identity):
        pass

    def my_backbone(output_stride, pretrained, weights):
        return WideResNet38(output_stride, width_factor=1 / 16)

    for register, made in ((register_head, MyHead), (register_context, MyContext), (register_backbone, my_backbone)):
        register("mine", made)
        register("mine", made)  # an import that runs twice does no harm
        with pytest.raises(ConfigError, match="'mine': the name is taken already"):
            register("mine", Plain)
    with pytest.raises(ConfigError, match="head 'fcn': the name is taken"):
        register_head("fcn", MyHead)
    with pytest.raises(ConfigError, match="head 'gff': the name is taken"):
        register_head("gff", MyHead)
    model = create_model("mine", context="mine", backbone="mine", num_classes=3, channels=8)
    assert type(model.head) is MyHead
    assert type(model.head.context) is MyContext
    assert model.backbone.info.stem.channels == 4
