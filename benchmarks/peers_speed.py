"""Processor time of networks that a user would pick, on one thread and one image; random weights.

    python benchmarks/peers_speed.py [--size 352 480] [--classes 19] [--rounds 3] [--json OUT] [NAME…]

Each network runs in its best ways here: eager float32, eager float32 and bfloat16 in channels-last, and OpenVINO (f32
and bf16) from an ONNX file of that one size. Those whose packages are not installed are left out and named.
segmentation_models_pytorch and transformers belong into an environment of their own, beside the packages of this one.
"""

from __future__ import annotations

import argparse
import json
import logging
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from export_speed import machine
from torch import Tensor, nn

import crispseg


class Logits(nn.Module):
    """A network whose result is logits at the image's size, whatever it wraps them in."""

    def __init__(self, network: nn.Module, of: Callable[[object], Tensor]) -> None:
        super().__init__()
        self.network, self.of = network, of

    def forward(self, images: Tensor) -> Tensor:
        logits = self.of(self.network(images))
        if logits.shape[-2:] != images.shape[-2:]:
            logits = nn.functional.interpolate(logits, size=images.shape[-2:], mode="bilinear", align_corners=False)
        return logits


def ours(head: str, classes: int, stride: int = 16, **options: object) -> nn.Module:
    model = crispseg.create_model(head, backbone="resnet50", num_classes=classes, output_stride=stride, **options)
    return Logits(model, lambda output: output.logits)


def separable(classes: int, stride: int) -> nn.Module:
    options = {"context_options": {"separable": True}, "head_options": {"separable": True}}
    return ours("deeplabv3plus", classes, stride, **options)


def smp(name: str, classes: int, **options: object) -> nn.Module:
    import segmentation_models_pytorch

    make = getattr(segmentation_models_pytorch, name)
    return Logits(make("resnet50", encoder_weights=None, classes=classes, **options), lambda logits: logits)


def torchvision_deeplab(classes: int) -> nn.Module:
    from torchvision.models.segmentation import deeplabv3_resnet50

    model = deeplabv3_resnet50(weights=None, weights_backbone=None, num_classes=classes)
    return Logits(model, lambda output: output["out"])


def segformer(size: str, classes: int) -> nn.Module:
    from transformers import SegformerConfig, SegformerForSemanticSegmentation

    widths, hidden = {"b0": ([32, 64, 160, 256], 256), "b1": ([64, 128, 320, 512], 256)}[size]
    config = SegformerConfig(depths=[2, 2, 2, 2], hidden_sizes=widths, decoder_hidden_size=hidden, num_labels=classes)
    return Logits(SegformerForSemanticSegmentation(config), lambda output: output.logits)


NETWORKS: dict[str, Callable[[int], nn.Module]] = {
    "ours: DeepLabV3+ R50, stride 16": lambda k: ours("deeplabv3plus", k),
    "ours: the same, separable": lambda k: separable(k, 16),
    "smp: DeepLabV3+ R50, stride 16": lambda k: smp("DeepLabV3Plus", k, encoder_output_stride=16),
    "ours: GFF R50, stride 32": lambda k: ours("gff", k, 32),
    "smp: FPN R50, stride 32": lambda k: smp("FPN", k),
    "torchvision: DeepLabV3 R50, stride 8": torchvision_deeplab,
    "ours: DeepLabV3+ R50, stride 8": lambda k: ours("deeplabv3plus", k, 8),
    "transformers: SegFormer-B0": lambda k: segformer("b0", k),
    "transformers: SegFormer-B1": lambda k: segformer("b1", k),
}


def ways(model: nn.Module, image: Tensor) -> dict[str, Callable[[], object]]:
    last = image.to(memory_format=torch.channels_last)

    def bf16() -> object:
        with torch.autocast("cpu", torch.bfloat16):
            return model(last)

    found: dict[str, Callable[[], object]] = {"eager f32": lambda: model(image)}
    try:
        compiled = openvino_models(model, image)
    except Exception as error:  # a network that the converter cannot read is a result as well
        print(f"  OpenVINO: {' '.join(str(error).split())[:150]}")
        compiled = {}
    model.to(memory_format=torch.channels_last)
    found |= {"channels-last f32": lambda: model(last), "channels-last bf16": bf16}
    return found | {name: lambda run=run: run(image.numpy()) for name, run in compiled.items()}


def openvino_models(model: nn.Module, image: Tensor) -> dict[str, Callable[[object], object]]:
    import openvino

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        torch.onnx.export(model, (image,), path, dynamo=True, verbose=False)
        core = openvino.Core()
        read = core.read_model(path)
        options = {"INFERENCE_NUM_THREADS": 1}
        return {
            f"OpenVINO {hint}": core.compile_model(read, "CPU", {**options, "INFERENCE_PRECISION_HINT": hint})
            for hint in ("f32", "bf16")
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="parts of the networks' names; none: all")
    parser.add_argument("--size", nargs=2, type=int, default=(352, 480))
    parser.add_argument("--classes", type=int, default=19)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    torch.manual_seed(0)
    image = torch.rand(1, 3, *arguments.size)
    rows: dict[str, dict[str, float]] = {}
    with torch.no_grad():
        for name, make in NETWORKS.items():
            if arguments.names and not any(part in name for part in arguments.names):
                continue
            try:
                model = make(arguments.classes).eval()
            except ImportError as error:
                print(f"{name}: left out, {error}")
                continue
            millions = sum(one.numel() for one in model.parameters()) / 1e6
            rows[name] = {"parameters_m": millions} | timed(ways(model, image), arguments.rounds)
            print(name, {key: round(value, 3) for key, value in rows[name].items()}, flush=True)
            if arguments.json:  # after each, so that what was measured stays
                results = {"size_hw": list(arguments.size), "classes": arguments.classes, "rows": rows}
                results |= {"rounds": arguments.rounds, "machine": machine()}
                arguments.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


def timed(runs: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median processor seconds; the ways take turns, and the first round warms."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(rounds + 1):
        for name, run in runs.items():
            start = time.process_time()
            run()
            if number:
                seconds[name].append(time.process_time() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


if __name__ == "__main__":
    main()
