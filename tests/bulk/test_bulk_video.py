"""Videos: every frame in its turn, times kept, and nothing whole where the video is not."""

import re
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch

import crispseg
from crispseg.bulk import are_videos, choose_video_outputs, collect_images, segment_videos
from crispseg.errors import ConfigError
from crispseg.io import read_label_ids

TWO = crispseg.LabelSpace.from_dict({"name": "two", "classes": ["dark", "bright"]})
FRAMES, SIZE = 12, (32, 48)


def bright_right(images: torch.Tensor) -> crispseg.SegmentationOutput:
    grey = images.mean(dim=1, keepdim=True)
    return crispseg.SegmentationOutput(logits=torch.cat((0.5 - grey, grey - 0.5), dim=1))


def picture(number: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """Bright from column 2 × number on."""
    pixels = np.full((*size, 3), 20, np.uint8)
    pixels[:, 2 * number :] = (230, 240, 220)
    return pixels


def write(path: Path, frames: int = FRAMES, size: tuple[int, int] = SIZE, codec: str = "libx264", **options) -> Path:
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream(codec, rate=5)
        stream.height, stream.width, stream.pix_fmt = *size, "yuv444p" if codec == "libx264" else "yuv420p"
        for number in range(frames):
            frame = av.VideoFrame.from_ndarray(picture(number, size), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 5)
            container.mux(stream.encode(frame))
        if frames:
            container.mux(stream.encode(None))
    return path


def segment(path: Path, **options) -> crispseg.bulk.Segmented:
    out = path.parent / "out"
    return segment_videos(crispseg.Predictor(bright_right, TWO), collect_images([path], out), out, **options)


def read(path: Path) -> list[tuple[Fraction, np.ndarray]]:
    with av.open(str(path)) as container:
        return [(frame.pts * frame.time_base, frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]


@pytest.mark.parametrize(("name", "codec"), [("a.mp4", "libx264"), ("a.mkv", "libx264"), ("a.avi", "mpeg4")])
def test_every_frame_in_its_turn(tmp_path: Path, name: str, codec: str):
    path = write(tmp_path / name, codec=codec)
    seen = []
    result = segment(path, progress=lambda *told: seen.append(told[:2]))
    assert (result.images, result.done, result.failures) == (1, 1, ())
    assert seen == [(path, number) for number in range(1, FRAMES + 1)]
    masks = sorted((tmp_path / "out/a_labels").iterdir())
    assert [mask.name for mask in masks] == [f"{number:06}.png" for number in range(FRAMES)]
    for number, mask in enumerate(masks):
        assert (read_label_ids(mask) == (np.arange(SIZE[1]) >= 2 * number)).mean() > 0.95
    times, overlays = zip(*read(tmp_path / "out/a_overlay.mp4"), strict=True)
    assert [time - times[0] for time in times] == [Fraction(number, 5) for number in range(FRAMES)]
    expected = crispseg.Predictor(bright_right, TWO)(picture(5)).overlay()
    assert np.abs(overlays[5].astype(int) - expected)[:, [2, -2]].max() < 12
    assert segment(path).earlier == 1


def test_odd_sides_and_a_turned_camera(tmp_path: Path):
    path = write(tmp_path / "a.mp4", size=(31, 49))
    matrix = b"".join(value.to_bytes(4, signed=True) for value in (0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000))
    turned = b"".join(value.to_bytes(4, signed=True) for value in (0, 0x10000, 0, -0x10000, 0, 0, 0, 0, 0x40000000))
    content = path.read_bytes()
    track = content.index(b"tkhd")
    path.write_bytes(content[:track] + content[track:].replace(matrix, turned, 1))
    assert segment(path).failures == ()
    mask = read_label_ids(tmp_path / "out/a_labels/000005.png")
    assert mask.shape == (49, 31)
    assert (mask[12:] == 1).all()  # what was right is below, as players show a quarter turn clockwise
    assert read(tmp_path / "out/a_overlay.mp4")[0][1].shape == (50, 32, 3)


def broken(tmp_path: Path, kind: str) -> Path:
    path = tmp_path / "a.mp4"
    if kind == "text":
        path.write_text("no video\n" * 100)
    elif kind == "playlist":
        write(tmp_path / "other.mp4")
        path.write_text(f"ffconcat version 1.0\nfile {tmp_path}/other.mp4\n")
    elif kind == "empty":
        path.touch()
    elif kind == "cut":
        content = write(path).read_bytes()
        path.write_bytes(content[: len(content) // 2])
    elif kind in ("cut behind its table", "cut stream"):
        options = {"movflags": "faststart"} if kind != "cut stream" else {}
        path = path.with_suffix(".mkv" if kind == "cut stream" else ".mp4")
        content = write(path, frames=20, **options).read_bytes()
        path.write_bytes(content[: len(content) - len(content) // 4])
    elif kind == "sound":
        with av.open(str(path), "w") as container:
            stream = container.add_stream("aac", rate=8000)
            sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            sound.sample_rate = 8000
            container.mux(stream.encode(sound))
            container.mux(stream.encode(None))
    elif kind == "frameless":
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libx264", rate=5)
            stream.height, stream.width, stream.pix_fmt = *SIZE, "yuv420p"
            container.start_encoding()
    return path


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("text", "no video that can be read"),
        ("playlist", "no video that can be read"),
        ("empty", "no video that can be read"),
        ("missing", "no such file"),
        ("cut", "no video that can be read"),
        ("cut behind its table", "broken behind its frame|ends after"),
        ("cut stream", "broken behind its frame|ends after"),
        ("sound", "holds no video"),
        ("frameless", "without frames|no video"),
    ],
)
def test_what_is_no_whole_video_is_named_and_leaves_nothing(tmp_path: Path, kind: str, said: str):
    path, out = broken(tmp_path, kind), tmp_path / "out"
    result = segment_videos(crispseg.Predictor(bright_right, TWO), {Path("a"): path}, out)
    assert result.done == 0
    (failure,) = result.failures
    assert str(path) in failure.message
    assert re.search(said, failure.message), failure.message
    assert [entry.name for entry in out.iterdir()] == ["segmented.jsonl"]


def test_large_frames_are_refused(tmp_path: Path):
    path = write(tmp_path / "a.mp4")
    predictor = crispseg.Predictor(bright_right, TWO, max_pixels=1000)
    assert "million pixels" in segment_videos(predictor, {Path("a"): path}, tmp_path / "out").failures[0].message


def test_an_output_alone(tmp_path: Path):
    segment(write(tmp_path / "a.mp4", frames=2), outputs=choose_video_outputs(["overlay"]))
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a_overlay.mp4", "segmented.jsonl"]
    with pytest.raises(ConfigError, match="no output of a video is called 'boundaries'"):
        choose_video_outputs(["boundaries"])


def test_videos_and_images_are_not_mixed(tmp_path: Path):
    assert are_videos(["a.mp4", "b.MOV"])
    with pytest.raises(ConfigError, match=r"a\.mp4 is a video and photos is none"):
        are_videos(["photos", "a.mp4"])
