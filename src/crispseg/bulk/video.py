"""Videos: frame by frame through the same predictor, into a video of overlays and a folder of label masks.

One thread decodes ahead of the network and one encodes behind it. A video's results appear when all its frames are in
them, or not at all.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from crispseg.bulk.collect import VIDEO_SUFFIXES
from crispseg.bulk.outputs import chosen
from crispseg.bulk.record import Record, settings_of, stamp_of
from crispseg.bulk.run import Failure, Segmented, shard_of
from crispseg.errors import CrispsegError, DataError
from crispseg.extras import needed
from crispseg.io.files import atomic_folder, atomic_write, remove_leftovers
from crispseg.pictures.colour import Picture
from crispseg.threads import Workers

if TYPE_CHECKING:
    from crispseg.inference import Prediction, Predictor

__all__ = ["VIDEO_OUTPUTS", "VideoOutput", "choose_video_outputs", "segment_videos"]

# FFmpeg knows formats that name other files, and addresses, to be opened in their place.
_OPENING = {"protocol_whitelist": "file", "format_whitelist": "mov,mp4,matroska,webm,avi"}
_BT709, _LIMITED = 1, 1  # of ITU-T H.273, as HD video has them and as players take untagged video to be
_FRAMES_WAITING = 8


class VideoOutput(NamedTuple):
    """One of the results of a video; a file or folder."""

    name: str
    ending: str
    detail: str = ""


VIDEO_OUTPUTS = (VideoOutput("labels", "_labels"), VideoOutput("overlay", "_overlay.mp4"))
"""What is written of a video: label masks 000000.png, … in a folder, and the overlay as H.264."""


def choose_video_outputs(names: Sequence[str]) -> tuple[VideoOutput, ...]:
    """Some of `VIDEO_OUTPUTS`, by name.

    Raises:
        ConfigError: if one is unknown, or none is named.
    """
    return chosen(VIDEO_OUTPUTS, names, "output of a video")


def segment_videos(
    predictor: Predictor,
    videos: Mapping[Path, Path],
    out: str | os.PathLike[str],
    outputs: Sequence[VideoOutput] = VIDEO_OUTPUTS,
    progress: Callable[[Path, int, int | None, float], object] | None = None,
    *,
    shard: tuple[int, int] | None = None,
    overwrite: bool = False,
) -> Segmented:
    """Segment videos into a folder, as ``crispseg segment`` does; those that cannot be are reported at the end.

    Args:
        predictor: that segments their frames.
        videos: for each, by its result's path below `out` without ending: its file.
        out: the folder; made if need be.
        outputs: what is written of each.
        progress: called after each frame, with the video's file, frames that are done, frames in all if the file says
            so, and the seconds since the video was begun.
        shard: see `segment_images`; whole videos are shared.
        overwrite: see `segment_images`.

    Raises:
        OSError: if a file cannot be written.
        ConfigError: as `segment_images`; or if PyAV is not installed.
        WeightsError: if what the model gives is not finite.
    """
    needed("av", "video", "reading videos")
    folder = Path(out)
    of_shard = shard_of(videos, shard)
    failures = []
    with Record(folder, settings_of(predictor), shard, overwrite) as record:
        remove_leftovers(folder, below=True)
        missing = [one for one in of_shard if not record.holds(one[0], stamp_of(one[1]), outputs)]
        for target, source in missing:
            stamp = stamp_of(source)
            try:
                _segment_video(predictor, source, folder / target, outputs, progress)
            except DataError as error:
                failures.append(Failure(source, str(error)))
            else:
                record.add(target, stamp, outputs)
    earlier = len(of_shard) - len(missing)
    return Segmented(len(of_shard), len(of_shard) - len(failures), earlier, tuple(failures))


def _segment_video(
    predictor: Predictor,
    source: Path,
    stem: Path,
    outputs: Sequence[VideoOutput],
    progress: Callable[[Path, int, int | None, float], object] | None,
) -> None:
    started, names = time.monotonic(), {output.name: f"{stem}{output.ending}" for output in outputs}
    with ExitStack() as stack:
        video = stack.enter_context(_opened(source, predictor.max_pixels))
        masks = stack.enter_context(atomic_folder(names["labels"])) if "labels" in names else None
        overlay = stack.enter_context(_Overlay.writing(names["overlay"], video)) if "overlay" in names else None
        decoder, encoder = stack.enter_context(Workers(1)), stack.enter_context(Workers(1))
        frames = video.frames()
        times: list[int | None] = []

        def pictures() -> Iterator[Picture]:
            # One thread takes one frame after another, so that they come in order.
            for frame in decoder.ahead(lambda _: next(frames, None), itertools.count(), lambda _: _FRAMES_WAITING):
                if frame is None:
                    return
                times.append(frame.time)
                yield frame.picture

        def write(one: tuple[int, Prediction]) -> None:
            number, prediction = one
            if masks is not None and not encoder.leaving.is_set():
                prediction.save(masks / f"{number:06}.png")
            if overlay is not None and not encoder.leaving.is_set():
                overlay.add(prediction.overlay(), times[number])

        predictions = predictor.predict_many(pictures())
        for done, _ in enumerate(encoder.behind(write, predictions, lambda _: _FRAMES_WAITING), start=1):
            if progress is not None:
                progress(source, done, video.count, time.monotonic() - started)
        video.check_whole(len(times))


class _Frame(NamedTuple):
    picture: Picture
    time: int | None  # in the video's own unit


class _Video:
    """A video that is read; every fault of it is a `DataError` that names it."""

    def __init__(self, source: Path, container: Any, max_pixels: int) -> None:
        self._source, self._container, self._max_pixels = source, container, max_pixels
        if not container.streams.video:
            raise DataError(f"{source}: holds no video; sound alone, perhaps")
        self._stream = container.streams.video[0]
        self._stream.thread_type = "AUTO"
        self.count: int | None = self._stream.frames or None
        self.rate = Fraction(self._stream.average_rate or self._stream.guessed_rate or 25)
        self.unit = self._stream.time_base

    def frames(self) -> Iterator[_Frame]:
        """RGB as a viewer shows it, upright."""
        size_hw, number = None, 0
        with _faults(self._source, lambda: f"broken behind its frame {number}"):
            for frame in self._container.decode(self._stream):
                if frame.width * frame.height > self._max_pixels:
                    raise DataError(
                        f"{self._source}: frames of {frame.width * frame.height / 1e6:.1f} million pixels found, at "
                        f"most {self._max_pixels / 1e6:.1f} million expected; allow more by --max-pixels if memory does"
                    )
                picture = np.rot90(frame.to_ndarray(format="rgb24"), frame.rotation // 90)
                size_hw = size_hw or picture.shape
                if picture.shape != size_hw:
                    raise DataError(f"{self._source}: frame {number} is of another size than those before it; split it")
                number += 1
                yield _Frame(np.ascontiguousarray(picture), frame.pts)

    def check_whole(self, decoded: int) -> None:
        """Refuse what ends before its time."""
        if decoded == 0:
            raise DataError(f"{self._source}: a video without frames")
        length = self._stream.duration * self.unit if self._stream.duration else None
        if length is None and self._container.duration:
            length = Fraction(self._container.duration, 10**6)
        expected = self.count or (round(length * self.rate) if length else 0)
        # Players skip frames before the first to be shown; and containers round, or count the sound's end.
        if expected - decoded > max(self.rate, expected / 50):
            raise DataError(
                f"{self._source}: ends after {decoded} of {expected} frames; copy or download it again, or let another "
                "tool make a whole video of what is there"
            )


@contextmanager
def _opened(source: Path, max_pixels: int) -> Iterator[_Video]:
    import av

    with _faults(source, lambda: "no video that can be read"):
        if not source.is_file():
            raise DataError(f"{source}: no such file; a video was expected")
        container = av.open(os.fspath(source), options=_OPENING)
    with container:
        yield _Video(source, container, max_pixels)


@contextmanager
def _faults(source: Path, found: Callable[[], str]) -> Iterator[None]:
    import av

    try:
        yield
    except CrispsegError:
        raise
    except av.error.PermissionError as error:
        raise DataError(f"{source}: may not be read ({error.strerror}); change its permissions") from error
    except (av.error.FFmpegError, ValueError) as error:
        known = ", ".join(sorted(suffix[1:] for suffix in VIDEO_SUFFIXES))
        raise DataError(
            f"{source}: {found()} ({getattr(error, 'strerror', None) or error}); copy or download it again, or convert "
            f"it to one of {known}"
        ) from error


_TO_BEGIN_AT_ONCE = {"movflags": "faststart"}  # browsers play it while it loads


class _Overlay:
    """An H.264 video that is written: 4:2:0, in HD's colours, with the times of the video that it shows."""

    def __init__(self, container: Any, video: _Video) -> None:
        self._container, self._video = container, video
        self._stream: Any = None
        self._last = -1

    @classmethod
    @contextmanager
    def writing(cls, path: str, video: _Video) -> Iterator[_Overlay]:
        """Into a file that appears whole or not at all."""
        import av

        with atomic_write(path) as temporary, av.open(str(temporary), "w", options=_TO_BEGIN_AT_ONCE) as container:
            overlay = cls(container, video)
            yield overlay
            overlay.finish()

    def add(self, picture: Picture, when: int | None) -> None:
        """The next frame; odd sides get a row or column more, for colours are stored for squares of four."""
        import av

        height, width, _ = picture.shape
        even = np.pad(picture, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        if self._stream is None:
            self._stream = self._started(even.shape[0], even.shape[1])
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(even), format="rgb24").reformat(
            format="yuv420p", dst_colorspace=_BT709, dst_color_range=_LIMITED
        )
        # Some files tell no times, or tell one twice, which the writer refuses.
        self._last = self._last + 1 if when is None else max(when, self._last + 1)
        frame.pts, frame.time_base = self._last, self._video.unit
        self._container.mux(self._stream.encode(frame))

    def finish(self) -> None:
        """What the encoder still holds."""
        if self._stream is not None:
            self._container.mux(self._stream.encode(None))

    def _started(self, height: int, width: int) -> Any:
        stream = self._container.add_stream("libx264", rate=self._video.rate)
        stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
        stream.options = {"crf": "20", "preset": "veryfast"}
        context = stream.codec_context
        context.time_base = self._video.unit
        context.colorspace = context.color_primaries = context.color_trc = _BT709
        context.color_range = _LIMITED
        return stream
