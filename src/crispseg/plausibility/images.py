"""What the heads and values of image files say, beside what is read of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from crispseg.io.bands import Reading
from crispseg.io.facts import ImageFacts
from crispseg.plausibility.oddity import Oddity, per_cent
from crispseg.wording import some

__all__ = ["IMAGES", "Seen", "odd_crop", "odd_images", "odd_orientation"]

IMAGES = "images that are read as something that they may not be"

_DARK_SHARE = 8  # a range that uses less than an eighth of 8 bits is odd
_DEPTHS = (8, 10, 12, 14)  # of cameras and scanners, in files of 16 bits


@dataclass
class Seen:
    """What was seen of some image files.

    Attributes:
        facts: by the file's name.
        highest: the largest stored value of a few of them, by name; of integers alone.
        half_clear: those of the few whose transparency is neither all opaque nor, in a TIFF, a further band, by name:
            whether it is laid over white.
        no_numbers: share of values that are no numbers (NaN), of those of the few that have such, by name.
    """

    facts: dict[str, ImageFacts] = field(default_factory=dict)
    highest: dict[str, int] = field(default_factory=dict)
    half_clear: dict[str, bool] = field(default_factory=dict)
    no_numbers: dict[str, float] = field(default_factory=dict)


def odd_images(seen: Seen, reading: Reading) -> list[Oddity]:
    """What is odd about image files, in the light of how they are read.

    Args:
        seen: what was seen of them.
        reading: how they are read.

    Example:
        >>> pages = Seen({"a.tif": ImageFacts("TIFF", (8, 8), bands=1, pages=3)})
        >>> odd_images(pages, Reading())[0].detail
        '1 image has several pages, and only the first is read: a.tif; where they are bands, write one page of 3 bands'
    """
    return [
        Oddity(IMAGES, detail)
        for detail in (*_pages(seen), *_bands(seen, reading), *_range(seen, reading), *_no_numbers(seen))
    ]


def _which(names: Sequence[str], whole: int) -> tuple[str, str, str]:
    """``3 of 10 images``, the ending of a verb, and the first names."""
    count = f"{len(names)} image{'s' * (len(names) > 1)}" if len(names) == whole else f"{len(names)} of {whole} images"
    return count, "have" if len(names) > 1 else "has", some(names, 3)


def _those(seen: Seen, fits: Callable[[ImageFacts], bool]) -> list[str]:
    return [name for name, facts in seen.facts.items() if fits(facts)]


def _pages(seen: Seen) -> list[str]:
    if not (names := _those(seen, lambda facts: facts.pages > 1)):
        return []
    count, have, listed = _which(names, len(seen.facts))
    pages = max(seen.facts[name].pages for name in names)
    cure = f"where they are bands, write one page of {pages} bands"
    return [f"{count} {have} several pages, and only the first is read: {listed}; {cure}"]


def _bands(seen: Seen, reading: Reading) -> list[str]:
    if reading.bands is not None:
        return []
    said = []
    if names := _those(seen, lambda facts: facts.bands - facts.alpha == 2):
        count, have, listed = _which(names, len(seen.facts))
        said.append(
            f"{count} {have} two bands, of which the first is read as grey: {listed}; data.bands=[1,2] takes both, "
            "data.bands=[1] says that one is meant"
        )
    if names := _those(seen, lambda facts: facts.bands > 3 + facts.alpha):
        count, have, listed = _which(names, len(seen.facts))
        most = max(seen.facts[name].bands for name in names)
        every = ",".join(map(str, range(1, most + 1)))
        said.append(
            f"{count} {have} more than three bands, of which 1, 2 and 3 are read as red, green and blue: {listed}; "
            f"data.bands=[3,2,1] would take others, data.bands=[{every}] all {most}, and data.bands=[1,2,3] says that "
            "these three are meant"
        )
    if names := [name for name, laid in seen.half_clear.items() if not laid]:
        count, have, listed = _which(names, len(seen.facts))
        said.append(
            f"{count} {have} a fourth band that is tagged as transparency and cannot be that by its values, so it is "
            f"left out: {listed}; data.bands=[1,2,3,4] would take it, data.bands=[1,2,3] says that the three are meant"
        )
    if names := [name for name, laid in seen.half_clear.items() if laid]:
        count, have, listed = _which(names, len(seen.facts))
        said.append(
            f"{count} {have} transparent pixels, which are laid over white: {listed}; data.bands=[1,2,3] takes the "
            "colours as they are stored"
        )
    return said


def _no_numbers(seen: Seen) -> list[str]:
    """Where nothing was measured, as satellites' images have it."""
    if not (names := [*seen.no_numbers]):
        return []
    count, have, listed = _which(names, len(seen.facts))
    most = per_cent(max(seen.no_numbers.values()), 1)
    return [
        f"{count} {have} values that are no numbers (NaN, up to {most} of one), which are read as black: {listed}; "
        "where nothing was measured, mark these pixels as ignored in the masks"
    ]


def _range(seen: Seen, reading: Reading) -> list[str]:
    """Of 10 and 12 bits in files of 16, which come out nearly black; over all that were decoded, not one dark image."""
    said = []
    for bits in (8, 16):
        found = {name: top for name, top in seen.highest.items() if seen.facts[name].bits == bits}
        highest = max(found.values(), default=0)
        if not highest:
            continue
        white = 2**bits - 1 if reading.value_range is None else reading.value_range[1]
        depth = next((depth for depth in _DEPTHS if highest < 2**depth), 16)
        if reading.value_range is not None and highest > 1.02 * white:
            said.append(
                f"image values go up to {highest}, and above {white:.6g} all is white (data.bit_depth or "
                f"data.value_range): {some(found, 3)}; say data.bit_depth={depth}"
            )
        elif bits == 16 and reading.value_range is None and depth < 16:
            said.append(
                f"images of 16 bits whose values go up to {highest} alone, as of {depth} bits, come out nearly black: "
                f"{some(found, 3)}; say data.bit_depth={depth} (data.bit_depth=16 where they are only dark)"
            )
        elif bits == 8 and reading.value_range is None and highest * _DARK_SHARE <= white:
            said.append(
                f"image values go up to {highest} of 255 alone, which is nearly black: {some(found, 3)}; give the "
                f"images that these were made of, or say data.value_range=[0,{highest}]"
            )
    return said


def odd_crop(median_hw: tuple[int, int] | None, crop_hw: tuple[int, int], scale: float) -> list[Oddity]:
    """Whether training sees little of an image at once.

    Args:
        median_hw: of the training images.
        crop_hw: of what is trained on.
        scale: the smallest at which images are looked at, which shows most of them.

    Example:
        >>> odd_crop((1024, 2048), (512, 512), 0.75)
        []
        >>> "data.scale_range" in odd_crop((4000, 6000), (512, 512), 0.75)[0].detail
        True
    """
    if median_hw is None:
        return []
    times = median_hw[0] * median_hw[1] * scale**2 / (crop_hw[0] * crop_hw[1])
    if times < _LARGER:
        return []
    shown = min(max(crop_hw) / max(median_hw) * 2, 1.0)
    detail = (
        f"images of {median_hw[0]}×{median_hw[1]} (height × width, the median) are {times:.0f} times as large as what "
        f"training sees at once, crops of {crop_hw[0]}×{crop_hw[1]}: make the images smaller, look at them smaller "
        f"(data.scale_range=[{shown / 2:.2f},{shown:.2f}]), or raise data.crop_hw"
    )
    return [Oddity(IMAGES, detail)]


_LARGER = 24  # Cityscapes is 8 of the default crops, photographs of 12 million pixels 46


def odd_orientation(orientations: Mapping[str, tuple[int, int]], exif: str | None) -> list[Oddity]:
    """What is not known of images that EXIF turns, where their masks say nothing of turning.

    Args:
        orientations: of image and mask, by the image's name; those of upright images may be left out.
        exif: ``data.exif``, which decides.
    """
    turned = {name: image for name, (image, mask) in orientations.items() if image != 1 and mask == 1}
    if not turned or exif is not None:
        return []
    kinds = sorted({*turned.values()})
    detail = (
        f"{len(turned)} image{'s are' if len(turned) > 1 else ' is'} turned by EXIF (orientation {some(kinds, 8)}) and "
        f"their masks are not: {some(turned, 3)}; say data.exif=apply if masks fit the images as viewers show them, "
        "which is assumed, or data.exif=ignore if they fit the pixels as stored"
    )
    return [Oddity(IMAGES, detail)]
