"""Make the vendored files of the page: Leaflet, the flags, the map of the world, and ONNX Runtime for browsers.

    python scripts/page_assets.py        (needs npm, for the packages below, and pip)

Everything lands in src/whichland/serving/static, with its licence in static/vendor/LICENSES. The map is Natural
Earth (1:50 million, public domain): every polygon is given to the country that `geo.borders.country_of` answers
in it, so that the map agrees with the rest of whichland on disputed and dependent places, and neighbours are
simplified together, so that no gap opens between them. A country too small to be seen or hit is a point as well;
a few are nothing else. ONNX Runtime is its build for processors alone, packed as small as gzip allows (zopfli) for
hosts that pack nothing; it comes with the licence and the notices of its wheel of the same version.
"""

import gzip
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from whichland.geo.borders import country_of
from whichland.geo.countries import COUNTRIES
from whichland.geo.land import points_of

STATIC = Path(__file__).parent.parent / "src/whichland/serving/static"
PACKAGES = {"leaflet": "1.9.4", "country-flag-icons": "1.6.20", "world-atlas": "2.0.2", "onnxruntime-web": "1.22.0"}
TOLERANCE = 0.18  # degrees: half a pixel on a map of the world 1,000 pixels wide
SPECK = 0.04  # square degrees: islands below it go, unless they are all there is of a country
POLE = -89.9  # degrees: Antarctica's edge runs along it from one side of the map to the other
SMALL = 0.8  # square degrees: countries below it are drawn as a point too


def main() -> None:
    """Fetch the packages into a temporary folder and write what the page needs of them."""
    with tempfile.TemporaryDirectory() as temporary:
        fetched = {name: fetch(name, version, Path(temporary)) for name, version in PACKAGES.items()}
        leaflet(fetched["leaflet"])
        flags(fetched["country-flag-icons"])
        world(fetched["world-atlas"])
        onnx_runtime(fetched["onnxruntime-web"], Path(temporary))
    total = sum(file.stat().st_size for file in STATIC.rglob("*") if file.is_file())
    print(f"{STATIC}: {total:,} bytes")


def fetch(name: str, version: str, folder: Path) -> Path:
    """Unpack one npm package; return its folder."""
    packed = subprocess.run(
        ["npm", "pack", "--silent", f"{name}@{version}"], cwd=folder, check=True, capture_output=True, text=True
    )
    with tarfile.open(folder / packed.stdout.split()[-1]) as archive:
        archive.extractall(folder / name, filter="data")
    return folder / name / "package"


def leaflet(package: Path) -> None:
    """Copy Leaflet, without its pictures: the page draws its own pins."""
    vendor = STATIC / "vendor"
    (vendor / "LICENSES").mkdir(parents=True, exist_ok=True)
    script = (package / "dist/leaflet.js").read_text(encoding="utf-8")
    kept = [line for line in script.splitlines() if not line.startswith("//# sourceMappingURL")]
    (vendor / "leaflet.js").write_text("\n".join(kept) + "\n", encoding="utf-8")
    shutil.copyfile(package / "dist/leaflet.css", vendor / "leaflet.css")
    shutil.copyfile(package / "LICENSE", vendor / "LICENSES/leaflet.txt")


def onnx_runtime(package: Path, temporary: Path) -> None:
    """Copy ONNX Runtime for browsers, its WebAssembly packed, and the licences of all that is in it."""
    folder, licences = STATIC / "vendor/onnxruntime", STATIC / "vendor/LICENSES"
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs"):
        script = (package / "dist" / name).read_text(encoding="utf-8")
        kept = [line for line in script.splitlines() if not line.startswith("//# sourceMappingURL")]
        (folder / name).write_text("\n".join(kept) + "\n", encoding="utf-8")
    environment = temporary / "zopfli"
    subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
    python = str(environment / "bin/python")
    subprocess.run([python, "-m", "pip", "install", "--quiet", "zopfli==0.4.3"], check=True)
    pack = "import sys, zopfli.gzip as z; sys.stdout.buffer.write(z.compress(sys.stdin.buffer.read(), numiterations=5))"
    wasm = "ort-wasm-simd-threaded.wasm"
    with (package / "dist" / wasm).open("rb") as plain, (folder / f"{wasm}.gz").open("wb") as packed:
        subprocess.run([python, "-c", pack], stdin=plain, stdout=packed, check=True)
    wheel = f"onnxruntime=={PACKAGES['onnxruntime-web']}"
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
    subprocess.run([*pip, "--python-version", "3.11", wheel, "-d", str(temporary)], check=True)
    with zipfile.ZipFile(next(temporary.glob("onnxruntime-*.whl"))) as archive:
        (licences / "onnxruntime-web.txt").write_bytes(archive.read("onnxruntime/LICENSE"))
        notices = archive.read("onnxruntime/ThirdPartyNotices.txt")
    (licences / "onnxruntime-web-notices.txt.gz").write_bytes(gzip.compress(notices, 9, mtime=0))


def flags(package: Path) -> None:
    """Copy the flags of the countries that whichland knows."""
    shutil.rmtree(STATIC / "flags", ignore_errors=True)
    (STATIC / "flags").mkdir(parents=True)
    for code in COUNTRIES:
        shutil.copyfile(package / f"3x2/{code}.svg", STATIC / f"flags/{code}.svg")
    shutil.copyfile(package / "LICENSE", STATIC / "vendor/LICENSES/country-flag-icons.txt")


def world(package: Path) -> None:
    """Write world.json: GeoJSON, a feature a country, with the point to stand for it."""
    pieces = polygons(json.loads((package / "countries-50m.json").read_text(encoding="utf-8")))
    inside = [piece.representative_point() for piece in pieces]
    codes = country_of([point.y for point in inside], [point.x for point in inside])
    largest: dict[str, float] = defaultdict(float)
    for code, piece in zip(codes, pieces, strict=True):
        largest[code] = max(largest[code], piece.area)
    keep = [
        code != "" and (piece.area >= SPECK or piece.area == largest[code])
        for code, piece in zip(codes, pieces, strict=True)
    ]
    codes, kept = codes[keep], [piece for piece, kept in zip(pieces, keep, strict=True) if kept]
    simple = shapely.coverage_simplify(kept, TOLERANCE)
    of_country: dict[str, list[BaseGeometry]] = defaultdict(list)
    for code, rough, fine in zip(codes, simple, kept, strict=True):
        of_country[code].append(fine if rough.is_empty else rough)
    features = [feature(code, of_country[code]) if code in of_country else point(code) for code in sorted(COUNTRIES)]
    text = json.dumps({"type": "FeatureCollection", "features": features}, separators=(",", ":"))
    (STATIC / "world.json").write_text(text + "\n", encoding="utf-8")
    shutil.copyfile(package / "LICENSE", STATIC / "vendor/LICENSES/world-atlas.txt")
    missing = sorted(set(COUNTRIES) - set(of_country))
    print(f"world.json: {len(text):,} bytes, {len(features)} countries; points alone: {' '.join(missing)}")


def polygons(topology: dict[str, Any]) -> list[BaseGeometry]:
    """The polygons of a TopoJSON file's countries, each by itself, in degrees."""
    scale, shift = np.array(topology["transform"]["scale"]), np.array(topology["transform"]["translate"])
    arcs = [np.cumsum(arc, axis=0) * scale + shift for arc in topology["arcs"]]

    def ring(numbers: list[int]) -> Any:
        lines = [arcs[number] if number >= 0 else arcs[~number][::-1] for number in numbers]
        return unrolled(np.concatenate([line[bool(at) :] for at, line in enumerate(lines)]))

    found = []
    for country in topology["objects"]["countries"]["geometries"]:
        several = country["arcs"] if country["type"] == "MultiPolygon" else [country["arcs"]]
        for shell, *holes in several:
            whole = shapely.Polygon(ring(shell), [ring(hole) for hole in holes])
            found += cut(shapely.make_valid(whole))  # Antarctica touches itself
    return found


def unrolled(ring: Any) -> Any:
    """A ring that goes on beyond 180 degrees, instead of jumping to the other side."""
    jumps = np.rint(np.diff(ring[:, 0], prepend=ring[0, 0]) / 360)
    jumps[ring[:, 1] < POLE] = 0
    return ring - np.outer(np.cumsum(jumps), [360, 0])


def cut(polygon: BaseGeometry) -> list[BaseGeometry]:
    """The parts of a polygon on either side of the antimeridian, each on its own side of the map."""
    parts = []
    for turn in (-360, 0, 360):
        inside = shapely.intersection(polygon, shapely.box(turn - 180, -90, turn + 180, 90))
        moved = shapely.transform(inside, lambda places, turn=turn: places - [turn, 0])
        parts += [part for part in shapely.get_parts(moved) if part.geom_type == "Polygon" and part.area > 0]
    return parts


def feature(code: str, parts: list[BaseGeometry]) -> dict[str, Any]:
    """One country as GeoJSON, at hundredths of a degree."""
    whole = shapely.set_precision(shapely.MultiPolygon(parts), 0.01, mode="pointwise")
    largest = max(parts, key=lambda part: part.area)
    middle = largest.representative_point()
    return {
        "type": "Feature",
        "properties": {
            "code": code,
            "at": [round(middle.y, 2), round(middle.x, 2)],
            "small": sum(part.area for part in parts) < SMALL,
        },
        "geometry": {
            "type": "MultiPolygon",
            "coordinates": [[shorter(ring) for ring in (part.exterior, *part.interiors)] for part in whole.geoms],
        },
    }


def point(code: str) -> dict[str, Any]:
    """A country that Natural Earth leaves out, as GeoJSON."""
    lat, lon = points_of([code])[0].mean(axis=0)
    properties = {"code": code, "at": [round(float(lat), 2), round(float(lon), 2)], "small": True}
    return {"type": "Feature", "properties": properties, "geometry": None}


def shorter(ring: Any) -> list[list[float]]:
    """A ring's places, without those that rounding made equal."""
    places = np.round(np.asarray(ring.coords), 2)
    new = np.append(True, np.any(np.diff(places, axis=0) != 0, axis=1))
    found: list[list[float]] = places[new].tolist()
    return found


if __name__ == "__main__":
    main()
