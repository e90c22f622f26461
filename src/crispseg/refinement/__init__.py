"""Masks of any tool made sharper: by a learned refiner, or by methods that need no training."""

from typing import TYPE_CHECKING

from crispseg.lazy import lazily

if TYPE_CHECKING:
    from crispseg.refinement.connected import parting_changes
    from crispseg.refinement.folders import Refined, refine_folder
    from crispseg.refinement.methods import METHODS
    from crispseg.refinement.refiner import Refiner, enlarged
else:
    __getattr__, __dir__ = lazily(
        __name__,
        {
            "crispseg.refinement.connected": ("parting_changes",),
            "crispseg.refinement.folders": ("Refined", "refine_folder"),
            "crispseg.refinement.methods": ("METHODS",),
            "crispseg.refinement.refiner": ("Refiner", "enlarged"),
        },
    )

__all__ = ["METHODS", "Refined", "Refiner", "enlarged", "parting_changes", "refine_folder"]
