"""Rows of answers in the form that is asked for: a table, CSV, JSON lines, GeoJSON or a page with a map."""

import csv
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from whichland.bulk.rows import Rows, guesses
from whichland.errors import UserError
from whichland.whole_file import whole_file

if TYPE_CHECKING:
    import polars as pl

ENDINGS = (".parquet", ".csv", ".jsonl", ".geojson", ".html")
SHARES = ("outside", "novelty")  # columns that hold shares of 1, beside probabilities
PINNED = (".geojson", ".html")  # forms that need a point for every photo


def check_ending(out: Path) -> None:
    """Raise UserError for a file whose ending names no form."""
    if out.suffix.lower() not in ENDINGS:
        raise UserError(f"-o {out}: the ending says the form; known are {', '.join(ENDINGS)}")


def write(frame: "pl.DataFrame", out: Path, rows: Rows, *, title: str) -> None:
    """Write the table of answers in the form that the ending of `out` names; the file appears whole or not at all.

    Raises UserError when it cannot be written there.
    """
    ending = out.suffix.lower()
    try:
        with whole_file(out) as partial:
            if ending == ".parquet":
                frame.select(rows.columns).write_parquet(partial)
                return
            if ending == ".html":
                from whichland.bulk.map_page import map_page

                partial.write_text(map_page(frame, rows, title=title), encoding="utf-8")
                return
            # made a few thousand at a time
            each = (row for part in frame.iter_slices(8192) for row in part.iter_rows(named=True))
            with partial.open("w", encoding="utf-8", newline="") as file:
                if ending == ".csv":
                    writer = csv.writer(file, lineterminator="\n")
                    writer.writerow(rows.columns)
                    writer.writerows(csv_row(row, rows.columns) for row in each)
                elif ending == ".jsonl":
                    file.writelines(json.dumps(json_row(row, rows), ensure_ascii=False) + "\n" for row in each)
                else:
                    features = (json.dumps(geojson_row(row, rows), ensure_ascii=False) for row in each)
                    file.write('{"type": "FeatureCollection", "features": [')
                    file.writelines(f"{',' if number else ''}\n{text}" for number, text in enumerate(features))
                    file.write("\n]}\n")
    except OSError as error:
        raise UserError(f"{out}: cannot be written ({error.strerror or error}); give another -o") from None


def schema_of(rows: Rows) -> dict[str, "pl.DataType"]:
    """The types of the columns, and of `thumbnail`."""
    import polars as pl

    of_name: dict[str, pl.DataType] = {"views": pl.Int64(), "agrees": pl.Boolean(), "unlike": pl.Boolean()}
    of_name |= dict.fromkeys((*SHARES, "pin_lat", "pin_lon", "pin_score", "exif_lat", "exif_lon"), pl.Float64())
    if rows.set_column:
        of_name[rows.set_column] = pl.List(pl.String())
    of_name |= {name: pl.Float64() for name in rows.columns if "probability" in name}
    return {name: of_name.get(name, pl.String()) for name in (*rows.columns, "thumbnail")}


def csv_row(row: Mapping[str, Any], columns: Iterable[str]) -> list[str]:
    """A row's cells as text; a set is its codes with spaces between them, or semicolons where codes have spaces."""

    def cell(name: str, value: Any) -> str:
        if isinstance(value, bool):
            return str(value).lower()
        if isinstance(value, list):
            return ("; " if any(" " in code for code in value) else " ").join(value)
        return "" if value is None else f"{value:.6f}" if "probability" in name or name in SHARES else str(value)

    return [cell(name, row[name]) for name in columns]


def json_row(row: Mapping[str, Any], rows: Rows) -> dict[str, Any]:
    """A row as a JSON object: {"path", "country", "probability", "top": […]} and what else was asked for."""
    if row["error"] is not None:
        return {"path": row["path"], "error": row["error"]}
    ranked = [{rows.label: code, "probability": probability} for code, probability in guesses(row, rows)]
    found: dict[str, Any] = {"path": row["path"], **ranked[0], "top": ranked}
    if rows.adds_countries:
        found |= {name: row[name] for name in ("country", "country_probability")}
    if rows.config.among is not None:
        found["outside"] = row["outside"]
    if rows.config.certainty is not None:
        keys = {"level": "certain_level", "code": "certain", "probability": "certain_probability"}
        found["certain"] = {key: row[name] for key, name in keys.items()} if row["certain"] is not None else None
    if rows.set_column:
        found |= {"set": row[rows.set_column], "set_percent": rows.config.sets}
    if rows.config.pin:
        found["pin"] = {"lat": row["pin_lat"], "lon": row["pin_lon"], "expected_score": row["pin_score"]}
    if rows.config.check_exif and row["exif_lat"] is not None:
        stated = {"lat": row["exif_lat"], "lon": row["exif_lon"], "country": row["exif_country"]}
        found["exif"] = stated | {"agrees": row["agrees"]}
    if rows.novelty:
        found |= {name: row[name] for name in ("novelty", "unlike")}
    return found | ({"views": row["views"]} if row["views"] > 1 else {})


def geojson_row(row: Mapping[str, Any], rows: Rows) -> dict[str, Any]:
    """A row as a GeoJSON feature (RFC 7946) with its pin; one without an answer has no geometry."""
    own = json_row(row, rows)
    own.pop("pin", None)
    point = None
    if row["error"] is None:
        point = {"type": "Point", "coordinates": [row["pin_lon"], row["pin_lat"]]}
        own["expected_score"] = row["pin_score"]
    return {"type": "Feature", "geometry": point, "properties": own}
