"""How sharp outlines can be that come from a map of a stride, and what it costs when the map lies half a cell off.

    python benchmarks/outline_bounds.py --root ../shared/camvid [--every 5]

The true labels are averaged over cells, as a perfect network might, and enlarged bilinearly, as every head here does.
Half a cell off is where symmetric padding and TensorFlow's one-sided padding leave a cell's view, one to each side of
its middle; a network that is trained long enough learns to move it back.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from crispseg.config import DataConfig
from crispseg.data import build_dataset
from crispseg.metrics import boundary_f_score
from crispseg.ops.resize import resize

RADII_PX = (1, 2, 3)
STRIDES = (2, 4, 8, 16)

Ids = npt.NDArray[np.int64]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", required=True, help="CamVid at 480×360")
    parser.add_argument("--every", type=int, default=5, help="validation images to skip between two")
    arguments = parser.parse_args()
    images = build_dataset(DataConfig(layout="camvid", root=arguments.root), "val", augment=False)
    names = images.label_space.class_names
    void = len(names)
    every = range(0, len(images), arguments.every)
    labels = [np.where(ids == 255, void, ids).astype(np.int64) for ids in (images.sample(i).labels for i in every)]
    print(f"{len(labels)} validation images, in %\n")
    print("| stride | cells | mIoU | pole IoU | F 1, 2, 3 px |\n|---|---|---:|---:|---|")
    for stride in STRIDES:
        for off_px, said in ((0, "centred"), (stride // 2, "half a cell off")):
            iou, f_scores = scores(labels, list(enlarged(labels, void + 1, stride, off_px)), void)
            f_text = ", ".join(f"{100 * f:.1f}" for f in f_scores)
            pole = 100 * iou[names.index("pole")]
            print(f"| {stride} | {said} | {100 * np.nanmean(iou):.1f} | {pole:.1f} | {f_text} |")


def enlarged(labels: list[Ids], num_ids: int, stride: int, off_px: int) -> Iterator[Ids]:
    """What is left of labels (H, W) after averaging over cells that look `off_px` behind where they lie."""
    for ids in labels:
        height, width = ids.shape
        shares: Tensor = functional.one_hot(torch.from_numpy(ids), num_ids).permute(2, 0, 1)[None].float()
        behind = (0, off_px + -width % stride, 0, off_px + -height % stride)
        padded = functional.pad(shares, behind, mode="replicate")[..., off_px:, off_px:]
        cells = functional.avg_pool2d(padded, stride)
        whole = resize(cells, (cells.shape[-2] * stride, cells.shape[-1] * stride))
        yield whole.argmax(dim=1)[0, :height, :width].numpy()


def scores(labels: list[Ids], found: list[Ids], void: int) -> tuple[npt.NDArray[np.float64], list[float]]:
    """IoU by class over the set, and mean boundary F by radius."""
    parts, wholes, f_scores = np.zeros(void), np.zeros(void), []
    for true, ours in zip(labels, found, strict=True):
        for index in range(void):
            parts[index] += ((ours == index) & (true == index)).sum()
            wholes[index] += (((ours == index) | (true == index)) & (true != void)).sum()
        f_scores.append(boundary_f_score(ours, true, void + 1, RADII_PX)[:, :void])
    iou = np.where(wholes > 0, parts / np.maximum(wholes, 1), np.nan)
    return iou, np.nanmean(np.nanmean(f_scores, axis=0), axis=1).tolist()


if __name__ == "__main__":
    main()
