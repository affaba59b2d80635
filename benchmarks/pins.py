"""Pins by expected score beside the middle of the first guess's country, on photos with true coordinates.

    .venv/bin/python benchmarks/pins.py MANIFEST --source pano --bundle runs/NAME/bundle --points POINTS.csv
    .venv/bin/python benchmarks/pins.py MANIFEST --source pano --weights W.safetensors --cache FEATURES

All kept photos of `--source` whose country the model knows are judged, whatever their split, so the model must not
have learnt from them; views of one panorama are combined. Probabilities come from a bundle, or from
scikit-learn's logistic regression on frozen MobileNetV2 features of the manifest's other sources, as in
accuracy.py. Each rule is measured with places spread over the land, and with those of a table country, lat, lon,
if given; places within a kilometre of a judged photo are left out. Intervals are over groups.
"""

import argparse
from pathlib import Path

import numpy as np
import polars as pl

from whichland.allocator import keep_freed_memory
from whichland.evaluation.pins import PinReport, coordinates, judge_pins
from whichland.evaluation.predictions import Identity, Predictions
from whichland.geo.distance import WORLD_KM, haversine_km
from whichland.manifest import Manifest, read
from whichland.model import bundle
from whichland.model.features import BackboneConfig, features
from whichland.model.label_points import located
from whichland.model.label_sources import countries
from whichland.model.labels import LabelSpace
from whichland.model.model import predict

ARCH = "mobilenetv2_100"
PENALTY = 1e-3  # scikit-learn's C, where validation put it in accuracy.py


def by_bundle(folder: Path, rows: pl.DataFrame) -> tuple[tuple[str, ...], pl.DataFrame, np.ndarray]:
    """Labels, the rows that they cover, and the probabilities."""
    loaded = bundle.load(folder)
    rows = rows.filter(pl.col("country").is_in(list(loaded.labels)))
    answers = predict(loaded, rows["uri"], progress=True)
    return loaded.labels, rows, np.stack([answer.probabilities for answer in answers])


def by_logistic(
    table: Manifest, rows: pl.DataFrame, config: BackboneConfig, cache: Path | None
) -> tuple[tuple[str, ...], pl.DataFrame, np.ndarray]:
    """The same from logistic regression on frozen features, learnt from the training photos of other sources."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    train = table.kept.filter(pl.col("split") == "train", ~pl.col("source").is_in(rows["source"].unique().to_list()))
    train = train.drop_nulls("country")
    labels = tuple(train["country"].unique().sort())
    rows = rows.filter(pl.col("country").is_in(list(labels)))
    seen, asked = (features(part["uri"].to_list(), part["sha256"].to_list(), config, cache) for part in (train, rows))
    fitted = make_pipeline(StandardScaler(), LogisticRegression(C=PENALTY, max_iter=500))
    fitted.fit(seen, train["country"].to_numpy())
    return labels, rows, fitted.predict_proba(asked)


def predictions(labels: tuple[str, ...], rows: pl.DataFrame, probabilities: np.ndarray) -> Predictions:
    """The answers as `evaluate` has them, views of one panorama combined."""
    found = Predictions(
        identity=Identity(bundle_sha256="", manifest_sha256="", split="all"),
        labels=labels,
        frame=rows,
        probabilities=probabilities.astype(np.float32),
        unknown={},
        unplaced=0,
        unreadable={},
    )
    viewed = "panorama" in rows.columns and rows["panorama"].null_count() < rows.height
    return found.per_panorama() if viewed else found


def places_from(table: Path, labels: tuple[str, ...], judged: np.ndarray) -> LabelSpace:
    """LabelSpace of a table country, lat, lon, but those within a kilometre of what is judged."""
    points = pl.read_csv(table).with_row_index("n")
    km = haversine_km(points["lat"].to_numpy()[:, None], points["lon"].to_numpy()[:, None], *judged.T)
    away = points.filter(pl.Series(km.min(axis=1) > 1))
    print(f"{points.height - away.height} of {points.height:,} places are within 1 km of a judged photo: left out")
    frame = away.select(
        pl.format("p{}", "n").alias("image_id"), "country", "lat", "lon", pl.lit("train").alias("split")
    )
    return located(countries(labels), Manifest(frame))


def show(name: str, report: PinReport) -> None:
    print(
        f"\n{name}: places of {report.from_photos} countries from photos, of the others from land; the middle of "
        f"{', '.join(report.centroids_at_sea) or 'none'} is at sea ({report.photos_at_sea} photos)"
    )
    print(f"{'':<16}{'mean km':>26}{'median km':>26}{'score':>26}")
    for rule, judged in [*report.rules.items(), ("pin - centroid", report.gain)]:
        assert judged is not None
        cells = (judged.mean_km, judged.median_km, judged.score)
        said = [f"{cell.value:,.0f} [{cell.low:,.0f}, {cell.high:,.0f}]" for cell in cells]
        print(f"{rule:<16}" + "".join(f"{text:>26}" for text in said))
    print(f"by the probabilities: pin {report.expected:,.0f}, centroid {report.expected_of_centroids:,.0f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--source", help="judge photos of this source alone")
    parser.add_argument("--bundle", type=Path)
    parser.add_argument("--weights", type=Path, help="ImageNet weights of MobileNetV2, for the regression")
    parser.add_argument("--size", type=int, default=320, help="pixels that the frozen backbone sees")
    parser.add_argument("--cache", type=Path, help="folder to keep its features in")
    parser.add_argument("--points", type=Path, help="table country, lat, lon of street-level places")
    parser.add_argument("--scale-km", type=float, default=WORLD_KM)
    args = parser.parse_args()
    if not args.bundle and not (args.weights and args.source):
        parser.error("give --bundle, or --weights and --source")
    keep_freed_memory()
    table = read(args.manifest)
    rows = table.kept.drop_nulls(["lat", "lon", "country"]).sort("image_id")
    if args.source:
        rows = rows.filter(pl.col("source") == args.source)
    if args.bundle:
        labels, rows, probabilities = by_bundle(args.bundle, rows)
    else:
        config = BackboneConfig(arch=ARCH, weights=str(args.weights), size=args.size)
        labels, rows, probabilities = by_logistic(table, rows, config, args.cache)
    found = predictions(labels, rows, probabilities)
    right = (found.probabilities.argmax(axis=1) == found.truth).mean()
    print(f"{found.frame.height} {found.per}s of {len(np.unique(found.truth))} countries, top-1 {right:.1%}")
    show("land", judge_pins(found, located(countries(labels)), table, scale_km=args.scale_km))
    if args.points:
        places = places_from(args.points, labels, coordinates(found, table))
        show(args.points.name, judge_pins(found, places, table, scale_km=args.scale_km))


if __name__ == "__main__":
    main()
