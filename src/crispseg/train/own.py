"""Parts of a run that somebody hands over in Python: data, a model, a loss."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from crispseg.config import Recipe
from crispseg.data import OwnData, SegmentationDataset, own_dataset
from crispseg.errors import ConfigError, DataError
from crispseg.labels import LabelSpace, label_space
from crispseg.models import Segmenter
from crispseg.types import SegmentationOutput

__all__ = ["OwnLoss", "OwnParts", "require_same_classes"]

LossFunction = Callable[[SegmentationOutput, Tensor], Tensor | Mapping[str, Tensor]]


class OwnLoss(nn.Module):
    """A loss of one's own as named terms.

    Args:
        loss: a function or a module; output and labels (N, H, W) → a scalar, or named ones.
    """

    def __init__(self, loss: LossFunction) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, output: SegmentationOutput, labels: Tensor) -> dict[str, Tensor]:
        """Named terms, whose sum is minimised; one alone is called ``own``."""
        found = self.loss(output, labels)
        return dict(found) if isinstance(found, Mapping) else {"own": found}


@dataclass(frozen=True)
class OwnParts:
    """What `crispseg.fit` was handed; None where the recipe decides."""

    train_set: OwnData | None
    val_set: OwnData | None
    model: Segmenter | None
    loss: LossFunction | None

    def datasets(self, recipe: Recipe) -> tuple[SegmentationDataset, SegmentationDataset] | None:
        """Both sets, if they were handed over.

        Raises:
            ConfigError: if one is missing, or nothing says what the labels mean.
            DataError: if one is empty.
        """
        if self.train_set is None and self.val_set is None:
            return None
        if self.train_set is None or self.val_set is None:
            missing = "train_set" if self.train_set is None else "val_set"
            raise ConfigError(f"{missing} is missing: give both, or neither and let the recipe's section data say it")
        if not len(self.train_set) or not len(self.val_set):
            raise DataError("train_set or val_set is empty; at least one sample in each expected")
        table, values = self._label_space(recipe), recipe.train
        return (
            own_dataset(self.train_set, table, recipe.data, augment=True, seed=values.seed),
            own_dataset(self.val_set, table, recipe.data, augment=False),
        )

    def terms(self) -> OwnLoss | None:
        """The loss, if one was handed over."""
        return None if self.loss is None else OwnLoss(self.loss)

    def _label_space(self, recipe: Recipe) -> LabelSpace:
        if recipe.data.labels is not None:
            return label_space(recipe.data.labels)
        if self.model is not None:
            return self.model.label_space
        for data in (self.train_set, self.val_set):
            if isinstance(data, SegmentationDataset):
                return data.label_space
        raise ConfigError("data.labels is missing: name your data's label table, or hand over a model with one")


def require_same_classes(model: Segmenter, dataset: SegmentationDataset) -> None:
    """Refuse a model that was made for other classes.

    Raises:
        ConfigError: if it was.
    """
    ours, theirs = model.label_space.class_names, dataset.label_space.class_names
    if ours != theirs:
        raise ConfigError(
            f"the model has the classes {', '.join(ours)}, the data {', '.join(theirs)}; make the model with the "
            "data's table: create_model(…, label_space=…), or load_model(…, label_space=…)"
        )
