"""The images of a folder over a Ray cluster: the same work in each of its actors, with a predictor of its own."""

from __future__ import annotations

import logging
import os
import pickle
from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path
from typing import Any

from crispseg.bulk.outputs import Output
from crispseg.bulk.run import Outcome, in_threads
from crispseg.errors import CrispsegError
from crispseg.extras import needed
from crispseg.inference import Predictor

__all__ = ["OnRay"]

_IMAGES_A_CALL = 32
"""An actor reads ahead and writes behind within one call; more would make progress come in jumps."""


class OnRay:
    """An engine for `segment_images`: Ray Data shares the images among actors.

    The actors read the images and write the results, so every node must see both folders under the same paths. What
    is there already, failures and the record are looked after where the run was started.

    Ray is started, or joined where the environment's ``RAY_ADDRESS`` says, unless that has been done.

    Args:
        make_predictor: called in each actor; it must survive pickling, and find the model where the actor runs.
        actors: how many; None: one for each GPU of the cluster, or for each processor if it has none.

    Raises:
        ConfigError: if Ray Data is not installed.
    """

    def __init__(self, make_predictor: Callable[[], Predictor], actors: int | None = None) -> None:
        self._ray = needed("ray", "ray", "sharing images over a cluster")
        needed("ray.data", "ray", "sharing images over a cluster")
        self._make_predictor, self._actors = make_predictor, actors
        if not self._ray.is_initialized():
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # a user who wants to tell says so
            self._ray.init(log_to_driver=False, logging_level=logging.ERROR)
        for name in ("ray", "ray.data"):
            logging.getLogger(name).setLevel(logging.ERROR)
        self._ray.data.DataContext.get_current().enable_progress_bars = False

    def __call__(
        self, images: Sequence[tuple[Path, Path]], folder: Path, outputs: Sequence[Output]
    ) -> Generator[Outcome, None, None]:
        """See `in_threads`; the images come in any order.

        Raises:
            OSError, CrispsegError: as `in_threads`, of whichever actor.
        """
        if not images:
            return
        resources = self._ray.cluster_resources()
        gpus = int(resources.get("GPU", 0))
        actors = min(self._actors or gpus or int(resources.get("CPU", 1)), -(-len(images) // _IMAGES_A_CALL))
        rows = [
            {"position": position, "target": str(target), "source": os.path.abspath(source)}
            for position, (target, source) in enumerate(images)
        ]
        found = self._ray.data.from_items(rows, override_num_blocks=-(-len(rows) // _IMAGES_A_CALL)).map_batches(
            _Actor,
            fn_constructor_args=(self._make_predictor, os.path.abspath(folder), tuple(outputs)),
            batch_size=_IMAGES_A_CALL,
            num_cpus=1,
            num_gpus=1 if gpus else None,
            compute=self._ray.data.ActorPoolStrategy(size=actors),
        )
        for row in found.iter_rows():
            if row["error"]:
                raise pickle.loads(row["error"])
            stamp = None if row["size"] < 0 else (row["size"], row["changed"])
            yield Outcome(row["position"], stamp, row["failure"] or None)


class _Actor:
    def __init__(self, make_predictor: Callable[[], Predictor], folder: str, outputs: Sequence[Output]) -> None:
        self._predictor, self._folder, self._outputs = make_predictor(), Path(folder), outputs

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, list[Any]]:
        """Segments a batch of rows, and gives one row for each."""
        images = [(Path(target), Path(source)) for target, source in zip(batch["target"], batch["source"], strict=True)]
        rows: dict[str, list[Any]] = {name: [] for name in ("position", "size", "changed", "failure", "error")}

        def add(position: int, stamp: tuple[int, int], failure: str, error: bytes) -> None:
            for name, value in zip(rows, (position, *stamp, failure, error), strict=True):
                rows[name].append(value)

        try:
            for position, stamp, failure in in_threads(self._predictor, images, self._folder, self._outputs):
                add(int(batch["position"][position]), stamp or (-1, -1), failure or "", b"")
        except (OSError, CrispsegError) as error:  # Ray would wrap it in pages of its own
            add(-1, (-1, -1), "", pickle.dumps(error))
        return rows
