"""Figures about probabilities, in the style of `figures`: one hue, solid and dashed lines, the page's colours."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from whichland.evaluation.figures import STYLE, Axes, text_at
from whichland.evaluation.probabilities import RiskCurve
from whichland.evaluation.reliability import Bin

FIFTHS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
FRAME = Axes(first=0, last=1, high=1, left=40, top=30, wide=300, tall=200)


def reliability_svg(bins: Sequence[Bin]) -> str:
    """The share that was right over the first guess's probability: a bar a bin with its interval, beside y = x."""
    frame = FRAME
    parts = [*_frame(frame, "Right, by the probabilities given", "probabilities of the first guess")]
    edges = [bins[0].low, *((left.high + right.low) / 2 for left, right in pairwise(bins)), bins[-1].high]
    bottom = frame.top + frame.tall
    for found, (low, high) in zip(bins, pairwise(edges), strict=True):
        score = found.right
        x, y = frame.place(low, score.value)
        wide = max(2.0, frame.place(high, 0)[0] - x - 1)
        said = f"probabilities {found.probabilities:.0%} on average, {score.value:.0%} of {found.photos} right"
        parts.append(
            f'<rect class="cell" fill-opacity=".3" x="{x:.1f}" y="{y:.1f}" width="{wide:.1f}" '
            f'height="{bottom - y:.1f}"><title>{said} ({score.low:.0%} to {score.high:.0%})</title></rect>'
            f'<path class="line" d="M{x:.1f} {y:.1f}h{wide:.1f}"/>'
        )
        middle, top = frame.place(found.probabilities, score.high)
        tall = frame.place(0, score.low)[1] - top
        parts.append(
            f'<path class="line" stroke-width="1.5" d="M{middle:.1f} {top:.1f}v{tall:.1f}'
            f'M{middle - 3:.1f} {top:.1f}h6m-6 {tall:.1f}h6"/>'
            f'<circle class="dot" cx="{middle:.1f}" cy="{y:.1f}" r="3"/>'
        )
    (x0, y0), (x1, y1) = frame.place(0, 0), frame.place(1, 1)
    parts.append(f'<path class="other" d="M{x0} {y0}L{x1} {y1}"/>')
    parts.append(f'<path class="other" d="M{x1 - 68} 10h24"/>{text_at("honest", x1, 14, "end")}')
    return "".join([*parts, "</svg>"])


def risk_svg(curve: RiskCurve) -> str:
    """The share of wrong answers over the share that is answered, surest first, with its 95 % band."""
    high = max(0.1, float(np.ceil(min(1.0, curve.high.max()) * 10) / 10))
    frame = Axes(first=0, last=1, high=high, left=40, top=30, wide=300, tall=200)
    parts = _frame(frame, "Wrong, when only the surest are answered", "share of the photos answered")
    upper = [frame.place(*point) for point in zip(curve.coverage, curve.high, strict=True)]
    lower = [frame.place(*point) for point in zip(curve.coverage, curve.low, strict=True)]
    middle = [frame.place(*point) for point in zip(curve.coverage, curve.risk, strict=True)]
    parts.append(f'<path class="cell" fill-opacity=".25" d="{_path([*upper, *lower[::-1]])}Z"/>')
    parts.append(f'<path class="line" d="{_path(middle)}"/>')
    flat = frame.place(1, curve.unordered)[1]
    parts.append(f'<path class="other" d="M{frame.left} {flat:.1f}h{frame.wide}"/>')
    parts.append(text_at("answering at random", frame.left + 4, flat - 5, "start", ' class="soft"'))
    return "".join([*parts, "</svg>"])


def _path(points: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)


def _frame(frame: Axes, title: str, across: str) -> list[str]:
    bottom, width = frame.top + frame.tall, frame.left + frame.wide + 18
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="wl" viewBox="0 0 {width} {bottom + 36}" '
        f'width="{width}" height="{bottom + 36}" font-size="11" role="img" '
        f'aria-label="{title}, over the {across}">{STYLE}',
        text_at(title, frame.left, 14, "start", ' font-weight="600"'),
        text_at(across, frame.left + frame.wide, bottom + 30, "end", ' class="soft"'),
    ]
    for share in FIFTHS:
        x, y = frame.place(share, share * frame.high)
        parts.append(f'<path class="faint" d="M{frame.left} {y:g}h{frame.wide}"/>')
        parts.append(text_at(f"{share * frame.high:.0%}", frame.left - 5, y + 4, "end", ' class="soft"'))
        parts.append(text_at(f"{share:.0%}", x, bottom + 14, "middle", ' class="soft"'))
    return parts
