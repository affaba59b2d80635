"""Lay contact sheets out: a picture of thumbnails with their labels, and one page of them all."""

import base64
import io
from dataclasses import dataclass, field
from html import escape

from PIL import Image, ImageDraw, ImageFont, ImageOps

GAP, LINE = 8, 15
THUMBNAIL = (240, 180)  # pixels, at most
WIDE = (2 * THUMBNAIL[0] + GAP, THUMBNAIL[1])  # of a picture more than twice as wide as high
COLUMNS = 6
PAPER, INK, SOFT, FRAME = "#ffffff", "#1a1a1a", "#666666", "#e4e4e4"

STYLE = """
:root{color-scheme:light dark;--soft:#666;--rule:#ddd;--tile:#eee}
@media (prefers-color-scheme:dark){:root{--soft:#aaa;--rule:#444;--tile:#2a2a2a}}
body{font:15px/1.4 system-ui,sans-serif;margin:1.5rem auto;max-width:1560px;padding:0 1rem}
h1{font-size:1.4rem;margin:0}h2{font-size:1.1rem;margin:2rem 0 0;border-top:1px solid var(--rule);padding-top:1rem}
p{margin:.2rem 0 .8rem;color:var(--soft)}nav a{margin-right:1rem;white-space:nowrap}
.grid{display:grid;grid-template-columns:repeat(auto-fill,minmax(190px,1fr));gap:10px}
figure{margin:0;font-size:12px;overflow-wrap:anywhere}figure.wide{grid-column:span 2}
figure img,figure .none{width:100%;height:130px;object-fit:contain;background:var(--tile);display:block}
figure .none{padding:.5rem;box-sizing:border-box;overflow:auto}
figcaption b{display:block}figcaption small{color:var(--soft);display:block}
table{border-collapse:collapse;font-size:13px}
td{padding:.15rem .8rem .15rem 0;overflow-wrap:anywhere;vertical-align:top}
@media print{nav{display:none}figure{break-inside:avoid}}
"""


@dataclass(frozen=True, kw_only=True)
class Example:
    """One photo on a sheet."""

    image_id: str
    uri: str
    country: str
    value: str  # what the reason looks at
    credit: str = ""  # whom its licence wants named
    picture: Image.Image | None = None
    trouble: str = ""  # why there is no picture


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """The examples of one reason: what it took, or what it just kept."""

    reason: str
    kind: str  # dropped or kept
    rule: str  # the reason in words
    rows: int  # of the table, of which the examples are a few
    examples: list[Example] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The name of its file, and its anchor on the page."""
        return f"{self.kind}-{self.reason}"

    @property
    def title(self) -> str:
        """What the sheet shows, and of how many."""
        if self.kind == "kept":
            return f"just kept: {self.reason}, the nearest of {self.rows:,}"
        return f"{self.reason}: {self.rows:,} dropped"


def sheet(made: Sheet) -> Image.Image:
    """Draw a sheet, each thumbnail with its value, country and id: six a row, three where most are panoramas."""
    pictures = [example.picture for example in made.examples if example.picture is not None]
    wide = sum(picture.width > THUMBNAIL[0] for picture in pictures) * 2 > len(pictures)
    box = (WIDE if wide else THUMBNAIL)[0], max(picture.height for picture in pictures)
    width, height = box[0] + GAP, box[1] + 3 * LINE + GAP
    columns = min(COLUMNS // 2 if wide else COLUMNS, len(made.examples))
    rows = -(-len(made.examples) // columns)
    top = 2 * LINE + 2 * GAP
    image = Image.new("RGB", (max(columns, 2) * width + GAP, top + rows * height), PAPER)
    draw = ImageDraw.Draw(image)
    large, small = ImageFont.load_default(17), ImageFont.load_default(12)
    draw.text((GAP, GAP), made.title, INK, large)
    draw.text((GAP, GAP + LINE + 6), made.rule, SOFT, small)
    for at, example in enumerate(made.examples):
        left, above = GAP + at % columns * width, top + at // columns * height
        draw.rectangle((left, above, left + box[0] - 1, above + box[1] - 1), FRAME)
        if example.picture is not None:
            picture = ImageOps.contain(example.picture, box)
            space = [(whole - side) // 2 for whole, side in zip(box, picture.size, strict=True)]
            image.paste(picture, (left + space[0], above + space[1]))
        else:
            draw.text((left + 4, above + 4), _fitted(example.trouble, small, box[0] - 8), INK, small)
        lines = ((example.value, INK), (example.country, SOFT), (example.image_id, SOFT))
        for line, (text, colour) in enumerate(lines):
            draw.text((left, above + box[1] + 1 + line * LINE), _fitted(text, small, box[0]), colour, small)
    return image


def _fitted(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    """Cut a text at its front until it fits under a thumbnail: the end of an id tells more."""
    text = " ".join(text.split())
    if font.getlength(text) <= width:
        return text
    while text and font.getlength("…" + text) > width:
        text = text[1:]
    return "…" + text


def page(sheets: list[Sheet], rows: int, kept: int) -> str:
    """One HTML page of all sheets; the thumbnails stand inside the file."""
    links = "".join(f'<a href="#{escape(made.name)}">{escape(made.title)}</a> ' for made in sheets)
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>What was cleaned away</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style>'
        f"<h1>{rows:,} rows, {kept:,} kept</h1>"
        f"<p>Where a threshold decides, the photos nearest to it come first: look there whether it is right. "
        f"The photos belong to their makers.</p><nav>{links}</nav>"
        + "".join(_section(made) for made in sheets)
        + "</html>\n"
    )


def _section(made: Sheet) -> str:
    shown = _table(made) if made.reason == "unreadable" else _grid(made)
    head = f'<h2 id="{escape(made.name)}">{escape(made.title)}</h2><p>{escape(made.rule)}</p>'
    return f"<section>{head}{shown}</section>"


def _grid(made: Sheet) -> str:
    figures = []
    for example in made.examples:
        if example.picture is None:
            picture = f'<div class="none">{escape(example.trouble)}</div>'
        else:
            picture = f'<img loading="lazy" alt="{escape(example.country)}" src="{_inline(example.picture)}">'
        wide = " class=wide" if example.picture and example.picture.width > THUMBNAIL[0] else ""
        credit = f"<small>{escape(example.credit)}</small>" if example.credit else ""
        figures.append(
            f"<figure{wide}>{picture}<figcaption><b>{escape(example.value)}</b>{escape(example.country)}"
            f"<small>{escape(example.image_id)}</small>{credit}</figcaption></figure>"
        )
    return f'<div class="grid">{"".join(figures)}</div>'


def _table(made: Sheet) -> str:
    rows = (f"<tr><td>{escape(e.image_id)}<td>{escape(e.country)}<td>{escape(e.value)}" for e in made.examples)
    return f"<table>{''.join(rows)}</table>"


def _inline(picture: Image.Image) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, format="JPEG", quality=80)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
