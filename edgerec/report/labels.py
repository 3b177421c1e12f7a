"""Labels beside the points of a plot, placed so that they can be read."""

from dataclasses import dataclass
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox


@dataclass(frozen=True)
class Labels:
    """Places labels beside points so that they cover neither each other nor what is to be avoided.

    Widths are estimated, not measured: the viewer's font is unknown, and the same report must give the same bytes.
    """

    axes: Axes
    taken: list[Bbox]

    @classmethod
    def of(cls, axes: Axes) -> "Labels":
        """For axes whose limits are final."""
        figure = axes.get_figure()
        assert isinstance(figure, Figure)
        figure.draw_without_rendering()  # decides the layout
        figure.set_layout_engine("none")
        return cls(axes, [])

    def avoid(self, left: float, right: float, y: float, margin: float) -> None:
        """Keep labels ``margin`` points off the line from (left, y) to (right, y), data coordinates."""
        (x0, y0), (x1, _) = self.axes.transData.transform([(left, y), (right, y)])
        self.taken.append(Bbox.from_extents(x0 - margin, y0 - margin, x1 + margin, y0 + margin))

    def write(self, text: str, place: tuple[float, float]) -> None:
        """``text`` up and right of ``place``, a fraction of the axes."""
        self.axes.annotate(text, place, xycoords="axes fraction", va="bottom", alpha=0.75)
        x, y = self.axes.transAxes.transform(place)
        self.taken.append(_text_box(x, y, text))

    def line(self, y: float, text: str) -> None:
        """Name the horizontal line at ``y``, over or under one of its ends."""
        left, right = self.axes.get_xlim()
        ends = [(left, "left", 4, "bottom", 2), (right, "right", -4, "bottom", 2), (left, "left", 4, "top", -2),
                (right, "right", -4, "top", -2)]  # fmt: skip
        self._place(text, [(x, y, *how) for x, *how in ends])

    def point(self, x: float, y: float, text: str, colour: str) -> None:
        """Name the point in its colour, as near to it as there is room."""
        near = [("left", 7, "center", 0), ("right", -7, "center", 0)]
        near += [
            (side, 0, "bottom" if step > 0 else "top", step)
            for distance in (6, 17, 28, 39)
            for step in (distance, -distance)
            for side in ("left", "right", "center")
        ]
        self._place(text, [(x, y, *how) for how in near], colour)

    def _place(self, text: str, choices: list[tuple[Any, ...]], colour: str | None = None) -> None:
        """Write ``text`` at the first choice (x, y, ha, dx, va, dy) that is free, else at the first."""
        boxes = [self._box(text, *choice) for choice in choices]
        inside = self.axes.bbox
        free = [
            number
            for number, box in enumerate(boxes)
            if inside.x0 <= box.x0 and box.x1 <= inside.x1 and inside.y0 <= box.y0 and box.y1 <= inside.y1
            and not any(box.overlaps(other) for other in self.taken)
        ]  # fmt: skip
        chosen = free[0] if free else 0
        x, y, ha, dx, va, dy = choices[chosen]
        self.axes.annotate(text, (x, y), (dx, dy), textcoords="offset points", ha=ha, va=va, color=colour)
        self.taken.append(boxes[chosen])

    def _box(self, text: str, x: float, y: float, ha: str, dx: float, va: str, dy: float) -> Bbox:
        left, bottom = self.axes.transData.transform((x, y))
        box = _text_box(left + dx, bottom + dy, text)
        back, down = {"left": 0, "center": 0.5, "right": 1}[ha], {"bottom": 0, "center": 0.5, "top": 1}[va]
        return box.translated(-back * box.width, -down * box.height)


def _text_box(left: float, bottom: float, text: str) -> Bbox:
    lines, size = text.split("\n"), matplotlib.rcParams["font.size"]
    return Bbox.from_bounds(left, bottom, 0.56 * size * max(map(len, lines)), 1.25 * size * len(lines))
