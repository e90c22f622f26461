import pytest
import torch
from torch import nn

from crispseg.config import TrainConfig
from crispseg.models import create_model
from crispseg.train import build_optimizer, parameter_groups, poly_factor
from crispseg.train.checkpointing import repeated_blocks
from crispseg.train.optim import build_schedule


@pytest.fixture(scope="module")
def model():
    return create_model("gff", backbone="test_resnet", num_classes=3, channels=8, output_stride=32)


def test_every_parameter_is_in_exactly_one_group(model):
    groups = parameter_groups(model, TrainConfig())
    grouped = [id(parameter) for group in groups for parameter in group["params"]]
    assert sorted(grouped) == sorted(id(parameter) for parameter in model.parameters())


def test_norms_and_biases_are_not_decayed_and_weights_are(model):
    decays = {
        id(parameter): group["weight_decay"]
        for group in parameter_groups(model, TrainConfig(weight_decay=0.02))
        for parameter in group["params"]
    }
    kinds = set()
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            is_weight = isinstance(module, nn.Conv2d | nn.Linear) and name == "weight"
            kinds.add((type(module).__name__, name))
            assert decays[id(parameter)] == (0.02 if is_weight else 0.0), (module, name)
    assert {("Conv2d", "weight"), ("Conv2d", "bias"), ("BatchNorm2d", "weight"), ("BatchNorm2d", "bias")} <= kinds


def test_all_parameters_are_decayed_on_demand(model):
    """As torch.optim.SGD(model.parameters(), weight_decay=…) does, and so the papers' training."""
    groups = parameter_groups(model, TrainConfig(weight_decay=0.02, weight_decay_on="all"))
    assert {group["weight_decay"] for group in groups} == {0.02}
    assert sum(len(group["params"]) for group in groups) == len(list(model.parameters()))


def test_the_backbone_learns_at_its_own_rate(model):
    groups = parameter_groups(model, TrainConfig(lr=0.1, backbone_lr_factor=0.1))
    rates = {id(parameter): group["lr"] for group in groups for parameter in group["params"]}
    for name, parameter in model.named_parameters():
        assert rates[id(parameter)] == pytest.approx(0.01 if name.startswith("backbone.") else 0.1)


def test_what_a_backbone_lists_is_not_decayed():
    class Embedded(nn.Module):
        def __init__(self):
            super().__init__()
            self.position = nn.Parameter(torch.zeros(1, 4, 4))
            self.weight = nn.Parameter(torch.zeros(4, 4))

        def no_weight_decay(self):
            return {"position"}

    groups = parameter_groups(nn.ModuleDict({"backbone": Embedded()}), TrainConfig())
    assert {group["name"]: [tuple(p.shape) for p in group["params"]] for group in groups} == {
        "backbone": [(4, 4)],
        "backbone_no_decay": [(1, 4, 4)],
    }


def test_frozen_parameters_are_left_out(model):
    layer = nn.Linear(2, 2)
    layer.bias.requires_grad_(False)
    assert sum(len(group["params"]) for group in parameter_groups(layer, TrainConfig())) == 1


@pytest.mark.parametrize(("name", "kind"), [("sgd", torch.optim.SGD), ("adamw", torch.optim.AdamW)])
def test_the_optimizer_is_the_recipes(model, name, kind):
    optimizer = build_optimizer(model, TrainConfig(optimizer=name, momentum=0.8))
    assert isinstance(optimizer, kind)
    if name == "sgd":
        assert {group["momentum"] for group in optimizer.param_groups} == {0.8}


@pytest.mark.parametrize(
    ("step", "expected"), [(0, 1.0), (25, 0.75**0.9), (50, 0.5**0.9), (99, 0.01**0.9), (100, 0.0), (130, 0.0)]
)
def test_poly_without_warmup_is_the_papers_formula(step, expected):
    assert poly_factor(100, 0.9)(step) == pytest.approx(expected, rel=1e-12)


def test_the_warmup_rises_in_a_line_and_then_leaves_poly_alone():
    factor, poly = poly_factor(100, 0.9, warmup_steps=9), poly_factor(100, 0.9)
    assert [factor(step) / poly(step) for step in (0, 4, 9, 50)] == pytest.approx([0.1, 0.5, 1.0, 1.0])


def test_the_schedule_steps_per_iteration_and_keeps_the_ratio_of_the_groups(model):
    config = TrainConfig(lr=0.4, poly_power=1.0, backbone_lr_factor=0.5)
    optimizer = build_optimizer(model, config)
    schedule = build_schedule(optimizer, config, total_steps=4)
    seen = []
    for _ in range(4):
        seen.append({round(group["lr"], 10) for group in optimizer.param_groups})
        optimizer.step()
        schedule.step()
    assert seen == [{0.4, 0.2}, {0.3, 0.15}, {0.2, 0.1}, {0.1, 0.05}]


def test_blocks_learn_the_slower_the_lower_they_are(model):
    config = TrainConfig(lr=0.1, backbone_lr_factor=0.5, layer_lr_decay=0.8)
    groups = parameter_groups(model, config)
    assert sorted(id(p) for g in groups for p in g["params"]) == sorted(id(p) for p in model.parameters())
    rates = {id(p): g["lr"] for g in groups for p in g["params"]}
    blocks = [[rates[id(p)] for p in block.parameters()] for block in repeated_blocks(model.backbone)]
    assert len(blocks) >= 2
    for depth, of_block in enumerate(reversed(blocks)):
        assert of_block == pytest.approx([0.05 * 0.8**depth] * len(of_block))
    first = next(iter(model.backbone.parameters()))
    assert rates[id(first)] == pytest.approx(0.05 * 0.8 ** len(blocks))
    assert {rates[id(p)] for p in model.head.parameters()} == {0.1}
