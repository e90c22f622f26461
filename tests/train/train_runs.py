"""Runs of a few seconds: eight toy streets, a network of some thousand parameters; and what they left, compared."""

import json
import multiprocessing
import os
from pathlib import Path

import torch

TINY = [
    "model.backbone=test_resnet",
    "model.channels=8",
    "model.output_stride=32",
    "data.toy_size_hw=[48, 64]",
    "data.crop_hw=[32, 48]",
    "data.toy_train_images=8",
    "data.toy_val_images=2",
    "data.workers=0",
    "loss.class_weights=null",
    "train.batch_size=2",
    "train.epochs=2",
    "train.lr=0.01",
    "train.warmup_steps=0",
    "train.validate_every=1",
    "train.picture_count=0",
    "evaluate.radii_px=[1]",
]


def clean_processes():
    """Makes processes by forking one that has imported this library and done nothing else: quick, and without threads
    whose locks a fork of the tests' own process might find taken."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["crispseg.train"])
    return context


def send(number: int):
    """An action that sends this process a signal."""

    def action(_=None):
        os.kill(os.getpid(), number)

    return action


def checkpoint_of(folder: Path, name: str = "last") -> dict:
    return torch.load(folder / "checkpoints" / f"{name}.ckpt", weights_only=True)


def log_of(folder: Path) -> list[dict]:
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    return [{key: value for key, value in line.items() if key != "seconds"} for line in lines]


def differences(first, second, path="") -> list[str]:
    """Where two nests of values differ in the least bit."""
    if isinstance(first, torch.Tensor):
        return [] if torch.equal(first, second) else [f"{path}: differs by {(first - second).abs().max()}"]
    if isinstance(first, dict):
        if set(first) != set(second):
            return [f"{path}: keys {set(first) ^ set(second)}"]
        return [line for key in first for line in differences(first[key], second[key], f"{path}/{key}")]
    if isinstance(first, list | tuple):
        if len(first) != len(second):
            return [f"{path}: lengths"]
        return [
            line for i, pair in enumerate(zip(first, second, strict=True)) for line in differences(*pair, f"{path}/{i}")
        ]
    return [] if first == second else [f"{path}: {first!r} {second!r}"]


def assert_same_run(first: Path, second: Path) -> None:
    """Same weights, optimiser, averages, best model and log, bit for bit."""
    for name in ("last", "best"):
        one, two = checkpoint_of(first, name), checkpoint_of(second, name)
        for part in ("state_dict", "optimizer_states", "lr_schedulers", "current_model_state", "averaging_state"):
            assert differences(one.get(part), two.get(part), part) == []
        assert (one["epoch"], one["global_step"]) == (two["epoch"], two["global_step"])
    assert log_of(first) == log_of(second)
    assert (first / "model" / "weights.safetensors").read_bytes() == (
        second / "model" / "weights.safetensors"
    ).read_bytes()
