"""A page on which a person looks at what models make of an image: the application, and the server that runs it."""

from typing import TYPE_CHECKING

from crispseg.lazy import lazily

if TYPE_CHECKING:
    from crispseg.studio.app import make_studio
    from crispseg.studio.examples import Example, drawn_street, examples_of
    from crispseg.studio.room import Bounds
    from crispseg.studio.run import run_studio
else:
    __getattr__, __dir__ = lazily(
        __name__,
        {
            "crispseg.studio.app": ("make_studio",),
            "crispseg.studio.examples": ("Example", "drawn_street", "examples_of"),
            "crispseg.studio.room": ("Bounds",),
            "crispseg.studio.run": ("run_studio",),
        },
    )

__all__ = ["Bounds", "Example", "drawn_street", "examples_of", "make_studio", "run_studio"]
