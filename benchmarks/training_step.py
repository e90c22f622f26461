"""What a training step costs: processor seconds and peak memory beside the released layout, measure by measure.

    python benchmarks/training_step.py decoupled [VARIANT …] [--steps 3]      # or gscnn; writes the JSON
    python benchmarks/training_step.py --page                                 # the page from what was measured

A step is forward, losses, backward and optimiser (SGD with momentum) at batch 2 and 256², one thread, in a process of
its own for each variant. "Released" is the released network (`crispseg.published`) in eager float32 with the papers'
losses in their plain forms (`tests/losses/plain_forms.py`), as PyTorch lays tensors out by default. Seconds are the
process's own, the median of the steps after the first; memory is the largest resident set above that of the process
with its imports.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from datetime import date
from itertools import pairwise
from pathlib import Path

from machine import commit, one_thread

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "docs" / "results" / "training_step"
NETWORKS = {
    "decoupled": ("Decoupled, ResNet-50", "resnet50s", "released_resnet50s"),
    "gscnn": ("GSCNN, WideResNet-38", "wide_resnet38", "wide_resnet38"),
}
WITHOUT_PRECISION = ("ours", "frugal", "drop", "keep", "channels_last")
VARIANTS = {
    "released": (),
    "our network": ("ours",),
    "channels last": ("ours", "channels_last"),
    "losses class by class": ("ours", "frugal"),
    "gradients dropped after the step": ("ours", "drop"),
    "freed memory kept": ("ours", "keep"),
    "bfloat16": ("ours", "bf16"),
    "checkpointing light": ("ours", "light"),
    "checkpointing full": ("ours", "full"),
    "as shipped, float32": WITHOUT_PRECISION,
    "as shipped, bfloat16": (*WITHOUT_PRECISION, "bf16"),
    "as shipped, bfloat16, checkpointing light": (*WITHOUT_PRECISION, "bf16", "light"),
    "as shipped, bfloat16, checkpointing full": (*WITHOUT_PRECISION, "bf16", "full"),
    "the same, all freed memory kept": (*WITHOUT_PRECISION, "bf16", "full", "keep_all"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("network", nargs="?", choices=NETWORKS)
    parser.add_argument("variants", nargs="*", metavar="VARIANT", help=f"of: {', '.join(VARIANTS)}; all if left out")
    parser.add_argument("--steps", type=int, default=3, help="timed, after one that is not")
    parser.add_argument("--page", action="store_true")
    parser.add_argument("--one", choices=VARIANTS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if unknown := set(arguments.variants) - set(VARIANTS):
        parser.error(f"unknown variants: {', '.join(sorted(unknown))}")
    if arguments.one:
        print(json.dumps(measure(arguments.network, VARIANTS[arguments.one], arguments.steps)))
        return
    if arguments.network:
        for variant in arguments.variants or VARIANTS:
            record(arguments.network, variant, arguments.steps)
    if arguments.page:
        RESULTS.with_suffix(".md").write_text(page(), encoding="utf-8")


def record(network: str, variant: str, steps: int) -> None:
    """Measure in a process of its own and put the result beside those that are there."""
    command = [sys.executable, __file__, network, "--one", variant, "--steps", str(steps)]
    found = subprocess.run(
        command, check=True, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    path = RESULTS / f"{network}.json"
    path.parent.mkdir(exist_ok=True)
    results = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    results[variant] = json.loads(found.stdout) | {"date": f"{date.today():%d %B %Y}", "commit": commit()}
    path.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    print(network, variant, results[variant], flush=True)


def measure(network: str, measures: tuple[str, ...], steps: int) -> dict[str, object]:
    import torch

    from crispseg.config import LossConfig, ModelConfig, TrainConfig
    from crispseg.losses import build_loss
    from crispseg.models import build_model
    from crispseg.models.build import numbered_labels
    from crispseg.train.checkpointing import checkpoint_blocks
    from crispseg.train.memory import LITTLE, MUCH, keep_freed_memory
    from crispseg.train.optim import build_optimizer
    from crispseg.train.task import _as_float32

    torch.set_num_threads(1)
    torch.manual_seed(0)
    checkpointing = next((what for what in ("light", "full") if what in measures), None)
    if "keep" in measures:
        keep_freed_memory(LITTLE if checkpointing == "full" and "keep_all" not in measures else MUCH)
    _, ours, released = NETWORKS[network]
    config = ModelConfig(head=network, backbone=ours)
    if "ours" not in measures:
        config = ModelConfig(head=f"released_{network}", backbone=released, context="released_aspp")
    imported = resident_mb()
    model = build_model(config, numbered_labels(19)).train()
    layout = torch.channels_last if "channels_last" in measures else torch.contiguous_format
    model.to(memory_format=layout)
    if checkpointing is not None:
        checkpoint_blocks(model, checkpointing)
    loss = build_loss(model.head.system, LossConfig(), 19)
    if "frugal" not in measures and network == "gscnn":
        sys.path.insert(0, str(ROOT / "tests" / "losses"))
        import plain_forms

        loss.dual_boundary.forward = plain_forms.dual_boundary_loss
    optimizer = build_optimizer(model, TrainConfig())
    random = torch.Generator().manual_seed(1)
    images = torch.rand(2, 3, 256, 256, generator=random).contiguous(memory_format=layout)
    labels = torch.randint(0, 19, (2, 8, 8), generator=random).repeat_interleave(32, 1).repeat_interleave(32, 2)
    parts: list[list[float]] = []
    for _ in range(steps + 1):
        marks = [time.process_time()]
        with torch.autocast("cpu", torch.bfloat16, enabled="bf16" in measures):
            output = model(images)
        marks.append(time.process_time())
        total = torch.stack(list(loss(_as_float32(output), labels).values())).sum()
        del output
        marks.append(time.process_time())
        optimizer.zero_grad()
        total.backward()
        marks.append(time.process_time())
        optimizer.step()
        if "drop" in measures:
            optimizer.zero_grad()
        marks.append(time.process_time())
        parts.append([after - before for before, after in pairwise(marks)])
    seconds = [sum(part) for part in parts[1:]]
    names = ("forward", "losses", "backward", "optimiser")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        "seconds": round(statistics.median(seconds), 3),
        "spread": [round(min(seconds), 3), round(max(seconds), 3)],
        "parts": {name: round(statistics.median(p[at] for p in parts[1:]), 3) for at, name in enumerate(names)},
        "memory_mib": round(peak - imported),
        "imported_mib": round(imported),
        "machine": one_thread(),
        "torch": torch.__version__,
    }


def resident_mb() -> float:
    """The present resident set in MiB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20


def page() -> str:
    import depthwise_step  # which brings PyTorch

    lines = ["# What a training step costs", "", *INTRODUCTION.strip().splitlines()]
    for network, (title, *_) in NETWORKS.items():
        path = RESULTS / f"{network}.json"
        if not path.exists():
            continue
        results = json.loads(path.read_text(encoding="utf-8"))
        base = results["released"]
        lines += [
            "",
            f"## {title}",
            "",
            "| | seconds (spread) | of released | forward, losses, backward, optimiser | MiB | of released "
            "| with imports |",
            "|---|---:|---:|---|---:|---:|---:|",
        ]
        for variant in VARIANTS:
            if (found := results.get(variant)) is None:
                continue
            low, high = found["spread"]
            whole = (found["memory_mib"] + found["imported_mib"]) / (base["memory_mib"] + base["imported_mib"])
            seconds = found["seconds"]
            lines.append(
                f"| {variant} | {seconds:.2f} ({low:.2f}–{high:.2f}) | {seconds / base['seconds']:.2f}× "
                f"| {', '.join(f'{value:.2f}' for value in found['parts'].values())} "
                f"| {found['memory_mib']} | {found['memory_mib'] / base['memory_mib']:.2f}× | {whole:.2f}× |"
            )
        lines += ["", f"{base['machine']}; PyTorch {base['torch']}; {base['date']}; commit {base['commit']}."]
    return "\n".join([*lines, "", *depthwise_step.section()]) + "\n"


INTRODUCTION = """
Batch 2, 256², 19 classes, one thread; `python benchmarks/training_step.py NETWORK`, then `--page`; the script's
docstring says what is measured. Each variant runs in a process of its own. Rows up to "checkpointing full" are our
network with that measure alone; "as shipped" is all that `crispseg fit` does: channels last, losses class by class,
gradients dropped after the step, freed memory kept (`train/memory.py`), but for blocks above 4 MiB under full
checkpointing. The processor was shared with other work meanwhile, which processor seconds feel little.
"""

if __name__ == "__main__":
    main()
