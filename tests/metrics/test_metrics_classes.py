"""The torchmetrics classes: sums over batches and processes give the functions' values."""

import numpy as np
import pytest
import torch

from crispseg.errors import DataError
from crispseg.metrics import BoundaryFScore, SegmentationScores, boundary_f_score, confusion_counts, iou_from_counts


def made_up_set(images=5, num_classes=4, size=(12, 16), seed=0):
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randint(0, num_classes - 1, (images, size[0] // 4, size[1] // 4), generator=generator)
    labels = coarse.repeat_interleave(4, 1).repeat_interleave(4, 2)
    prediction = labels.roll(1, dims=2)
    labels[:, :1] = 255
    labels[0, 4:] = num_classes - 1  # a class of one image only
    return prediction, labels


def test_scores_of_batches_are_the_scores_of_the_whole():
    prediction, labels = made_up_set()
    scores = SegmentationScores(num_classes=5)
    scores.update(prediction[:2], labels[:2])
    scores.update(prediction[2:], labels[2:])
    result = scores.compute()
    wanted = iou_from_counts(confusion_counts(prediction, labels, 5))
    np.testing.assert_array_equal(result["iou"], wanted)
    assert torch.isnan(result["iou"][4])
    assert result["mean_iou"] == pytest.approx(np.nanmean(wanted))
    known = labels != 255
    assert result["pixel_accuracy"] == pytest.approx((prediction == labels)[known].double().mean().item())


@pytest.mark.parametrize("absent", ["skip", "one"])
def test_boundary_f_is_the_mean_over_the_images_that_show_the_class(absent):
    prediction, labels = made_up_set()
    scores = BoundaryFScore(num_classes=5, radii_px=(1, 2), absent=absent)
    scores.update(prediction[:3], labels[:3])
    scores.update(prediction[3:], labels[3:])
    result = scores.compute()
    single = [boundary_f_score(p, t, 5, (1, 2), absent=absent) for p, t in zip(prediction, labels, strict=True)]
    for radius in range(2):
        for k in range(5):
            known = [s[radius, k] for s in single if not np.isnan(s[radius, k])]
            found = result["boundary_f_per_class"][radius, k].item()
            assert np.isnan(found) if not known else found == pytest.approx(np.mean(known), abs=1e-6)
    assert result["boundary_f"].tolist() == pytest.approx(
        np.nanmean(result["boundary_f_per_class"].numpy(), axis=1).tolist()
    )


@pytest.mark.parametrize("make", [lambda: SegmentationScores(4), lambda: BoundaryFScore(4, (1, 2))])
def test_states_are_sums_so_that_processes_add_up(make):
    """What torchmetrics does when it synchronises: gather each state, reduce it by its own rule."""
    prediction, labels = made_up_set()
    whole, one, other = make(), make(), make()
    whole.update(prediction, labels)
    one.update(prediction[:2], labels[:2])
    other.update(prediction[2:], labels[2:])
    for name, reduce in one._reductions.items():
        setattr(one, name, reduce(torch.stack([getattr(one, name), getattr(other, name)])))
    for name, value in whole.compute().items():
        torch.testing.assert_close(one.compute()[name], value, equal_nan=True)


def test_reset_forgets():
    prediction, labels = made_up_set()
    scores = SegmentationScores(4)
    scores.update(prediction, labels)
    scores.reset()
    scores.update(labels.where(labels != 255, 0), labels)
    assert scores.compute()["mean_iou"] == 1


def test_single_maps_without_batch_are_refused():
    labels = torch.zeros(4, 4, dtype=torch.long)
    with pytest.raises(DataError, match=r"\(N, H, W\)"):
        BoundaryFScore(2, (1,)).update(labels, labels)
