"""The drawings of the pages, made by code: `python docsite/figures.py` writes them into docs/pictures.

The architecture of each system, redrawn from its paper's description with the names that the code has, and what
boundary scores count.
"""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from pathlib import Path

import numpy as np
import numpy.typing as npt

from crispseg.metrics import boundary_f_score, confusion_counts, iou_from_counts

PICTURES = Path(__file__).parents[1] / "docs" / "pictures"
STYLE = """
text { font: 15px sans-serif; fill: #1a1a1a; text-anchor: middle }
.small { font-size: 12.5px; fill: #444 }
.left { text-anchor: start }
.wire { fill: none; stroke: #555; stroke-width: 1.6 }
.map { fill: #e9eef5; stroke: #5b7397 }
.layer { fill: #fff; stroke: #1a1a1a }
.gate { fill: #fdf0d5; stroke: #b7791f }
.loss { fill: #fde8e4; stroke: #c0392b; stroke-dasharray: 5 3 }
.frame { fill: none; stroke: #999; stroke-dasharray: 2 4 }
"""  # light and dark by brightness, so that the kinds of boxes are told apart in grey as well
LINE_PX = 18
KINDS = "blue: maps · white: layers · yellow: gates · red, dashed: losses · ‖: beside each other"


class Diagram:
    """Boxes and arrows as SVG; x and y of a box are its middle."""

    def __init__(self, width: int, height: int, title: str) -> None:
        self.size, self.title = (width, height), title
        self.parts: list[str] = []

    def box(self, x: float, y: float, text: str, kind: str = "layer", width: float = 112, height: float = 44) -> None:
        """A box with a text of one or more lines."""
        rounded = 22 if kind == "gate" else 4
        self.parts.append(
            f'<rect class="{kind}" x="{x - width / 2:g}" y="{y - height / 2:g}" width="{width:g}" height="{height:g}" '
            f'rx="{rounded}"/>'
        )
        self.text(x, y, text)

    def text(self, x: float, y: float, text: str, style: str = "") -> None:
        """Lines of text around a place; lines after the first are small."""
        lines = text.split("\n")
        for index, line in enumerate(lines):
            at = y + 5 + (index - (len(lines) - 1) / 2) * LINE_PX
            name = " ".join(filter(None, (style, "small" if index else "")))
            self.parts.append(f'<text class="{name}" x="{x:g}" y="{at:g}">{escape(line)}</text>')

    def arrow(self, *points: tuple[float, float], label: str = "") -> None:
        """A way through points, with an arrow's head at the last."""
        way = " ".join(f"{x:g},{y:g}" for x, y in points)
        self.parts.append(f'<polyline class="wire" points="{way}" marker-end="url(#head)"/>')
        if label:
            (x0, y0), (x1, y1) = points[-2:]
            self.text((x0 + x1) / 2, (y0 + y1) / 2 - 10, label, "small")

    def frame(self, x: float, y: float, width: float, height: float, text: str) -> None:
        """A dotted frame from its upper left corner, with a text inside."""
        self.parts.append(f'<rect class="frame" x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="8"/>')
        self.text(x + 10, y + 13, text, "left small")

    def to_svg(self) -> str:
        """The file's text."""
        width, height = self.size
        head = '<marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
        return "\n".join(
            [
                f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">',
                f"<title>{escape(self.title)}</title>",
                f"<style>{STYLE}</style>",
                f'<defs>{head}<path d="M0 0L8 4L0 8z" fill="#555"/></marker></defs>',
                *self.parts,
                "</svg>\n",
            ]
        )


def gscnn() -> str:
    """Figure 2 of GSCNN, with ∇I in both places."""
    drawing = Diagram(1000, 520, "GSCNN: a regular stream, a shape stream with three gates, and their fusion")
    drawing.frame(130, 20, 500, 110, "regular stream")
    drawing.frame(130, 200, 476, 230, "")
    drawing.text(290, 418, "shape stream, at the image's resolution", "small")
    drawing.box(60, 80, "image", "map", 80)
    for x, name in ((190, "stem,\nlevel 1"), (300, "level 2"), (420, "level 3"), (540, "level 4")):
        drawing.box(x, 80, name, "map", 84)
    for start, end in ((100, 148), (232, 258), (342, 378), (462, 498)):
        drawing.arrow((start, 80), (end, 80))
    drawing.box(60, 390, "∇I\nCanny", "map", 80)
    drawing.arrow((60, 102), (60, 368))
    drawing.box(190, 320, "‖", "layer", 44)
    drawing.arrow((190, 102), (190, 298))
    drawing.arrow((100, 380), (190, 380), (190, 342))
    for x, number in ((300, 1), (420, 2), (540, 3)):
        drawing.box(x, 250, f"gate α{'₁₂₃'[number - 1]}", "gate", 92)
        drawing.box(x, 320, "residual\nblock", "layer", 84)
        drawing.arrow((x, 102), (x, 228))
        drawing.arrow((x, 298), (x, 272))
    drawing.arrow((212, 320), (258, 320))
    drawing.arrow((346, 250), (362, 250), (362, 320), (378, 320))
    drawing.arrow((466, 250), (482, 250), (482, 320), (498, 320))
    drawing.box(690, 320, "boundary s\n1 channel", "map")
    drawing.arrow((586, 250), (596, 250), (596, 320), (634, 320))
    drawing.box(690, 210, "1×1, σ\nwith ∇I", "layer")
    drawing.arrow((690, 298), (690, 232))
    drawing.arrow((100, 400), (616, 400), (616, 210), (634, 210))
    drawing.box(690, 80, "context\nASPP + s", "layer")
    drawing.arrow((582, 80), (634, 80))
    drawing.arrow((690, 188), (690, 102))
    drawing.box(820, 80, "decoder", "layer", 96)
    drawing.arrow((746, 80), (772, 80))
    drawing.arrow((218, 102), (218, 160), (820, 160), (820, 102))
    drawing.text(752, 150, "low-level features", "small")
    drawing.box(935, 80, "mask f", "map", 84)
    drawing.arrow((868, 80), (893, 80))
    drawing.box(918, 200, "cross-entropy\neq. 3", "loss", 116)
    drawing.box(830, 320, "balanced BCE\neq. 3", "loss", 116)
    drawing.box(890, 440, "dual task\neq. 4–7", "loss", 116)
    drawing.arrow((925, 102), (925, 178))
    drawing.arrow((746, 320), (772, 320))
    drawing.arrow((690, 342), (690, 440), (832, 440))
    drawing.arrow((977, 80), (990, 80), (990, 390), (920, 390), (920, 418))
    drawing.text(
        20, 490, "blue: maps · white: layers · yellow: gates · red, dashed: losses · ‖: beside each other", "left small"
    )
    return drawing.to_svg()


def decoupled() -> str:
    """Figure 2 of Decoupled."""
    drawing = Diagram(
        1000, 520, "Decoupled: body by a learned flow, edge as what is left, each supervised, then merged"
    )
    drawing.box(60, 200, "image", "map", 80)
    drawing.box(165, 200, "backbone\n+ context", "layer", 92)
    drawing.box(270, 200, "F", "map", 50)
    drawing.arrow((100, 200), (119, 200))
    drawing.arrow((211, 200), (245, 200))
    drawing.frame(320, 16, 400, 130, "body generation")
    drawing.box(380, 60, "2 strided\nconvolutions", "layer", 100)
    drawing.box(505, 60, "enlarge, ‖ F\n3×3", "layer", 100)
    drawing.box(610, 60, "flow δ", "gate", 76)
    drawing.box(680, 118, "warp", "layer", 64, 36)
    drawing.arrow((270, 178), (270, 60), (330, 60))
    drawing.arrow((430, 60), (455, 60))
    drawing.arrow((270, 125), (505, 125), (505, 82))
    drawing.arrow((555, 60), (572, 60))
    drawing.arrow((648, 60), (680, 60), (680, 100))
    drawing.arrow((270, 118), (648, 118))
    drawing.box(790, 118, "F_body", "map", 84)
    drawing.arrow((712, 118), (748, 118))
    drawing.box(430, 240, "F − F_body", "map", 100)
    drawing.arrow((295, 210), (340, 240), (380, 240))
    drawing.arrow((790, 140), (790, 180), (430, 180), (430, 218))
    drawing.box(430, 330, "F_fine", "map", 84)
    drawing.text(300, 330, "low-level features, 1×1", "small")
    drawing.arrow((165, 222), (165, 350), (388, 350))
    drawing.box(560, 280, "‖, γ: 1×1", "layer", 92)
    drawing.arrow((480, 240), (514, 270))
    drawing.arrow((472, 330), (514, 295))
    drawing.box(680, 280, "F_edge", "map", 84)
    drawing.arrow((606, 280), (638, 280))
    drawing.box(790, 220, "+", "layer", 40, 40)
    drawing.arrow((790, 140), (790, 200))
    drawing.arrow((722, 280), (760, 250), (772, 232))
    drawing.box(880, 220, "F̂", "map", 50)
    drawing.arrow((810, 220), (855, 220))
    drawing.box(880, 330, "‖ F, 2 × 3×3", "layer", 104)
    drawing.arrow((880, 242), (880, 308))
    drawing.arrow((270, 222), (270, 400), (810, 400), (840, 352))
    drawing.box(880, 430, "mask", "map", 84)
    drawing.arrow((880, 352), (880, 408))
    drawing.box(925, 118, "loss of the body\nrelaxed at edges", "loss", 124)
    drawing.arrow((832, 118), (863, 118))
    drawing.box(880, 494, "cross-entropy", "loss", 116, 32)
    drawing.arrow((880, 452), (880, 478))
    drawing.box(620, 365, "BCE: edge b\neq. 4", "loss", 112)
    drawing.arrow((680, 302), (640, 343))
    drawing.box(730, 455, "loss of hard edges\nσ(b) > t_b, eq. 5", "loss", 140)
    drawing.arrow((838, 440), (800, 450))
    drawing.arrow((640, 387), (670, 433))
    drawing.text(
        20,
        495,
        "blue: maps · white: layers · yellow: the flow · red, dashed: losses · ‖: beside each other",
        "left small",
    )
    return drawing.to_svg()


def gff() -> str:
    """Figures 2 and 3 of GFF, with the dense feature pyramid."""
    drawing = Diagram(1000, 520, "GFF: four levels, a gate for each, fully fused; then the dense feature pyramid")
    drawing.box(60, 400, "image", "map", 80)
    drawing.frame(120, 16, 96, 430, "backbone")
    drawing.frame(330, 16, 240, 430, "gated fully fusion, eq. 5")
    drawing.frame(660, 6, 160, 440, "")
    rows = {4: 110, 3: 210, 2: 305, 1: 400}
    drawing.arrow((100, 400), (126, 400))
    for level, y in rows.items():
        sub = "₁₂₃₄"[level - 1]
        drawing.box(168, y, f"level {level}", "map", 84)
        drawing.box(270, y, f"1×1\nX{sub}", "layer", 70)
        drawing.arrow((210, y), (235, y))
        drawing.box(385, y, f"gate G{sub}", "gate", 86)
        drawing.arrow((305, y), (342, y))
        drawing.box(520, y, f"X̃{sub}", "map", 60)
        drawing.arrow((428, y), (490, y))
        if level > 1:
            drawing.arrow((168, rows[level - 1] - 22), (168, y + 22))
        drawing.box(612, y, "2 × 3×3", "layer", 74, 36)
        drawing.arrow((550, y), (575, y))
        drawing.arrow((649, y), (690, y))
        drawing.box(750, y, f"H{'₂₃₄₅'[4 - level]}: 1×1 → y{'₂₃₄₅'[4 - level]}", "layer", 120)
    for high in rows.values():
        for low in rows.values():
            if high != low:
                drawing.parts.append(f'<path class="wire" style="stroke:#bbb" d="M428 {high}L490 {low}"/>')
    drawing.box(270, 50, "context y₀", "layer", 92, 36)
    drawing.arrow((168, 88), (168, 50), (224, 50))
    drawing.box(750, 50, "H₁: 1×1 → y₁", "layer", 120, 36)
    drawing.arrow((316, 50), (690, 50))
    drawing.parts.append('<path class="wire" d="M674 50V400"/>')
    drawing.text(740, 432, "dense pyramid, eq. 6", "small")
    drawing.box(875, 250, "‖", "layer", 40, 340)
    for y in (50, *rows.values()):
        drawing.arrow((810, y), (855, max(y, 90)))
    drawing.box(955, 250, "mask", "map", 72)
    drawing.arrow((895, 250), (919, 250))
    drawing.box(950, 400, "cross-entropy", "loss", 98, 36)
    drawing.arrow((955, 272), (955, 382))
    drawing.text(
        20,
        470,
        "Grey lines: each level takes from each other one what that one's gate lets out and its own gate lets in. "
        "Each H reads y₀ and every X̃ above and beside it.",
        "left small",
    )
    drawing.text(
        20,
        495,
        f"{KINDS}. Without the pyramid (head gff), context and X̃ go into ‖ at once.",
        "left small",
    )
    return drawing.to_svg()


Mask = npt.NDArray[np.int64]
RADIUS_PX = 1
CELL_PX = 11


def sign() -> dict[str, Mask]:
    """A round sign on a pole, and three predictions of it."""
    y, x = np.mgrid[:26, :24]
    truth = ((y - 8) ** 2 + (x - 11.5) ** 2 <= 36) | ((y > 8) & (abs(x - 11.5) < 1))
    fat = (((y - 8) ** 2 + (x - 11.5) ** 2) <= 49) | ((y > 8) & (abs(x - 11.5) < 2))
    blob = ((y - 8) ** 2 + (x - 11.5) ** 2 <= 36) | ((y > 22) & (abs(x - 11.5) < 1))
    masks = {
        "truth": truth,
        "1 px too fat": fat,
        "2 px to the right": np.roll(truth, 2, 1),
        "most of its pole missed": blob,
    }
    return {name: mask.astype(np.int64) for name, mask in masks.items()}


def sign_scores(prediction: Mask, truth: Mask) -> tuple[float, dict[int, float]]:
    """IoU and boundary F, by radius, of the sign's class."""
    iou = iou_from_counts(confusion_counts(prediction, truth, num_classes=2))[1]
    f = boundary_f_score(prediction, truth, num_classes=2, radii_px=(1, 2))[:, 1]
    return float(iou), {1: float(f[0]), 2: float(f[1])}


def boundary_pixels(mask: Mask) -> npt.NDArray[np.bool_]:
    """Where a mask differs from its right, lower or lower-right neighbour."""
    beyond = np.pad(mask, ((0, 1), (0, 1)), mode="edge")
    return (mask != beyond[:-1, 1:]) | (mask != beyond[1:, :-1]) | (mask != beyond[1:, 1:])


def boundary_scores() -> str:
    """What boundary F within a pixel counts."""
    masks = sign()
    drawing = Diagram(
        1180, 400, "A sign and three predictions of it, with the boundary pixels that match and those that do not"
    )
    drawing.parts.append(
        "<style>.on{fill:#dbe3ee}.edge{fill:#1f4e79}.right{fill:#1f4e79}.wrong{fill:#e8731a}.missed{fill:none;stroke:#e8731a;stroke-width:2}</style>"
    )
    true_edge = boundary_pixels(masks["truth"])
    for index, (name, mask) in enumerate(masks.items()):
        left, edge = 20 + index * 292, boundary_pixels(mask)
        drawing.parts += cells(mask == 1, left, "on")
        if name == "truth":
            drawing.parts += cells(true_edge, left, "edge")
            drawing.text(left + 132, 340, "truth\nits boundary, dark")
            continue
        drawing.parts += cells(edge & near(true_edge), left, "right")
        drawing.parts += cells(edge & ~near(true_edge), left, "wrong")
        drawing.parts += cells(true_edge & ~near(edge), left, "missed")
        iou, f = sign_scores(mask, masks["truth"])
        drawing.text(left + 132, 340, f"{name}\nIoU {iou:.2f} · F within 1 px {f[1]:.2f}, 2 px {f[2]:.2f}")
    drawing.text(
        20,
        385,
        "dark: boundary within 1 px of the other one · orange: predicted boundary that is not · "
        "orange frames: true boundary that was missed",
        "left small",
    )
    return drawing.to_svg()


def near(edge: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Pixels within the radius of a boundary pixel."""
    rows, columns = np.nonzero(edge)
    y, x = np.mgrid[: edge.shape[0], : edge.shape[1]]
    return ((y[..., None] - rows) ** 2 + (x[..., None] - columns) ** 2 <= RADIUS_PX**2).any(-1)


def cells(where: npt.NDArray[np.bool_], left: int, kind: str) -> list[str]:
    """A square for each pixel that is set."""
    side = CELL_PX - 1
    return [
        f'<rect class="{kind}" x="{left + x * CELL_PX}" y="{12 + y * CELL_PX}" width="{side}" height="{side}"/>'
        for y, x in zip(*np.nonzero(where), strict=True)
    ]


FIGURES: dict[str, Callable[[], str]] = {
    "systems/gscnn.svg": gscnn,
    "systems/decoupled.svg": decoupled,
    "systems/gff.svg": gff,
    "boundary-scores.svg": boundary_scores,
}
"""Name below docs/pictures → what draws it."""

if __name__ == "__main__":
    for name, draw in FIGURES.items():
        (PICTURES / name).parent.mkdir(parents=True, exist_ok=True)
        (PICTURES / name).write_text(draw(), encoding="utf-8")
