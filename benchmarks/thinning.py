"""What thinning to half does to dark and blurred photos, beside keeping simply the brighter half.

    python benchmarks/thinning.py MANIFEST

MANIFEST is one that was split, such as `whichland data prepare` writes. Prints, for each way of thinning its
training photos to half, the least and the largest share that is kept of a country of at least 30 photos, the mean
brightness, and the shares kept of the darkest and the most blurred tenth.
"""

import argparse
import contextlib
import io
from pathlib import Path

import numpy as np
import polars as pl

from whichland.curate.balance import BalanceConfig, balance
from whichland.manifest import read

LEAST_PHOTOS = 30


def row(name: str, train: pl.DataFrame, used: pl.Series) -> str:
    countries = train.with_columns(_used=used).group_by("country").agg(pl.len(), pl.col("_used").mean())
    large = countries.filter(pl.col("len") >= LEAST_PHOTOS).sort("_used", "country")
    ends = [f"{large['country'][at]} {large['_used'][at]:.0%}" for at in (0, -1)]
    kept = [f"{used.filter(train[by] <= train[by].quantile(0.1)).mean():.0%}" for by in ("brightness", "sharpness")]
    return f"| {name} | {' | '.join(ends)} | {train['brightness'].filter(used).mean():.3f} | {' | '.join(kept)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("manifest", type=Path)
    table = read(parser.parse_args().manifest)
    train = table.frame.filter(pl.col("split") == "train", pl.col("drop_reason").is_null())
    half = train.height // 2
    print(f"{train.height:,} training photos, {half:,} wanted\n")
    print("| | least | most | mean brightness | of the darkest tenth | of the most blurred tenth |")
    print("|---|---|---|---|---|---|")
    print(row("all", train, pl.Series(np.ones(train.height, dtype=bool))))
    brighter = train["brightness"].rank("ordinal", descending=True) <= half
    print(row("the brighter half", train, brighter))
    for poorest in (0.0, 0.1, 0.2, 0.3):
        with contextlib.redirect_stderr(io.StringIO()):
            made = balance(table, BalanceConfig(total=half, temper=1.0, poorest=poorest)).frame
        weights = train.select("image_id").join(
            made.select("image_id", "weight"), on="image_id", how="left", maintain_order="left"
        )["weight"]
        print(row(f"--total {half} --temper 1 --poorest {poorest:g}", train, weights > 0))


if __name__ == "__main__":
    main()
