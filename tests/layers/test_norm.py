"""Batch normalisation where an image has been pooled to one cell."""

import pytest
import torch

import crispseg
from crispseg.layers.norm import BatchNorm2d


def test_a_single_value_is_normalised_by_the_running_statistics_which_stay():
    norm = BatchNorm2d(3)
    norm(torch.rand(4, 3, 5, 5))
    state = {key: value.clone() for key, value in norm.state_dict().items()}
    single = torch.rand(1, 3, 1, 1)
    in_training = norm(single)
    assert all(torch.equal(value, state[key]) for key, value in norm.state_dict().items())
    assert torch.equal(in_training, norm.eval()(single))


@pytest.mark.parametrize("shape", [(2, 3, 1, 1), (1, 3, 1, 2), (2, 3, 4, 5)])
def test_everything_else_is_as_in_pytorch(shape):
    ours, theirs, x = BatchNorm2d(3), torch.nn.BatchNorm2d(3), torch.rand(shape)
    assert torch.equal(ours(x), theirs(x))
    for key, value in ours.state_dict().items():
        assert torch.equal(value, theirs.state_dict()[key])


@pytest.mark.parametrize("context", ["ppm", "aspp", "dense_aspp", "identity"])
@pytest.mark.parametrize("head", ["plain", "deeplabv3plus", "gff", "gscnn", "decoupled"])
def test_every_head_and_context_trains_on_one_image(head, context):
    model = crispseg.create_model(head, backbone="test_resnet", context=context, num_classes=3, channels=8)
    output = model.train()(torch.rand(1, 3, 64, 64))
    output.logits.sum().backward()
    pooled = [p for n, p in model.named_parameters() if n.startswith("head.context")]
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in pooled)
