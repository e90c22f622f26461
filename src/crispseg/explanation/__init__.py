"""Pictures of what a model does with an image: every figure of the papers, for any model, in one call."""

from typing import TYPE_CHECKING

from crispseg.lazy import lazily

if TYPE_CHECKING:
    from crispseg.explanation.figures import FIGURES, Available, Figure, choose_figures, figures_of
    from crispseg.explanation.folder import Explained, explain_images, find_labels
    from crispseg.explanation.looks import Look, Shown, look, shown_by
    from crispseg.explanation.run import draw_explanation, explain
    from crispseg.explanation.statistics import GateStatistics
    from crispseg.explanation.subject import Options, Subject
else:
    __getattr__, __dir__ = lazily(
        __name__,
        {
            "crispseg.explanation.figures": ("FIGURES", "Available", "Figure", "choose_figures", "figures_of"),
            "crispseg.explanation.folder": ("Explained", "explain_images", "find_labels"),
            "crispseg.explanation.looks": ("Look", "Shown", "look", "shown_by"),
            "crispseg.explanation.run": ("draw_explanation", "explain"),
            "crispseg.explanation.statistics": ("GateStatistics",),
            "crispseg.explanation.subject": ("Options", "Subject"),
        },
    )

__all__ = [
    "FIGURES",
    "Available",
    "Explained",
    "Figure",
    "GateStatistics",
    "Look",
    "Options",
    "Shown",
    "Subject",
    "choose_figures",
    "draw_explanation",
    "explain",
    "explain_images",
    "figures_of",
    "find_labels",
    "look",
    "shown_by",
]
