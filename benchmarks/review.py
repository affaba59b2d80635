"""Swap the labels of some photos on purpose and count how many of them `whichland data review` shows first.

    python benchmarks/review.py MANIFEST EMBEDDINGS.parquet [--swapped 0.03] [--looked 0.06] [--draws 5]

EMBEDDINGS is what `whichland embed` makes of the manifest. In each draw, that share of the photos gets another country,
drawn with the countries' shares; the photos that are wrong already stay so. The 95 % interval is over draws and
photos: each swapped photo of each draw counts once, and a draw is a group.
"""

import argparse
from pathlib import Path

import numpy as np
import polars as pl

from whichland import manifest as manifests
from whichland.evaluation.review import cross_validated, label_doubt
from whichland.statistics import Ints, group_numbers, means


def orders(probs_NK: np.ndarray, label_N: Ints) -> dict[str, Ints]:
    """Rows by doubt, the most doubtful first: as `data review` has them, and two other ways."""
    suspected, doubt_N = label_doubt(probs_NK, label_N)
    own_N = np.nan_to_num(probs_NK[np.arange(len(label_N)), label_N], nan=1.0)
    others_NK = np.nan_to_num(probs_NK, nan=0.0)
    others_NK[np.arange(len(label_N)), label_N] = -1.0
    return {
        "suspects, by probability for the label's share": np.lexsort((doubt_N, ~suspected)),
        "suspects, by margin": np.lexsort((own_N - others_NK.max(axis=1), ~suspected)),
        "probability of the label alone": np.argsort(own_N, kind="stable"),
    }


def check_against_cleanlab(probs_NK: np.ndarray, label_N: Ints) -> str:
    """Whether cleanlab suspects the same photos; it need not be installed."""
    try:
        from cleanlab.filter import find_label_issues
    except ImportError:
        return "cleanlab is not installed: not compared"
    judged = ~np.isnan(probs_NK[:, 0])
    theirs = find_label_issues(label_N[judged], probs_NK[judged], filter_by="confident_learning")
    ours = label_doubt(probs_NK, label_N)[0][judged]
    return f"cleanlab suspects {theirs.sum()} labels, whichland {ours.sum()}, both {(theirs & ours).sum()}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("embeddings", type=Path)
    parser.add_argument("--swapped", type=float, default=0.03)
    parser.add_argument("--looked", type=float, default=0.06)
    parser.add_argument("--draws", type=int, default=5)
    given = parser.parse_args()
    kept = manifests.read(given.manifest).kept.drop_nulls(["country", "group"])
    vectors = pl.read_parquet(given.embeddings, columns=["path", "embedding"]).drop_nulls()
    rows = kept.join(vectors, left_on="uri", right_on="path", maintain_order="left")
    codes = rows["country"].unique().sort().to_list()
    true_N = np.array([codes.index(code) for code in rows["country"]])
    group_N, vectors_NF = group_numbers(rows["group"].to_list()), rows["embedding"].to_numpy()
    looked, swaps = round(given.looked * len(true_N)), round(given.swapped * len(true_N))
    print(f"{len(true_N):,} photos, {len(codes)} countries; {swaps} labels swapped, {looked} photos looked at")
    found: dict[str, list[tuple[int, bool]]] = {}
    for draw in range(given.draws):
        random, label_N = np.random.default_rng(draw), true_N.copy()
        for row in random.choice(len(true_N), swaps, replace=False):
            others = label_N[true_N != true_N[row]]
            label_N[row] = random.choice(others)
        probs_NK = cross_validated(vectors_NF, label_N, group_N, len(codes))
        wrong = label_N != true_N
        for name, order in orders(probs_NK, label_N).items():
            shown = np.zeros(len(true_N), dtype=bool)
            shown[order[:looked]] = True
            found.setdefault(name, []).extend((draw, bool(hit)) for hit in shown[wrong])
        suspected = label_doubt(probs_NK, label_N)[0]
        right = (probs_NK.argmax(axis=1) == true_N)[~np.isnan(probs_NK[:, 0])].mean()
        print(f"draw {draw}: the probe is right for {right:.1%}; {suspected.sum()} suspected; ", end="")
        print(check_against_cleanlab(probs_NK, label_N), flush=True)
    for name, hits in found.items():
        draws, hit = zip(*hits, strict=True)
        (share,) = means(np.array(hit, float)[:, None], np.array(draws), "share")
        print(f"{name:<46} {share.value:.1%} [{share.within('.1f', 100)}] of the swapped labels found")


if __name__ == "__main__":
    main()
