"""The models of the page: loaded beside the server, so that the page is there before them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future

import numpy as np

from crispseg.errors import ConfigError
from crispseg.labels import LabelSpace
from crispseg.pictures.colour import Picture
from crispseg.studio.seen import AnyModel, Seen, View, seer, views_of

__all__ = ["MOST_MODELS", "LoadedModel", "Models"]

MOST_MODELS = 3
"""That are compared."""

_TRIED_SIDE = 64  # pixels; the least that exported files take


class LoadedModel:
    """A model that is being loaded, or is there: what a `Batcher` runs.

    Args:
        open_: loads it.
        precision: of a network; see `Predictor`.
    """

    def __init__(self, open_: Callable[[], AnyModel], precision: str = "auto") -> None:
        self._open, self._precision = open_, precision
        self._see: Future[Callable[[Picture], Seen]] = Future()
        self.views: list[View] = []
        self.label_space: LabelSpace | None = None

    batch_pixels = 1
    """That are seen at once: what a head shows is kept of one image at a time."""

    @property
    def is_ready(self) -> bool:
        """Whether it is loaded."""
        return self._see.done() and self._see.exception() is None

    def load(self) -> None:
        """Load it, and try it on a small black image.

        Raises:
            CrispsegError: if it does not load, or does not fit its label table.
        """
        try:
            see = seer(self._open(), self._precision)
            seen = see(np.zeros((_TRIED_SIDE, _TRIED_SIDE, 3), dtype=np.uint8))
        except BaseException as error:
            self._see.set_exception(error)
            raise
        self.views, self.label_space = views_of(seen), seen.prediction.label_space
        self._see.set_result(see)

    def fail(self, error: BaseException) -> None:
        """Tell those who wait that it will not come, unless it is there."""
        if not self._see.done():
            self._see.set_exception(error)

    def predict_many(self, images: Iterable[Picture], batch_size: int) -> Iterator[tuple[int, Seen]]:
        """See images one by one, once the model is there."""
        see = self._see.result()
        for index, image in enumerate(images):
            yield index, see(image)


class Models:
    """All models of the page, by name.

    Args:
        openers: what loads each.
        precision: of networks.

    Attributes:
        loaded: by name.
        error: that ended the loading; None: none did.

    Raises:
        ConfigError: if there are none, or more than are compared.
    """

    def __init__(self, openers: Mapping[str, Callable[[], AnyModel]], precision: str = "auto") -> None:
        if not 1 <= len(openers) <= MOST_MODELS:
            raise ConfigError(f"{len(openers)} models; 1 to {MOST_MODELS} expected, to be compared with each other")
        self.loaded = {name: LoadedModel(open_, precision) for name, open_ in openers.items()}
        self.error: BaseException | None = None

    @property
    def are_ready(self) -> bool:
        """Whether all are loaded."""
        return all(model.is_ready for model in self.loaded.values())

    @property
    def label_space(self) -> LabelSpace:
        """Of the first, once it is loaded; the others have the same classes."""
        space = next(iter(self.loaded.values())).label_space
        assert space is not None  # who asks has waited
        return space

    def load_beside(self, on_failure: Callable[[], object]) -> None:
        """Load them in a thread of their own.

        Args:
            on_failure: called once `error` is set.
        """
        # A daemon: who stops the program while a model loads does not wait for it.
        threading.Thread(target=self._load, args=(on_failure,), name="crispseg-loading", daemon=True).start()

    def load(self) -> None:
        """Load them now.

        Raises:
            CrispsegError: if one does not load, or knows other classes than the first.
        """
        first: tuple[str, LabelSpace] | None = None
        for name, model in self.loaded.items():
            model.load()
            space = model.label_space
            assert space is not None
            first = first or (name, space)
            if space.class_names != first[1].class_names:
                raise ConfigError(
                    f"{name} predicts {len(space.class_names)} classes of the label table {space.name!r}, {first[0]} "
                    f"{len(first[1].class_names)} of {first[1].name!r}; models with the same classes expected"
                )

    def _load(self, on_failure: Callable[[], object]) -> None:
        try:
            self.load()
        except BaseException as error:
            self.error = error
            for model in self.loaded.values():
                model.fail(error)
            on_failure()
