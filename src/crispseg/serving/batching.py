"""One thread that runs the networks, on images of one size together where they arrive together."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from crispseg.pictures.colour import Picture
from crispseg.serving.limits import Limits
from crispseg.serving.measures import Measures

__all__ = ["Batcher", "SeesImages"]

Seen = TypeVar("Seen")
_Seen = TypeVar("_Seen", covariant=True)


class SeesImages(Protocol[_Seen]):
    """What makes something of images: a `Predictor`, of which the something is a `Prediction`."""

    @property
    def batch_pixels(self) -> int:
        """How many pixels pay at once, at most."""
        ...

    def predict_many(self, images: Iterable[Picture], batch_size: int) -> Iterator[tuple[int, _Seen]]:
        """Position and what was seen, in order, of images of one size."""
        ...


@dataclass(eq=False)
class _Job(Generic[Seen]):
    model: str
    image: Picture
    since: float = field(default_factory=time.monotonic)
    answer: Future[Seen] = field(default_factory=Future)


class Batcher(Generic[Seen]):
    """Segments images in the order in which they came, the oldest together with others of its model and size.

    An image waits for others only while some are on their way (`expecting`), and no longer than the limits say. One
    thread does all, whatever the number of models: they share a processor and its memory.

    Args:
        predictors: by the models' names.
        limits: how many at once, and how long to wait.
        measures: that count images and batches.

    Example:
        >>> import numpy as np, torch, crispseg
        >>> def dark(images: torch.Tensor) -> crispseg.SegmentationOutput:
        ...     return crispseg.SegmentationOutput(logits=torch.cat((images[:, :1], 1 - images[:, :1]), dim=1))
        >>> two = crispseg.LabelSpace.from_dict({"name": "two", "classes": ["bright", "dark"]})
        >>> with Batcher({"dark": crispseg.Predictor(dark, two)}, Limits(), Measures()).running() as batcher:
        ...     batcher.submit("dark", np.zeros((1, 2, 3), dtype=np.uint8)).result().labels
        array([[1, 1]], dtype=uint8)
    """

    def __init__(self, predictors: Mapping[str, SeesImages[Seen]], limits: Limits, measures: Measures) -> None:
        self._predictors, self._limits, self._measures = predictors, limits, measures
        self._waiting: list[_Job[Seen]] = []
        self._on_their_way = 0
        self._changed = threading.Condition()
        self._closed = False

    @contextmanager
    def running(self) -> Iterator[Batcher[Seen]]:
        """The thread lives within; what has been submitted is done at the end, unless that is by an exception."""
        # A daemon, for the latter: who stops the program a second time does not wait for a network.
        thread = threading.Thread(target=self._work, name="crispseg-serving", daemon=True)
        thread.start()
        is_patient = False
        try:
            yield self
            is_patient = True
        finally:
            with self._changed:
                self._closed = True
                self._changed.notify_all()
            if is_patient:
                thread.join()

    @contextmanager
    def expecting(self) -> Iterator[None]:
        """An image is on its way, for which others may wait a moment."""
        with self._changed:
            self._on_their_way += 1
        try:
            yield
        finally:
            with self._changed:
                self._on_their_way -= 1
                self._changed.notify_all()

    def submit(self, model: str, image: Picture) -> Future[Seen]:
        """Let an image be segmented; whoever cancels the result in time spares the work.

        Args:
            model: its name.
            image: (H, W, 3) uint8 RGB.
        """
        job = _Job[Seen](model, image)
        with self._changed:
            self._waiting.append(job)
            self._changed.notify_all()
        return job.answer

    def _work(self) -> None:
        while jobs := self._next():
            wanted = [job for job in jobs if job.answer.set_running_or_notify_cancel()]
            if wanted:
                self._run(wanted)

    def _next(self) -> list[_Job[Seen]]:
        """The oldest job and others like it; nothing once all is done and none may come."""
        with self._changed:
            while not self._waiting:
                if self._closed:
                    return []
                self._changed.wait()
            first = self._waiting[0]
            height, width, _ = first.image.shape
            room = max(min(self._limits.batch_size, self._predictors[first.model].batch_pixels // (height * width)), 1)
            until = first.since + self._limits.batch_wait_ms / 1000
            while True:
                alike = [job for job in self._waiting if _alike(job, first)][:room]
                left = until - time.monotonic()
                if len(alike) == room or left <= 0 or not self._on_their_way:
                    break
                self._changed.wait(left)
            self._waiting = [job for job in self._waiting if job not in alike]
            return alike

    def _run(self, jobs: list[_Job[Seen]]) -> None:
        predictor = self._predictors[jobs[0].model]
        started = time.perf_counter()
        try:
            images = [job.image for job in jobs]
            found = [one for _, one in predictor.predict_many(images, batch_size=len(jobs))]
        except Exception as error:  # whatever it is, the thread goes on, and those who wait are told
            if len(jobs) == 1:
                jobs[0].answer.set_exception(error)
                return
            for job in jobs:  # one image must not spoil the answers of others
                self._run([job])
            return
        pixels = sum(job.image.shape[0] * job.image.shape[1] for job in jobs)
        self._measures.segmented(jobs[0].model, len(jobs), pixels, time.perf_counter() - started)
        for job, prediction in zip(jobs, found, strict=True):
            job.answer.set_result(prediction)


def _alike(one: _Job[Seen], other: _Job[Seen]) -> bool:
    return one.model == other.model and one.image.shape == other.image.shape
