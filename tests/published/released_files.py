"""Checkpoints of the released networks, made here: shapes from the key lists, values by the published formula."""

import json
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch

from crispseg.models import build_model, numbered_labels
from crispseg.published import NETWORKS

PUBLISHED = Path(__file__).parents[3] / "shared" / "published"
WIDE = "the WideResNet-38 networks have 137 million values"

needs_published = pytest.mark.skipif(
    not PUBLISHED.is_dir(), reason="the released networks' key lists and outputs are not beside the repository"
)


def shapes_of(name):
    return json.loads((PUBLISHED / f"{name}.keys.json").read_text())


def formula_state(shapes):
    """Weights that anyone can make again, from the name of each."""
    return {key: torch.from_numpy(np.asarray(_values(key, shape))) for key, shape in shapes.items()}


def _values(key, shape):
    random = np.random.default_rng(zlib.crc32(key.encode()))
    if key.endswith("num_batches_tracked"):
        return np.zeros(shape, np.int64)
    if key.endswith("running_var"):
        values = random.uniform(0.5, 1.5, shape)
    elif key.endswith("running_mean") or key.endswith("bias"):
        values = random.normal(0, 0.1, shape)
    elif len(shape) == 4:
        values = random.normal(0, 1, shape) * np.sqrt(2 / np.prod(shape[1:]))
    else:
        values = random.uniform(0.3, 0.8, shape)
    return values.astype(np.float32)


def images_of(image):
    """(H, W, 3) uint8 → (1, 3, H, W) in [0, 1]."""
    return torch.from_numpy(image.astype(np.float32) / 255).permute(2, 0, 1)[None]


def random_state(name, num_classes=19, seed=0):
    """Values of no meaning in the released shapes, as far as our tables know them; needs no key lists."""
    network = NETWORKS[name]
    with torch.device("meta"):
        own = build_model(network.config, numbered_labels(num_classes)).state_dict()
    shapes = {key: tuple(own[ours].shape) for key, ours in network.table.items()} | dict(network.unused)
    random = torch.Generator().manual_seed(seed)
    return {key: _random(key, shape, random) for key, shape in shapes.items()}


def _random(key, shape, random):
    if key.endswith("num_batches_tracked"):
        return torch.tensor(7)
    values = torch.rand(shape, generator=random)
    if len(shape) == 4:
        return (values - 0.5) * (12 * 2 / np.prod(shape[1:])) ** 0.5
    if key.endswith("running_var"):
        return values + 0.5
    return 0.3 + 0.5 * values if key.endswith("weight") else 0.4 * (values - 0.5)
