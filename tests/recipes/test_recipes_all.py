"""Every packaged recipe builds its network and learns for a step: shrunken, but through the real loss and optimiser."""

import functools
import math
import re
from collections import defaultdict

import pytest
import torch

from crispseg.config import Recipe
from crispseg.data import build_dataset
from crispseg.labels import label_space
from crispseg.losses import build_loss
from crispseg.models import build, build_model, numbered_labels
from crispseg.recipes import list_recipes, load_recipe
from crispseg.train.batches import collate
from crispseg.train.optim import build_optimizer

NAMES = list_recipes()
RECIPES = {name: load_recipe(name) for name in NAMES}

# Classes and training images of each data set, as its owners give them.
CLASSES = {
    "toy_streets": 10,
    "camvid": 11,
    "camvid_original": 11,
    "cityscapes": 19,
    "kitti": 19,
    "bdd100k": 19,
    "ade20k": 150,
    "pascal_context": 59,
    "coco_stuff10k": 171,
    "mapillary": 65,
    "isbi_membranes": 2,
    "folder": 10,
}
LABEL_TABLES = {"kitti": "cityscapes", "folder": "toy_streets"}  # where a layout has another's, or the user's
TRAINING_IMAGES = {
    ("cityscapes", "train"): 2975,
    ("cityscapes", "train+val"): 2975 + 500,
    ("ade20k", "train"): 20210,
    ("pascal_context", "train"): 4998,
    ("coco_stuff10k", "train"): 9000,
}

SMALL = (
    "model.backbone=test_resnet",
    "model.pretrained=false",
    "model.backbone_weights=null",
    "model.weights=null",
    "model.weights_partial=false",
    "model.backbone_padding=own",
    "model.output_stride=32",
    "model.channels=8",
    "model.context_channels=null",
    "data.layout=toy_streets",
    "data.root=null",
    "data.labels=null",
    "data.train_split=train",
    "data.val_split=val",
    "data.crop_hw=[64, 64]",
    "data.class_uniform=0",
    "data.toy_train_images=2",
    "data.toy_size_hw=[64, 96]",
    "data.workers=0",
    "data.cache=false",
    "loss.class_weights=null",
    "train.batch_size=2",
    "train.max_steps=null",
    "train.epochs=1",
)


def _built_alike() -> dict[str, list[str]]:
    """Recipes by the network that they build."""
    groups = defaultdict(list)
    for name, recipe in RECIPES.items():
        model = recipe.model.model_copy(update={"weights": None, "weights_partial": False})
        groups[f"{model!r} {recipe.data.layout}"].append(name)
    return {names[0]: names for names in groups.values()}


def _trained_alike() -> dict[str, tuple[Recipe, list[str]]]:
    """Recipes by what is left of them when they are shrunken: network, loss and optimiser."""
    groups: dict[str, tuple[Recipe, list[str]]] = {}
    for name in NAMES:
        small = load_recipe(name, SMALL)
        key = repr((small.model, small.loss, small.train.optimizer))
        groups.setdefault(key, (small, []))[1].append(name)
    return {names[0]: (small, names) for small, names in groups.values()}


BUILT = _built_alike()
TRAINED = _trained_alike()


def test_no_recipe_is_left_out():
    assert sorted(name for names in BUILT.values() for name in names) == NAMES
    assert sorted(name for _, names in TRAINED.values() for name in names) == NAMES


# Without storage all copies of a backbone are alike, and making them takes most of the time that building takes.
cached_backbone = functools.cache(build.build_backbone)


@pytest.mark.parametrize("name", BUILT)
def test_its_network_can_be_built_at_full_size_for_the_classes_of_its_data(name, monkeypatch):
    monkeypatch.setattr(build, "build_backbone", cached_backbone)
    recipe = RECIPES[name]
    space = label_space(recipe.data.labels or LABEL_TABLES.get(recipe.data.layout, recipe.data.layout))
    assert space.num_classes == CLASSES[recipe.data.layout]
    config = recipe.model.model_copy(update={"pretrained": False, "backbone_weights": None})
    with torch.device("meta"):
        model = build_model(config, space)
    assert all(parameter.is_meta for parameter in model.parameters())
    classifiers = {
        module.out_channels
        for part, module in model.head.named_modules()
        if "classify" in part and isinstance(module, torch.nn.Conv2d)
    }
    assert space.num_classes in classifiers


@pytest.mark.parametrize("name", TRAINED)
def test_it_takes_a_step(name):
    recipe, _ = TRAINED[name]
    torch.manual_seed(0)
    dataset = build_dataset(recipe.data, "train", augment=True)
    batch = collate([dataset[0], dataset[1]])
    model = build_model(recipe.model, dataset.label_space).train()
    loss = build_loss(model.head.system, recipe.loss, model.num_classes)
    optimizer = build_optimizer(model, recipe.train)
    before = {key: parameter.detach().clone() for key, parameter in model.named_parameters()}

    terms = loss(model(batch["image"]), batch["labels"])
    total = sum(terms.values())
    total.backward()
    optimizer.step()

    assert math.isfinite(total.item())
    untouched = [
        key
        for key, parameter in model.named_parameters()
        if parameter.grad is None or not torch.isfinite(parameter).all()
    ]
    assert untouched == []
    assert any(not torch.equal(parameter, before[key]) for key, parameter in model.named_parameters())


@pytest.mark.parametrize("name", [name for name in NAMES if RECIPES[name].model.weights])
def test_what_it_starts_from_is_another_recipes_model_and_fits(name, monkeypatch):
    monkeypatch.setattr(build, "build_backbone", cached_backbone)
    recipe = RECIPES[name]
    found = re.fullmatch("runs/(.+)/model", recipe.model.weights)
    before = next(other for other in NAMES if RECIPES[other].name == found[1])

    own, given = _shapes(name), _shapes(before)
    if not recipe.model.weights_partial or recipe.data.target == "corrections":  # training adds the bands of the mask
        assert own == given
    else:
        assert own != given or recipe.data.target == "directions"  # of whatever classes it is built with here
        for key in own:
            if key.startswith("backbone.") or (key.startswith("head.context.") and key in given):
                assert own[key] == given[key]


@pytest.mark.parametrize("name", [name for name in NAMES if RECIPES[name].train.max_steps])
def test_its_epochs_are_as_many_as_its_steps_need(name):
    recipe = RECIPES[name]
    if name == "bases/gff_scenes":  # has three data sets and no epochs of its own
        return
    images = TRAINING_IMAGES[recipe.data.layout, recipe.data.train_split]
    steps_of_an_epoch = images // recipe.train.batch_size
    assert recipe.train.epochs == math.ceil(recipe.train.max_steps / steps_of_an_epoch)


def _shapes(name):
    """Of the weights at full size, for ten classes."""
    config = RECIPES[name].model.model_copy(update={"pretrained": False, "backbone_weights": None})
    with torch.device("meta"):
        model = build_model(config, numbered_labels(10))
    return {key: value.shape for key, value in model.state_dict().items()}
