"""What a training step of a small network takes with its depthwise convolutions in float32 and in bfloat16.

    python benchmarks/depthwise_step.py [--rounds 7]      # writes the JSON; training_step.py --page shows it

Forward, a sum of squares, and backward at batch 4 and 256×320, channels last, one thread; processor seconds, the median
and spread over rounds that take the three ways in turn. `ONEDNN_MAX_CPU_ISA=AVX512_CORE_BF16` before it leaves AMX out.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
from datetime import date
from pathlib import Path

import torch
from machine import commit, one_thread, seconds_of

from crispseg import create_model
from crispseg.train.depthwise import depthwise_in_float32

RESULTS = Path(__file__).parents[1] / "docs" / "results" / "training_step" / "depthwise.json"
NETWORKS = (
    ("gff", "ppm", "tf_efficientnet_lite0", 32),
    ("gff", "ppm", "tf_efficientnet_lite0", 16),
    ("deeplabv3plus", "aspp", "tf_efficientnet_lite0", 16),
    ("gff", "ppm", "mobilenetv4_conv_small", 32),
)
WAYS = ("float32", "bfloat16", "bfloat16, depthwise in float32")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    isa = os.environ.get("ONEDNN_MAX_CPU_ISA", "all")
    results = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    found = {" ".join(map(str, network)): measure(*network, rounds) for network in NETWORKS}
    results[isa] = {
        "networks": found,
        "rounds": rounds,
        "machine": one_thread(),
        "torch": torch.__version__,
        "date": f"{date.today():%d %B %Y}",
        "commit": commit(),
    }
    RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


def section() -> list[str]:
    """For the page that `training_step.py --page` writes."""
    lines = ["## Depthwise convolutions in bfloat16", "", *INTRODUCTION.strip().splitlines()]
    for isa, found in json.loads(RESULTS.read_text(encoding="utf-8")).items():
        lines += ["", f"| instructions: {isa} | {' | '.join(WAYS)} | of bfloat16 |", "|---|---:|---:|---:|---:|"]
        for network, times in found["networks"].items():
            cells = [f"{median:.2f} ({low:.2f}–{high:.2f})" for median, low, high in times.values()]
            share = times[WAYS[2]][0] / times[WAYS[1]][0]
            head, _, backbone, stride = network.split()
            lines.append(f"| {head} on {backbone}, stride {stride} | {' | '.join(cells)} | {share:.2f}× |")
        lines += [
            "",
            f"{found['machine']}; {found['rounds']} rounds; PyTorch {found['torch']}; {found['date']}; commit "
            f"{found['commit']}.",
        ]
    return lines


def measure(head: str, context: str, backbone: str, stride: int, rounds: int) -> dict[str, list[float]]:
    """Median, lowest and highest seconds of each way."""
    torch.manual_seed(0)
    model = create_model(
        head, context=context, backbone=backbone, num_classes=11, channels=128, output_stride=stride
    ).train()
    model.to(memory_format=torch.channels_last)
    images = torch.rand(4, 3, 256, 320).to(memory_format=torch.channels_last)

    def step(way: str) -> None:
        inside = depthwise_in_float32("cpu") if way == WAYS[2] else contextlib.nullcontext()
        with torch.autocast("cpu", torch.bfloat16, enabled=way != WAYS[0]), inside:
            logits = model(images).logits
        logits.float().square().mean().backward()
        model.zero_grad()

    times: dict[str, list[float]] = {way: [] for way in WAYS}
    for at in range(rounds + 1):
        for way in WAYS:
            seconds = seconds_of(lambda way=way: step(way))
            if at > 0:  # the first prepares
                times[way].append(seconds)
    return {
        way: [round(value, 3) for value in (statistics.median(found), min(found), max(found))]
        for way, found in times.items()
    }


INTRODUCTION = """
In bfloat16 the backward passes of depthwise convolutions take half of a step of EfficientNet-Lite0 at stride 16 on a
CPU, more than three times as long as in float32 (PyTorch 2.14 and its profiler). `crispseg fit` computes these
convolutions in float32 there (`train/depthwise.py`), all others in bfloat16. Batch 4, 256×320, forward and backward of
the network, processor seconds (spread over rounds), `python benchmarks/depthwise_step.py`. "AVX512_CORE_BF16" leaves
AMX out by `ONEDNN_MAX_CPU_ISA`; bfloat16 gains nothing over float32 there for networks as small as these. On the EPYC
with AVX512-BF16 that other pages are of, it was not measured. Trainings before 30 November 2026 were without it.
"""

if __name__ == "__main__":
    main()
