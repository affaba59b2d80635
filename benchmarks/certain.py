"""How often an answer that is rolled up until it is certain enough is right, and how far up it is.

    python benchmarks/certain.py BUNDLE MANIFEST [--split test] [--certainty 0.5 0.8 0.9]

For each certainty asked for: the share of photos whose answer is a country, a region, a continent or none, and the
share of each that is right, with intervals over groups. Beside it the mean probability that these answers had, and
how often the first guess at the country would have been right on the same photos.
"""

import argparse

import numpy as np
import polars as pl

import whichland as wl
from whichland.manifest import read
from whichland.statistics import group_numbers, share, shares


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("bundle")
    parser.add_argument("manifest")
    parser.add_argument("--split", default="test")
    parser.add_argument("--certainty", type=float, nargs="+", default=[0.5, 0.8, 0.9])
    args = parser.parse_args()
    model = wl.load(args.bundle)
    space = model.space
    rows = read(args.manifest).kept.filter(pl.col("split") == args.split, pl.col("country").is_in(space.codes))
    rows = rows.sort("image_id")
    groups, truth = group_numbers(rows["group"].to_list()), rows["country"].to_list()
    answers = list(model.predict(rows["uri"].to_list()))
    first = np.array([answer.label == code for answer, code in zip(answers, truth, strict=True)])
    print(f"{len(answers)} photos; first guess right: {share(first, groups)}")
    for certainty in args.certainty:
        said = [answer.certain(certainty) for answer in answers]
        right = np.array(
            [
                one is not None and one.code == space.named(code, one.level)
                for one, code in zip(said, truth, strict=True)
            ]
        )
        everyone = np.ones(len(said), dtype=bool)
        answered = np.array([one is not None for one in said])
        right_of_them = shares([right], [answered], groups)[0]
        print(f"{certainty:.0%} asked for: answered {share(answered, groups)}, right {right_of_them}")
        for level in (*space.levels, None):
            at = np.array([(one.level if one else None) == level for one in said])
            if not at.any():
                continue
            ours, guessed = (shares([hits], [at], groups)[0] for hits in (right, first))
            sure = np.mean([one.probability for one in said if one and one.level == level]) if level else np.nan
            print(
                f"    {level or 'none':10} {shares([at], [everyone], groups)[0]}, right {ours if level else '-'}, "
                f"mean probability {sure:.1%}, its first guess {guessed}"
            )


if __name__ == "__main__":
    main()
