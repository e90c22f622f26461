"""timm models as backbones: what `info` says is what `forward` gives, for every family and any image size."""

import pytest
import timm
import torch
from huggingface_hub import constants as hub_constants
from safetensors.torch import save_file

from crispseg.backbones import TimmBackbone, build_backbone, list_backbones
from crispseg.errors import ConfigError, WeightsError

# name, wanted stride → the strides that the maps really have: (stem, levels)
STRIDES = {
    ("resnet18", 8): (2, (4, 8, 8, 8)),
    ("resnet18", 16): (2, (4, 8, 16, 16)),
    ("resnet18", 32): (2, (4, 8, 16, 32)),
    ("test_resnet", 8): (2, (4, 8, 8, 8)),
    ("test_convnext", 8): (4, (4, 8, 8, 8)),
    ("test_convnext", 32): (4, (4, 8, 16, 32)),
    ("mobilenetv3_small_050", 16): (2, (4, 8, 16, 16)),
    ("test_efficientnet", 8): (2, (4, 8, 8, 8)),
    ("test_nfnet", 8): (2, (4, 8, 8, 8)),
    ("test_byobnet", 16): (2, (4, 8, 16, 16)),
    ("regnetx_002", 16): (2, (4, 8, 16, 16)),
    ("densenet121", 8): (2, (4, 8, 8, 8)),  # dilated here, not by timm
    ("densenet121", 16): (2, (4, 8, 16, 16)),
    ("test_mambaout", 8): (4, (4, 8, 16, 32)),  # cannot be dilated
    ("test_vit", 8): (16, (16, 16, 16)),  # cannot be dilated
    ("test_maxvit", 8): (2, (4, 8, 16, 32)),  # cannot be dilated; a fixed number of windows
    ("dla46x_c", 8): (2, (4, 8, 16, 32)),  # takes the argument and refuses 8
}
CASES = list(STRIDES)


@pytest.fixture(scope="module", params=CASES, ids=lambda case: f"{case[0]}-{case[1]}")
def backbone(request):
    torch.manual_seed(0)
    return TimmBackbone(*request.param)


def maps_of(features):
    return [features.stem, *features.levels]


def test_info_tells_true_strides_and_widths(backbone, request):
    case = request.node.callspec.params["backbone"]
    infos = [backbone.info.stem, *backbone.info.levels]
    assert (infos[0].stride, tuple(info.stride for info in infos[1:])) == STRIDES[case]
    assert backbone.info.mid_index == len(backbone.info.levels) - 2
    assert backbone.info.pyramid_indices == tuple(range(len(backbone.info.levels)))[-4:]
    backbone.eval()
    for height, width in [(65, 97), (64, 32), (31, 100)]:
        with torch.no_grad():
            features = backbone(torch.randn(2, 3, height, width))
        assert features.mid_index == backbone.info.mid_index
        for feature, info in zip(maps_of(features), infos, strict=True):
            assert feature.shape == (2, info.channels, -(-height // info.stride), -(-width // info.stride))
            assert torch.isfinite(feature).all()


def test_images_of_a_batch_do_not_touch_each_other_in_evaluation(backbone):
    backbone.eval()
    images = torch.randn(2, 3, 33, 70)
    with torch.no_grad():
        together, alone = backbone(images), backbone(images[1:])
    for both, one in zip(maps_of(together), maps_of(alone), strict=True):
        torch.testing.assert_close(both[1:], one, rtol=1e-3, atol=1e-4)


def test_every_parameter_receives_a_gradient(backbone):
    backbone.train()
    backbone.zero_grad()
    features = backbone(torch.randn(2, 3, 65, 97))
    # Squares, because the sum of a normalised map is constant and has no gradient.
    sum(feature.square().mean() for feature in maps_of(features)).backward()
    without = [name for name, p in backbone.named_parameters() if p.grad is None or not torch.isfinite(p.grad).all()]
    assert without == []


@pytest.mark.parametrize("name", ["swin_tiny_patch4_window7_224"])
def test_maps_with_channels_last_are_turned(name):
    backbone = TimmBackbone(name, 8).eval()
    assert backbone.channels_are_last
    assert [level.stride for level in backbone.info.levels] == [4, 8, 16, 32]
    with torch.no_grad():
        features = backbone(torch.randn(1, 3, 70, 43))
    assert [tuple(level.shape[1:]) for level in features.levels] == [
        (96, 18, 11),
        (192, 9, 6),
        (384, 5, 3),
        (768, 3, 2),
    ]


def test_a_bright_corner_lands_in_the_corner_cell_of_channels_last_maps():
    torch.manual_seed(0)
    backbone = TimmBackbone("swin_tiny_patch4_window7_224").eval()
    dark = torch.zeros(1, 3, 64, 96)
    bright = dark.clone()
    bright[..., 60:, :4] = 3.0  # lower left
    with torch.no_grad():
        change = (backbone(bright).low - backbone(dark).low).abs().sum(dim=1)[0]
    assert divmod(int(change.argmax()), change.shape[1]) == (15, 0)


@pytest.mark.parametrize("name", ["test_resnet", "test_nfnet", "test_convnext", "test_byobnet"])
def test_later_layers_leave_the_maps_alone(name):
    """A network cut after a map gives the same map: nothing writes into it in place."""
    torch.manual_seed(0)
    whole = timm.create_model(name, features_only=True).eval()
    images = torch.randn(1, 3, 64, 64)
    for index in range(len(whole.feature_info)):
        cut = timm.create_model(name, features_only=True, out_indices=(index,)).eval()
        cut.load_state_dict(whole.state_dict(), strict=False)
        with torch.no_grad():
            torch.testing.assert_close(whole(images)[index], cut(images)[0])


def test_padding_continues_the_image_instead_of_moving_it():
    torch.manual_seed(0)
    backbone = TimmBackbone("test_convnext", 32).eval()
    assert backbone.size_multiple == 32
    image = torch.randn(1, 3, 50, 40)
    rows = torch.arange(64).clamp(max=49)
    columns = torch.arange(64).clamp(max=39)
    continued = image[:, :, rows][..., columns]
    with torch.no_grad():
        ours, whole = backbone(image), backbone(continued)
    for part, full in zip(maps_of(ours), maps_of(whole), strict=True):
        torch.testing.assert_close(part, full[..., : part.shape[-2], : part.shape[-1]])


def test_mean_and_deviation_are_the_models_own():
    assert TimmBackbone("resnet18").mean == (0.485, 0.456, 0.406)
    assert TimmBackbone("test_vit").mean == (0.5, 0.5, 0.5)
    assert TimmBackbone("test_vit").std == (0.5, 0.5, 0.5)


def test_building_leaves_the_network_in_training_mode_and_its_statistics_untouched():
    backbone = TimmBackbone("test_resnet")
    assert backbone.training
    assert all(module.training for module in backbone.modules())
    assert int(backbone.state_dict()["net.bn1.num_batches_tracked"]) == 0


def test_first_block_of_a_dilated_stage_has_the_previous_stages_dilation():
    net = TimmBackbone("resnet18", 8).net
    assert [block.conv1.dilation[0] for block in net.layer3] == [1, 2]
    assert [block.conv1.dilation[0] for block in net.layer4] == [2, 4]


@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".pth.tar", "wrapped.pt"])
@pytest.mark.parametrize("name", ["test_resnet", "test_convnext", "test_vit", "test_efficientnet"])
def test_a_classifiers_file_fills_the_backbone(name, suffix, tmp_path):
    torch.manual_seed(1)
    classifier = timm.create_model(name, num_classes=7).eval()
    path = tmp_path / f"weights{suffix}"
    state = classifier.state_dict()
    if suffix == ".safetensors":
        save_file(state, path)
    elif suffix == "wrapped.pt":
        torch.save({"epoch": 3, "state_dict": {f"module.{key}": value for key, value in state.items()}}, path)
    else:
        torch.save(state, path)
    backbone = TimmBackbone(name, 32, weights=path).eval()
    image = torch.randn(1, 3, 160, 160)
    with torch.no_grad():
        expected = classifier.forward_intermediates(image, intermediates_only=True, indices=1)[-1]
        torch.testing.assert_close(backbone(image).top, expected)


def test_a_file_of_another_network_lists_what_differs(tmp_path):
    path = tmp_path / "other.pth"
    torch.save(timm.create_model("test_resnet").state_dict(), path)
    with pytest.raises(WeightsError, match=r"(?s)other\.pth.*bn1.*in the file.*in the model.*and \d+ more"):
        TimmBackbone("resnet18", weights=path)


def test_unknown_and_missing_keys_are_errors(tmp_path):
    state = timm.create_model("test_resnet").state_dict()
    state["layer9.weight"] = torch.zeros(1)
    del state["layer1.0.conv1.weight"]
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=r"(?s)1 missing, 1 unknown, 0 of.*layer1\.0\.conv1\.weight.*layer9\.weight"):
        TimmBackbone("test_resnet", weights=tmp_path / "w.pth")


@pytest.mark.parametrize("content", [b"", b"not weights", b"PK\x03\x04 broken"])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_broken_files_are_named(content, suffix, tmp_path):
    path = tmp_path / f"broken{suffix}"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=rf"broken{suffix}: cannot be read as weights"):
        TimmBackbone("test_resnet", weights=path)


def test_a_missing_file_and_a_file_without_tensors_are_named(tmp_path):
    with pytest.raises(WeightsError, match=r"absent\.pth: no such file"):
        TimmBackbone("test_resnet", weights=tmp_path / "absent.pth")
    torch.save({"epoch": 3}, tmp_path / "log.pt")
    with pytest.raises(WeightsError, match=r"log\.pt: 1 entries are not named tensors, for instance 'epoch'"):
        TimmBackbone("test_resnet", weights=tmp_path / "log.pt")


def test_pretrained_without_network_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setattr(hub_constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(hub_constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(WeightsError, match=r"test_resnet: its pretrained weights.*model\.backbone_weights"):
        TimmBackbone("test_resnet", pretrained=True)


def test_unknown_names_get_the_nearest_one():
    with pytest.raises(ConfigError, match=r"'resnet5O' is unknown; did you mean 'resnet50'"):
        build_backbone("resnet5O")
    with pytest.raises(ConfigError, match=r"'wide_resnet-38' is unknown; did you mean 'wide_resnet38'"):
        build_backbone("wide_resnet-38")


def test_a_network_for_one_size_only_is_refused():
    with pytest.raises(ConfigError, match="test_vit_relpos: its feature maps do not cover images of any size"):
        build_backbone("test_vit_relpos")


def test_unknown_strides_and_tags_are_refused():
    with pytest.raises(ConfigError, match="output_stride is 4; 8, 16 or 32 expected"):
        build_backbone("resnet18", output_stride=4)
    with pytest.raises(ConfigError, match="Invalid pretrained tag"):
        build_backbone("resnet18.no_such_tag")


def test_the_list_holds_ours_and_timms():
    names = list_backbones()
    assert {"wide_resnet38", "resnet50s", "convnext_tiny"} <= set(names)
    assert names == sorted(names)
    assert list_backbones("*resnet38") == ["wide_resnet38"]


def test_a_dilated_densenet_has_the_weights_of_a_plain_one():
    """DenseASPP's backbone: no pooling after the second block, dilations 2 and 4 behind it."""
    plain, dilated = TimmBackbone("densenet121", 32), TimmBackbone("densenet121", 8)
    dilated.load_state_dict(plain.state_dict())
    found = {
        block: {m.dilation for m in dilated.net[f"features_denseblock{block}"].modules() if hasattr(m, "dilation")}
        for block in (1, 2, 3, 4)
    }
    assert found == {1: {(1, 1)}, 2: {(1, 1)}, 3: {(1, 1), (2, 2)}, 4: {(1, 1), (4, 4)}}
    images = torch.rand(1, 3, 64, 96)
    with torch.inference_mode():
        one, other = plain.eval()(images), dilated.eval()(images)
    torch.testing.assert_close(one.levels[1], other.levels[1])  # the same up to where the dilation begins


def test_weights_of_three_channels_are_adapted_to_others(tmp_path):
    """By timm's rule: repeated and scaled, so that an image that repeats one band gives what three of it give."""
    net = timm.create_model("resnet10t", pretrained=False)
    torch.save(net.state_dict(), tmp_path / "three.pth")
    three = TimmBackbone("resnet10t", 32, weights=tmp_path / "three.pth").eval()
    six = TimmBackbone("resnet10t", 32, weights=tmp_path / "three.pth", in_channels=6).eval()
    one_band = torch.rand(1, 1, 32, 32)
    assert len(six.mean) == len(six.std) == 6
    torch.testing.assert_close(six(one_band.expand(1, 6, 32, 32)).top, three(one_band.expand(1, 3, 32, 32)).top)
