"""EfficientNets under their authors' names, and what ImageNet weights see on photographs."""

import os
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import load_file
from skimage import data as photographs
from skimage.transform import resize

from crispseg.backbones import TimmBackbone
from crispseg.backbones.author_keys import timm_names
from crispseg.errors import WeightsError

BACKBONES = Path(os.environ.get("CRISPSEG_BACKBONES", Path(__file__).parents[3] / "shared" / "backbones"))
SEES = {  # class numbers of ImageNet's thousand
    "cat": {281, 282, 285},  # tabby, tiger cat, Egyptian cat
    "coffee": {967, 968, 504},  # espresso, cup, coffee mug
    "rocket": {657, 744},  # missile, projectile
}


def authors_names(names: list[str]) -> list[str]:
    """The authors' names of timm's, by order in a block: an independent way back."""
    outside = {"conv_stem": "_conv_stem", "bn1": "_bn0", "conv_head": "_conv_head", "bn2": "_bn1", "classifier": "_fc"}
    blocks = list(dict.fromkeys(tuple(name.split(".")[1:3]) for name in names if name.startswith("blocks.")))
    found = []
    for name in names:
        if not name.startswith("blocks."):
            module, _, leaf = name.partition(".")
            found.append(f"{outside[module]}.{leaf}")
            continue
        _, stage, index, *inside, leaf = name.split(".")
        block = [n.split(".")[3] for n in names if n.startswith(f"blocks.{stage}.{index}.")]
        order = [module for module in dict.fromkeys(block) if module != "se"]  # conv, norm, conv, norm …
        theirs = ["_expand_conv", "_bn0", "_depthwise_conv", "_bn1", "_project_conv", "_bn2"][-len(order) :]
        module = theirs[order.index(inside[0])] if inside[0] != "se" else f"_se_{inside[1].removeprefix('conv_')}"
        found.append(f"_blocks.{blocks.index((stage, index))}.{module}.{leaf}")
    return found


@pytest.mark.parametrize("name", ["tf_efficientnet_lite0", "efficientnet_b0"])
def test_names_of_the_authors_become_timms(name):
    with torch.device("meta"):
        state = timm.create_model(name).state_dict()
    theirs = dict(zip(authors_names(list(state)), state.values(), strict=True))
    assert "_blocks.15._project_conv.weight" in theirs
    found = timm_names(theirs, state)
    assert list(found) == list(state)
    assert all(found[key] is state[key] for key in state)
    assert list(timm_names(state, state)) == list(state)


def test_a_file_with_the_authors_names_is_read(tmp_path):
    whole = timm.create_model("tf_efficientnet_lite0").eval()
    state = whole.state_dict()
    theirs = dict(zip(authors_names(list(state)), state.values(), strict=True))
    torch.save(theirs, tmp_path / "lite0.pth")
    backbone = TimmBackbone("tf_efficientnet_lite0", 32, weights=tmp_path / "lite0.pth")
    own = backbone.net.state_dict()
    assert all(torch.equal(own[key], state[key]) for key in own)
    torch.save({**theirs, "_blocks.16._bn0.weight": torch.zeros(3)}, tmp_path / "more.pth")
    with pytest.raises(WeightsError, match=r"_blocks\.16\._bn0\.weight: unknown"):
        TimmBackbone("tf_efficientnet_lite0", 32, weights=tmp_path / "more.pth")
    long = f"_blocks.{'9' * 5000}._bn0.weight"  # longer than Python takes for a number
    assert long in timm_names({long: torch.zeros(3)}, state)


@pytest.mark.parametrize("name", ["tf_efficientnet_lite0", "tf_efficientnet_lite2"])
@torch.no_grad()
def test_imagenet_weights_give_timms_maps_and_see_what_is_there(name):
    path = BACKBONES / f"{name}.safetensors"
    if not path.is_file():
        pytest.skip(f"{path} is not here")
    whole = timm.create_model(name).eval()
    whole.load_state_dict(load_file(path))
    features_of_timm = timm.create_model(name, features_only=True).eval()
    features_of_timm.load_state_dict(whole.state_dict(), strict=False)
    backbone = TimmBackbone(name, 32, weights=path).eval()
    assert backbone.mean == backbone.std == (0.5, 0.5, 0.5)
    side = whole.pretrained_cfg["input_size"][-1] // 32 * 32  # other sizes timm pads otherwise
    for photograph, classes in SEES.items():
        pixels = getattr(photographs, photograph)()
        left = (pixels.shape[1] - pixels.shape[0]) // 2
        pixels = resize(
            pixels[:, left : left + len(pixels)], (side, side), anti_aliasing=True
        )  # the square in the middle
        image = (torch.from_numpy(pixels).float().permute(2, 0, 1)[None] - 0.5) / 0.5
        features = backbone(image)
        for expected, found in zip(features_of_timm(image), [features.stem, *features.levels], strict=True):
            torch.testing.assert_close(found, expected)
        # The classifier's part of the file on our deepest map knows the class: nothing before it went wrong.
        logits = whole.classifier(whole.global_pool(whole.bn2(whole.conv_head(features.top))))
        assert classes & set(logits[0].topk(5).indices.tolist()), photograph
