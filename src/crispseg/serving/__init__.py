"""Segmenting over HTTP: an application for any ASGI server, and a server that ends as the commands do."""

from typing import TYPE_CHECKING

from crispseg.lazy import lazily

if TYPE_CHECKING:
    from crispseg.serving.app import make_app
    from crispseg.serving.limits import Limits
    from crispseg.serving.server import serve
else:
    __getattr__, __dir__ = lazily(
        __name__,
        {
            "crispseg.serving.app": ("make_app",),
            "crispseg.serving.limits": ("Limits",),
            "crispseg.serving.server": ("serve",),
        },
    )

__all__ = ["Limits", "make_app", "serve"]
