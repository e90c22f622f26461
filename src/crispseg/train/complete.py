"""A recipe with nothing left open: what is trained, and what the run's folder remembers."""

from __future__ import annotations

from crispseg.config import Recipe
from crispseg.data import layouts
from crispseg.losses import completed_options
from crispseg.models import parts_of

__all__ = ["completed"]


def completed(recipe: Recipe) -> Recipe:
    """Every option of the recipe's loss and layout, and no other.

    So that a saved recipe means the same under later defaults, and that a wrong name or option is an error before
    anything is read.

    Raises:
        ConfigError: if head, context, loss or layout do not exist, or do not take an option that is set.
    """
    parts = parts_of(recipe.model)
    return recipe.model_copy(
        update={
            "data": layouts.completed_options(recipe.data),
            "loss": completed_options(parts.head_class.system, recipe.loss),
        }
    )
