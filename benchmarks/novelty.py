"""How well a bundle tells pictures that are no street photos, and countries it does not know, from photos like its own.

    whichland train kaggle.parquet --weights W --countries A,B,… --freeze backbone … --out RUN    22 of 30 countries
    .venv/bin/python benchmarks/novelty.py RUN/bundle kaggle.parquet DATA

DATA holds bad_inputs/ and pano_parquet/. Every score is fitted on the training photos. The first table is of the
validation photos against one half of the others, by which the score was chosen; the second is of the test photos
against the other half, for the chosen one as the bundle keeps it: AUROC with 95 % intervals over groups, and the share
of the pictures that is called unlike.
"""

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from whichland.images.decode import ImageError
from whichland.images.photo import open_photo
from whichland.manifest import read
from whichland.model.engines import load_torch, torch_network
from whichland.model.novelty import FLOOR, UNLIKE
from whichland.model.views import cut_views, made_ahead
from whichland.sources.synthetic.files import write as write_world
from whichland.sources.synthetic.world import WorldConfig
from whichland.statistics import Score, group_numbers, judged, share

INDOORS = (11, 60, 101, 140, 151)  # rows of the panoramas that were seen to be indoors, over both shards
DRAWN = 240
Floats = NDArray[np.float64]
Judge = Callable[[NDArray[np.float32]], Floats]  # features V×F → how unlike, V


class Pictures:
    """Features of some pictures: a row a view, and which picture it is of."""

    def __init__(self, features: NDArray[np.float32], picture: NDArray[np.int64]) -> None:
        self.features, self.number = features, np.unique(picture, return_inverse=True)[1]

    def judged(self, judge: Judge) -> Floats:
        """How unlike each picture is: the mean over its views."""
        return np.bincount(self.number, judge(self.features)) / np.bincount(self.number)

    def some(self, rows: NDArray[np.bool_]) -> "Pictures":
        kept = rows[self.number]
        return Pictures(self.features[kept], self.number[kept])

    def half(self, which: int) -> "Pictures":
        return self.some(np.arange(self.number.max() + 1) % 2 == which)


def seen(bundle: Path, uris: list[str], cache: Path) -> Pictures:
    """What the bundle's head sees of every picture that opens; kept in a file for the next time."""
    if not cache.is_file():
        loaded = load_torch(bundle)
        network, parts, numbers = torch_network(loaded, features=True), [], []

        def look(numbered: tuple[int, str]) -> tuple[int, list]:
            try:
                return numbered[0], cut_views(open_photo(numbered[1]), loaded.preprocess).crops
            except ImageError:
                return numbered[0], []

        for _, found in made_ahead(enumerate(uris), look, 16):
            for number, crops in found:
                if len(crops):
                    parts.append(network(np.stack(crops)).features)
                    numbers += [number] * len(crops)
        np.savez(cache, features=np.concatenate(parts), numbers=np.array(numbers))
    with np.load(cache, allow_pickle=False) as held:
        return Pictures(held["features"], held["numbers"])


def candidates(x_NF: NDArray[np.float32], labels_N: NDArray[np.int64]) -> dict[str, Judge]:
    """Scores of the literature, each fitted to the training photos."""
    mean, count = x_NF.mean(0), np.bincount(labels_N)
    means = np.stack([x_NF[labels_N == label].mean(0) for label in range(len(count))])

    def white(within: NDArray[np.float32], rank: int) -> NDArray[np.float32]:
        variance, directions = np.linalg.eigh((within.T @ within / len(within)).astype(np.float64))
        rank = min(rank, len(variance))
        scale = np.sqrt(np.maximum(variance[::-1][:rank], 0) + FLOOR * variance.mean())
        return (directions[:, ::-1][:, :rank] / scale).astype(np.float32)

    def nearest(axes: NDArray[np.float32], centres: NDArray[np.float32], k: int = 1, unit: bool = False) -> Judge:
        def form(x: NDArray[np.float32]) -> NDArray[np.float32]:
            z = (x - mean) @ axes if axes.size else x
            return z / np.linalg.norm(z, axis=1, keepdims=True) if unit else z

        bank = form(centres)

        def judge(x: NDArray[np.float32]) -> Floats:
            z = form(x)
            squares = (z**2).sum(1)[:, None] - 2 * z @ bank.T + (bank**2).sum(1)
            return np.sqrt(np.maximum(np.partition(squares, k - 1, axis=1)[:, k - 1], 0)).astype(float)

        return judge

    found: dict[str, Judge] = {}
    plain = np.zeros((0, 0), np.float32)
    for rank in (64, 256, 640, 1280):
        found[f"Mahalanobis, a mean a label, {rank} directions"] = nearest(white(x_NF - means[labels_N], rank), means)
        found[f"Mahalanobis, one mean, {rank} directions"] = nearest(white(x_NF - mean, rank), mean[None])
    one, many = found["Mahalanobis, one mean, 1280 directions"], found["Mahalanobis, a mean a label, 1280 directions"]
    found["Mahalanobis, relative"] = lambda x: many(x) - one(x)
    for k in (1, 10, 50):
        found[f"cosine to the {k}. neighbour"] = nearest(plain, x_NF, k, unit=True)
    found["10. neighbour, whitened, 256 directions"] = nearest(white(x_NF - mean, 256), x_NF, 10)
    spread = x_NF.std(0) + 1e-4
    head = LogisticRegression(C=1 / (0.3 * len(x_NF)), max_iter=200).fit((x_NF - mean) / spread, labels_N)
    found["1 - largest probability"] = lambda x: 1 - head.predict_proba((x - mean) / spread).max(1)
    found["energy of the logits"] = lambda x: -np.logaddexp.reduce(head.decision_function((x - mean) / spread), axis=1)
    return found


def auroc(usual: Floats, other: Floats, groups: list[str | None]) -> str:
    """The chance that one of the others is more unlike than a usual photo, with its interval over groups."""
    values, is_other = np.concatenate([usual, other]), np.repeat([False, True], [len(usual), len(other)])
    ranked, first = np.unique(values, return_inverse=True)

    def statistic(weights_N: Floats) -> Floats:
        below = np.bincount(first, weights_N * ~is_other, len(ranked))
        passed = (below.cumsum() - below / 2)[first]
        own = weights_N * is_other
        return np.array([(own @ passed) / max(own.sum() * below.sum(), 1e-12)])

    numbers = group_numbers([*groups, *[None] * len(other)])
    return text_of(judged(statistic, numbers, "share")[0])


def text_of(score: Score) -> str:
    return f"{score.value:.3f} [{score.low:.3f}, {score.high:.3f}]" if score.low is not None else f"{score.value:.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--training", type=int, help="of the training photos so many alone, drawn at random")
    parser.add_argument("--cache", type=Path, help="folder for features and the drawn streets, kept for another run")
    arguments = parser.parse_args()
    cache = arguments.cache or Path(tempfile.mkdtemp())
    cache.mkdir(parents=True, exist_ok=True)
    bundle = load_torch(arguments.bundle)
    home = read(arguments.manifest).kept.sort("image_id")
    if not (cache / "world").is_dir():
        write_world(WorldConfig(scenes=DRAWN, seed=11, width=448, height=448), cache / "world", 1, False)
    shards = sorted((arguments.data / "pano_parquet" / "data").glob("*.parquet"))
    lengths = [pl.scan_parquet(shard).select(pl.len()).collect().item() for shard in shards]
    panoramas = [f"{shard}#{row}" for shard, length in zip(shards, lengths, strict=True) for row in range(length)]
    files = sorted(path for path in (arguments.data / "bad_inputs").rglob("*") if path.is_file())
    uris = {
        "home": home["uri"].to_list(),
        "bad inputs that open": [str(path) for path in files if path.suffix != ".csv"],
        "panoramas indoors": [panoramas[row] for row in INDOORS],
        "drawn streets": [str(path) for path in sorted((cache / "world").rglob("*.jpg"))],
        "panoramas outdoors": [uri for row, uri in enumerate(panoramas) if row not in INDOORS][::4],
    }
    pictures = {name: seen(arguments.bundle, some, cache / f"{name}.npz") for name, some in uris.items()}
    known, split = home["country"].is_in(bundle.labels).to_numpy(), home["split"].to_numpy()
    photos = pictures.pop("home")
    trained = known & (split == "train")
    if arguments.training:
        left_out = np.random.default_rng(0).permutation(np.flatnonzero(trained))[arguments.training :]
        trained[left_out] = False
    train, labels = photos.some(trained), home.filter(pl.Series(trained))["country"].to_list()
    judges = candidates(train.features, np.unique(labels, return_inverse=True)[1])
    others = {"countries it does not know": photos.some(~known), **pictures}

    def groups(of: str) -> list[str | None]:
        return home.filter(pl.Series(known & (split == of)))["group"].to_list()

    def compared(judge: Judge, usual: str, which: int) -> list[str]:
        own = photos.some(known & (split == usual)).judged(judge)
        halves = {name: of if name == "panoramas indoors" else of.half(which) for name, of in others.items()}
        return [auroc(own, of.judged(judge), groups(usual)) for of in halves.values()]

    print("| score | " + " | ".join(others) + " |\n|" + "---|" * (len(others) + 1))
    for name, judge in judges.items():
        print(f"| {name} | " + " | ".join(compared(judge, "val", 0)) + " |", flush=True)
    if bundle.novelty is None:
        return
    novelty = bundle.novelty
    kept: Judge = lambda x: novelty.distances(x).astype(float)  # noqa: E731
    print("\n| pictures | number | AUROC | called unlike |\n|---|---|---|---|")
    usual = photos.some(known & (split == "test"))
    rows = [("test photos of known countries", usual, "", groups("test"))]
    for (name, of), text in zip(others.items(), compared(kept, "test", 1), strict=True):
        half = of if name == "panoramas indoors" else of.half(1)
        rows.append((name, half, text, [None] * (half.number.max() + 1)))
    for name, of, text, own in rows:
        beyond = np.array([novelty.share(float(one)) >= UNLIKE for one in of.judged(kept)])
        print(f"| {name} | {len(beyond)} | {text} | {text_of(share(beyond, group_numbers(own)))} |")


if __name__ == "__main__":
    main()
