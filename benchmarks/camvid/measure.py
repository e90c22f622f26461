"""What a result says about its machine: steps, memory, hardware, versions."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from dataclasses import fields, replace
from pathlib import Path

import torch
from torch import Tensor

import crispseg
from crispseg.config import Recipe
from crispseg.data import build_dataset
from crispseg.losses import build_loss
from crispseg.models import build_model
from crispseg.train.depthwise import depthwise_in_float32
from crispseg.train.optim import build_optimizer
from crispseg.types import SegmentationOutput


def seconds_per_step(recipe: Recipe, repeats: int = 10, warm_up: int = 3) -> dict[str, float]:
    """How long a training step takes without its images: forward, losses, backward, optimiser.

    The batch is one of the recipe's; checkpoints, validation and waiting for images do not count.

    Returns:
        ``median``, ``low`` and ``high``, the range of the middle half, in seconds, and ``repeats``.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    values = recipe.train
    images = build_dataset(recipe.data, "train", augment=True, seed=values.seed)
    layout = torch.channels_last if values.channels_last else torch.contiguous_format
    model = build_model(recipe.model, images.label_space).to(device, memory_format=layout).train()
    loss = build_loss(model.head.system, recipe.loss, model.num_classes).to(device)
    optimizer = build_optimizer(model, values)
    samples = [images[index] for index in range(min(values.batch_size, len(images)))]
    batch = torch.stack([sample["image"] for sample in samples]).to(device, memory_format=layout)
    labels = torch.stack([sample["labels"] for sample in samples]).to(device)
    times = []
    for _ in range(warm_up + repeats):
        started = time.perf_counter()
        half = torch.autocast(device.type, torch.bfloat16, enabled=values.precision == "bf16")
        with half, depthwise_in_float32(device.type):
            output = model(batch)
        total = torch.stack(list(loss(_as_float32(output), labels).values())).sum()
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        if device.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - started)
    low, median, high = statistics.quantiles(times[warm_up:], n=4, method="inclusive")
    return {"median": median, "low": low, "high": high, "repeats": repeats}


def peak_memory() -> dict[str, object]:
    """Bytes of this process so far: what PyTorch has allocated on the GPU, or the resident set on a CPU."""
    if torch.cuda.is_available():
        return {"bytes": torch.cuda.max_memory_allocated(), "of": "GPU, allocated by PyTorch"}
    unit = 1 if sys.platform == "darwin" else 1024  # what the system counts in
    return {"bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit, "of": "main process, resident"}


def hardware() -> dict[str, object]:
    """Processor and GPU by their makers' names."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {"cpu": _cpu_name(), "cores": os.cpu_count(), "threads": torch.get_num_threads(), "gpu": gpu}


def versions() -> dict[str, str]:
    """Of what computes."""
    packages = ("torch", "torchvision", "timm", "lightning", "torchmetrics", "numpy", "opencv-python-headless")
    found = {name: importlib.metadata.version(name) for name in packages if _is_installed(name)}
    return {"python": platform.python_version(), "crispseg": crispseg.__version__, **found}


def source_state() -> str | None:
    """The commit, with ``-dirty`` where the working tree differs from it; None where there is no git."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(
            command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def _as_float32(output: SegmentationOutput) -> SegmentationOutput:
    """As in training: losses are not taken in half precision."""
    tensors = {entry.name: getattr(output, entry.name) for entry in fields(output)}
    return replace(output, **{name: value.float() for name, value in tensors.items() if isinstance(value, Tensor)})


def _is_installed(name: str) -> bool:
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _cpu_name() -> str:
    information = Path("/proc/cpuinfo")
    if information.is_file():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
