"""What a service has done, in the text that Prometheus reads."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator

__all__ = ["Measures"]

_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)  # seconds

_Labels = tuple[tuple[str, str], ...]


class Measures:
    """Counts, from any thread.

    Example:
        >>> measures = Measures()
        >>> measures.answered("mask", "camvid", 200, seconds=0.3)
        >>> [line for line in measures.to_text(waiting=0).splitlines() if line.startswith("crispseg_requests")]
        ['crispseg_requests_total{model="camvid",output="mask",status="200"} 1']
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[tuple[str, _Labels]] = Counter()
        self._times: dict[str, list[float]] = {}  # by output: a count per bucket, all, their sum

    def answered(self, output: str, model: str, status: int, seconds: float) -> None:
        """A request was answered, or refused.

        Args:
            output: what it asked for.
            model: of whom; empty if it is unknown.
            status: of HTTP.
            seconds: from its head to its answer.
        """
        with self._lock:
            self._count("requests_total", 1, model=model, output=output, status=str(status))
            times = self._times.setdefault(output, [0.0] * (len(_BUCKETS) + 2))
            for position, limit in enumerate(_BUCKETS):
                times[position] += seconds <= limit
            times[-2] += 1
            times[-1] += seconds

    def segmented(self, model: str, images: int, pixels: int, seconds: float) -> None:
        """A batch went through a network.

        Args:
            model: its name.
            images: of the batch.
            pixels: of all of them.
            seconds: that it took.
        """
        with self._lock:
            for name, value in (("images", images), ("batches", 1), ("pixels", pixels), ("network_seconds", seconds)):
                self._count(f"{name}_total", value, model=model)

    def images(self) -> int:
        """How many were segmented."""
        with self._lock:
            return int(sum(value for (name, _), value in self._counts.items() if name == "images_total"))

    def seconds_an_image(self) -> float:
        """That networks took so far; 0 before the first."""
        with self._lock:
            totals: Counter[str] = Counter()
            for (name, _), value in self._counts.items():
                totals[name] += value
            return totals["network_seconds_total"] / max(totals["images_total"], 1)

    def to_text(self, waiting: int) -> str:
        """All of them.

        Args:
            waiting: requests that are not answered yet.
        """
        with self._lock:
            return "\n".join((*self._lines(waiting), ""))

    def _lines(self, waiting: int) -> Iterator[str]:
        yield "# TYPE crispseg_waiting gauge"
        yield f"crispseg_waiting {waiting}"
        shown = ""
        for (name, labels), value in sorted(self._counts.items()):
            if name != shown:
                yield f"# TYPE crispseg_{name} counter"
                shown = name
            yield (
                f"crispseg_{name}{{{_written(labels)}}} {value:g}"
                if value < 1e6
                else (f"crispseg_{name}{{{_written(labels)}}} {value:.0f}")
            )
        if self._times:
            yield "# TYPE crispseg_request_seconds histogram"
        for output, times in sorted(self._times.items()):
            for limit, count in zip((*map(str, _BUCKETS), "+Inf"), times, strict=False):
                yield f'crispseg_request_seconds_bucket{{output="{output}",le="{limit}"}} {count:.0f}'
            yield f'crispseg_request_seconds_sum{{output="{output}"}} {times[-1]:.6f}'
            yield f'crispseg_request_seconds_count{{output="{output}"}} {times[-2]:.0f}'

    def _count(self, name: str, value: float, **labels: str) -> None:
        self._counts[name, tuple(sorted(labels.items()))] += value  # type: ignore[assignment] # seconds are floats


def _written(labels: _Labels) -> str:
    """Names of models and outputs need no escapes: both are of letters, digits, dots, dashes and underscores."""
    return ",".join(f'{name}="{value}"' for name, value in labels)
