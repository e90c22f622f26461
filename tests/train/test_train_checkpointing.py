"""Activation checkpointing changes memory alone: loss, gradients, statistics and draws stay what they are."""

import pytest
import torch
from train_runs import TINY, assert_same_run

from crispseg.config import LossConfig
from crispseg.losses import build_loss
from crispseg.models import create_model
from crispseg.recipes import load_recipe
from crispseg.train import fit
from crispseg.train.checkpointing import checkpoint_blocks, repeated_blocks
from crispseg.train.depthwise import depthwise_in_float32
from crispseg.train.task import _as_float32


def step(head, backbone, what, half=False):
    """Loss, gradients, buffers, the next random number, and the bytes that the graph keeps."""
    torch.manual_seed(0)
    model = create_model(head, backbone=backbone, num_classes=3, channels=8, output_stride=16).train()
    if what is not None:
        checkpoint_blocks(model, what)
    random = torch.Generator().manual_seed(1)
    images, labels = torch.rand(2, 3, 64, 64, generator=random), torch.randint(0, 3, (2, 64, 64), generator=random)
    kept = {}

    def keep(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    torch.manual_seed(2)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        with torch.autocast("cpu", torch.bfloat16, enabled=half), depthwise_in_float32("cpu"):
            output = model(images)
        terms = build_loss(model.head.system, LossConfig(), 3)(_as_float32(output), labels)
    loss = torch.stack(list(terms.values())).sum()
    loss.backward()
    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    return loss.detach(), gradients, dict(model.named_buffers()), torch.rand(1), sum(kept.values())


@pytest.mark.parametrize("what", ["light", "full"])
@pytest.mark.parametrize(
    ("head", "backbone"),
    [
        ("gscnn", "resnet10t"),
        ("decoupled", "test_efficientnet"),  # norms that activate
        ("gff", "test_vit"),
        ("plain", "test_convnext"),
    ],
)
@pytest.mark.parametrize("half", [False, True])
def test_a_step_is_the_same_bit_for_bit_and_keeps_less(head, backbone, what, half):
    loss, gradients, buffers, drawn, kept = step(head, backbone, what, half)
    *expected, kept_without = step(head, backbone, None, half)
    assert kept < 0.9 * kept_without
    assert torch.equal(loss, expected[0])
    assert torch.equal(drawn, expected[2 + 1])
    for found, wanted in ((gradients, expected[1]), (buffers, expected[2])):
        assert found.keys() == wanted.keys()
        for name, value in found.items():
            assert torch.equal(value, wanted[name]), name


def test_blocks_are_the_rows_of_stages_in_any_family():
    def names(backbone):
        model = create_model("plain", backbone=backbone, num_classes=2, channels=8)
        blocks = list(repeated_blocks(model))
        return [name for name, module in model.backbone.named_modules() if any(module is block for block in blocks)]

    assert names("resnet18") == [f"net.layer{stage}.{block}" for stage in (1, 2, 3, 4) for block in (0, 1)]
    assert names("test_vit") == [f"net.model.blocks.{block}" for block in range(len(names("test_vit")))]
    assert len(names("convnext_atto")) == 12


def test_evaluation_and_state_do_not_notice():
    torch.manual_seed(0)
    model = create_model("plain", backbone="resnet10t", num_classes=2, channels=8)
    keys, images = list(model.state_dict()), torch.rand(1, 3, 32, 32)
    expected = model.eval()(images).logits
    checkpoint_blocks(model, "light")
    checkpoint_blocks(model, "full")  # the last one counts
    assert list(model.state_dict()) == keys
    found = model(images).logits
    assert torch.equal(found, expected)
    model.train()
    assert torch.equal(model.eval()(images).logits, expected)


@pytest.mark.slow
def test_a_run_is_the_same_bit_for_bit(tmp_path):
    folders = []
    for switch in ("none", "light", "full"):
        recipe = load_recipe("toy/gscnn", [*TINY, "train.epochs=1", f"train.activation_checkpointing={switch}"])
        folders.append(tmp_path / switch)
        fit(recipe, folders[-1], progress=False)
    assert_same_run(folders[0], folders[1])
    assert_same_run(folders[0], folders[2])
