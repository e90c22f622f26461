"""The page's server: there at once, with models that come later, until a signal or a model that does not load."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from crispseg.serving.measures import Measures
from crispseg.serving.server import run_app
from crispseg.studio.app import make_studio
from crispseg.studio.examples import Example
from crispseg.studio.models import Models
from crispseg.studio.room import Bounds
from crispseg.studio.seen import AnyModel

__all__ = ["run_studio"]


def run_studio(
    openers: Mapping[str, Callable[[], AnyModel]],
    host: str = "127.0.0.1",
    port: int = 8000,
    bounds: Bounds | None = None,
    examples: Sequence[Example] = (),
    precision: str = "auto",
    on_start: Callable[[str, bool], object] = lambda address, is_open: None,
) -> None:
    """Serve the page until a signal comes; then finish what runs.

    Args:
        openers: what loads each model, by its name; up to three. They are called once the page can be had.
        host: name or address to listen at.
        port: 0: any free one.
        bounds: of uploads and of memory. None: as `Bounds` has them.
        examples: that the page offers.
        precision: of networks; see `Predictor`.
        on_start: called with the address, as ``http://127.0.0.1:8000``, and whether other machines may reach it.

    Raises:
        ConfigError: if the address cannot be had, or models do not fit each other.
        CrispsegError: if a model does not load; the server ends.
        Interrupted: when a signal has come, after what ran is finished; on a second signal, at once.
    """
    models, measures = Models(openers, precision), Measures()
    app = make_studio(models, bounds, examples, measures)

    def start(address: str, is_open: bool, stop: Callable[[], None]) -> None:
        on_start(address, is_open)
        models.load_beside(on_failure=stop)

    run_app(app, host, port, lambda: f"{measures.images()} images were looked at", start)
    if models.error is not None:
        raise models.error
