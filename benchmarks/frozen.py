"""What frozen backbones know of countries, asked for more than the mean of their last map.

    python benchmarks/frozen.py features PLACE ARCH SIZE --weights W.safetensors
    python benchmarks/frozen.py table PLACE
    python benchmarks/frozen.py report PLACE

PLACE is the folder of `carry_over.py data`. `features` puts all photos of the 22 countries, and the panoramas' views,
through a frozen backbone once (by OpenVINO on one thread) and keeps PLACE/features/ARCH-SIZE.npz: of each stage the
mean and the deviation of every channel, of the last map also the means of its four rows. `table` fits logistic
regressions on them and shows the validation photos at home and one half of the panoramas; `report` shows the test
photos and the other half, and is to be run once. Differences are paired: from the first row, and of the nearest
photos from the logistic regression on the same features. "own mean" brings each
channel's mean and deviation over the panoramas that are judged, whose countries are not looked at, to those of the
training photos. The probabilities of each row are kept beside those of the runs, so that `carry_over.py table`
averages them with others.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import polars as pl
import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, cross_entropy

from carry_over import COUNTRIES, drawn, together
from whichland.evaluation.neighbours import NeighbourHead
from whichland.images.decode import load
from whichland.images.preprocess import Preprocess
from whichland.manifest import read
from whichland.model import backbone
from whichland.statistics import group_numbers

LABELS = sorted(COUNTRIES.split(","))
MOBILE, LITE, RESNET = "mobilenetv2_100-448", "tf_efficientnet_lite2-448", "resnet50-320"
ALL = ("last", "stages", "rows")
VARIANTS = (  # name, features, which parts of them, L2 penalty as chosen on validation
    ("MobileNetV2, last mean", (MOBILE,), ("last",), 0.3),
    ("EfficientNet-Lite2, last mean", (LITE,), ("last",), 0.3),
    ("ResNet-50, last mean", (RESNET,), ("last",), 0.3),
    ("all three, last means", (MOBILE, LITE, RESNET), ("last",), 0.5),
    ("MobileNetV2, stages and rows", (MOBILE,), ALL, 0.5),
    ("EfficientNet-Lite2, stages and rows", (LITE,), ALL, 0.2),
    ("EfficientNet-Lite2 at 320 px, stages and rows", ("tf_efficientnet_lite2-320",), ALL, 0.2),
    ("ResNet-50, stages and rows", (RESNET,), ALL, 0.5),
    ("the first two, stages and rows", (MOBILE, LITE), ALL, 1.0),
    ("all three, stages and rows", (MOBILE, LITE, RESNET), ALL, 1.0),
)
BATCH = 4


class Pooled(nn.Module):
    """A backbone whose output is what is kept of each photo: B×(2·stages + 3·last), and B×C×4×4."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model, self.resnet = model, hasattr(model, "layer4")

    def stages(self, x_BCHW: Tensor) -> list[Tensor]:
        """The maps of the stages, the last map at the end."""
        m, maps = self.model, []
        if self.resnet:
            x = m.maxpool(m.act1(m.bn1(m.conv1(x_BCHW))))
            for stage in (m.layer1, m.layer2, m.layer3, m.layer4):
                x = stage(x)
                maps.append(x)
            return maps
        x = m.bn1(m.conv_stem(x_BCHW))
        for block in m.blocks:
            x = block(x)
            maps.append(x)
        return [*maps[1:], m.bn2(m.conv_head(x))]

    def forward(self, x_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        parts, maps = [], self.stages(x_BCHW)
        for one in maps:
            mean = one.mean((2, 3), keepdim=True)
            parts += [mean.flatten(1), ((one - mean) ** 2).mean((2, 3)).sqrt()]
        parts.append(maps[-1].amax((2, 3)))
        return torch.cat(parts, 1), adaptive_avg_pool2d(maps[-1], (4, 4))


def photos(place: Path) -> pl.DataFrame:
    """All photos that are looked at, in the order of the features: those at home, then the views."""
    tables = [read(place / f"{name}.parquet").kept for name in ("home", "panoramas")]
    kept = [table.filter(pl.col("country").is_in(LABELS)).sort("image_id") for table in tables]
    columns = ("uri", "country", "split", "group")
    return pl.concat([t.select(*columns, home=pl.lit(not number)) for number, t in enumerate(kept)])


def features(args: argparse.Namespace) -> None:
    import openvino

    made = backbone.create(args.arch, len(LABELS), weights=str(args.weights))
    crop = {"test_input_size": (3, args.size, args.size), "test_crop_pct": 1.0, "crop_mode": "center"}
    preprocess = Preprocess.from_config(made.pretrained_cfg | crop)
    shape = [BATCH, 3, args.size, args.size]
    network = openvino.convert_model(Pooled(made.model).eval(), example_input=torch.rand(shape), input=shape)
    precision = "f32" if args.arch.startswith("mobilenet") else "bf16"  # 16 bits spoil MobileNetV2's deviations
    hints = {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1}
    hints["ENABLE_CPU_PINNING"] = False
    run = openvino.Core().compile_model(network, "CPU", hints)
    uris, stats, cells, began = photos(args.place)["uri"].to_list(), [], [], time.process_time()
    for start in range(0, len(uris), BATCH):
        crops = [preprocess.crop(load(uri)) for uri in uris[start : start + BATCH]]
        full = [*crops, *crops[:1] * (BATCH - len(crops))]
        found = run(np.ascontiguousarray(preprocess.normalise(np.stack(full))))
        stats.append(found[0][: len(crops)].astype(np.float32))
        cells.append(found[1][: len(crops)].astype(np.float16))
    cpu = time.process_time() - began
    folder = args.place / "features"
    folder.mkdir(exist_ok=True)
    np.savez(folder / f"{args.arch}-{args.size}", stats=np.concatenate(stats), bins=np.concatenate(cells), cpu=cpu)
    print(f"{len(uris)} photos, {cpu:.0f} s of one core, {1000 * cpu / len(uris):.0f} ms a photo")


def matrix(place: Path, names: tuple[str, ...], parts: tuple[str, ...]) -> tuple[np.ndarray, float]:
    """The parts of some backbones' features side by side, N×F, and the seconds of one core that they took."""
    blocks, seconds = [], 0.0
    for name in names:
        held = np.load(place / "features" / f"{name}.npz")
        stats, cells, seconds = held["stats"], held["bins"].astype(np.float32), seconds + float(held["cpu"])
        last, end = cells.shape[1], stats.shape[1] - cells.shape[1]  # the maxima, which are not used, stand last
        before = end - 2 * last
        blocks += [stats[:, before : before + last]] if "last" in parts else []
        blocks += [stats[:, :before], stats[:, before + last : end]] if "stages" in parts else []
        blocks += [cells.mean(3).reshape(len(cells), -1)] if "rows" in parts else []
    return np.concatenate(blocks, 1), seconds


def answers(x_NF: np.ndarray, rows: pl.DataFrame, decay: float, away: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities of all photos, N×K, by a logistic regression on those of training, weighed 1/√n of the country.

    The second are those where the photos `away` have been brought to mean 0 and deviation 1 by their own.
    """
    train = (rows["home"] & (rows["split"] == "train")).to_numpy()
    targets = torch.tensor([LABELS.index(code) for code in rows["country"]])[train]
    z_NF = (x_NF - x_NF[train].mean(0)) / (x_NF[train].std(0) + 1e-4)
    z = torch.from_numpy(z_NF.astype(np.float32))
    weights = 1 / targets.bincount()[targets].sqrt()
    head = nn.Linear(z.shape[1], len(LABELS))
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    optimizer = torch.optim.LBFGS(head.parameters(), max_iter=80, history_size=10, line_search_fn="strong_wolfe")
    seen = z[torch.from_numpy(train)]

    def closure() -> Tensor:
        optimizer.zero_grad()
        losses = cross_entropy(head(seen), targets, reduction="none")
        loss = (losses * weights).sum() / weights.sum() + decay * head.weight.square().sum() / 2
        loss.backward()
        return loss

    optimizer.step(closure)
    with torch.no_grad():
        plain = head(z).softmax(1).numpy()
        theirs = x_NF[away]
        z[torch.from_numpy(away)] = torch.from_numpy((theirs - theirs.mean(0)) / (theirs.std(0) + 1e-4)).float()
        return plain, head(z).softmax(1).numpy()


def by_nearest(x_NF: np.ndarray, rows: pl.DataFrame) -> np.ndarray:
    """Probabilities of all photos by the head of `whichland evaluate --knn`."""
    train = (rows["home"] & (rows["split"] == "train")).to_numpy()
    labels = np.array([LABELS.index(code) for code in rows["country"]])[train]
    unit_NF = x_NF / np.linalg.norm(x_NF, axis=1, keepdims=True)
    head = NeighbourHead.fit(unit_NF[train], labels, group_numbers(rows["group"].to_list())[train], len(LABELS))
    print(f"k = {head.k}")
    return head.probabilities(unit_NF)


def of(rows: pl.DataFrame, probabilities: np.ndarray, mask: np.ndarray) -> dict[str, np.ndarray]:
    some = rows.filter(pl.Series(mask))
    truth = np.array([LABELS.index(code) for code in some["country"]])
    return {"probabilities": probabilities[mask], "truth": truth, "groups": group_numbers(some["group"].to_list())}


def show(args: argparse.Namespace) -> None:
    split = "val" if args.command == "table" else "test"
    rows = photos(args.place)
    home, judged = rows["home"].to_numpy(), (rows["split"] == split).to_numpy()
    counts = rows.filter("home", pl.col("split") == "train").group_by("country").len().sort("country")["len"].to_numpy()
    shares = np.sqrt(counts) / np.sqrt(counts).sum()
    first: dict[str, dict[str, np.ndarray]] = {}

    def line(name: str, seconds: float, found: dict[str, dict[str, np.ndarray]]) -> None:
        print(f"{name}; {seconds:.0f} s of one core for features" if seconds else name)
        for where, one in found.items():
            base = found["home"] if "nearest" in where else first.get(where.partition(",")[0])
            value, low, high, against = drawn(one, base)
            first.setdefault(where.partition(",")[0], one)
            text = "  ".join(f"{v:.3f} [{a:.3f}, {b:.3f}]" for v, a, b in zip(value, low, high, strict=True))
            for v, a, b in zip(*(against or ([], [], [])), strict=True):
                text += f"  {v:+.3f} [{a:+.3f}, {b:+.3f}]"
            print(f"    {where:28} {text}", flush=True)

    def panoramas(probabilities: np.ndarray) -> dict[str, np.ndarray]:
        return together(of(rows, probabilities / shares, ~home & judged))

    for name, names, parts, decay in VARIANTS:
        if (args.only and name not in args.only) or any(
            not (args.place / "features" / f"{one}.npz").exists() for one in names
        ):
            continue
        x_NF, seconds = matrix(args.place, names, parts)
        plain, own = answers(x_NF, rows, decay, ~home & judged)
        found = {"home": of(rows, plain, home & judged), "panoramas, even shares": panoramas(plain)}
        if parts == ("last",):
            found["home, by the nearest photos"] = of(rows, by_nearest(x_NF, rows), home & judged)
        line(name, seconds, found | {"panoramas, even, own mean": panoramas(own)})
        kept = args.place / "runs" / name.replace(", ", " ")
        kept.mkdir(parents=True, exist_ok=True)
        np.savez(kept / f"home-{split}.npz", **found["home"])
        np.savez(kept / f"away-{split}.npz", **of(rows, plain, ~home & judged))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    commands = parser.add_subparsers(required=True, dest="command")
    for name in ("features", "table", "report"):
        command = commands.add_parser(name)
        command.add_argument("place", type=Path)
        if name == "features":
            command.add_argument("arch")
            command.add_argument("size", type=int)
            command.add_argument("--weights", type=Path, required=True)
        else:
            command.add_argument("--only", nargs="*", help="rows to show")
    args = parser.parse_args()
    features(args) if args.command == "features" else show(args)


if __name__ == "__main__":
    main()
