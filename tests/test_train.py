"""Training end to end on small generated photos: resume, processes, selection, and what the loop promises."""

import json
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from safetensors.torch import load_file

import forked
from curated import measured
from tinted import COLOURS, tinted
from whichland.cli.commands import root
from whichland.curate.clean import clean
from whichland.curate.split import SplitConfig, certificate_of, split
from whichland.errors import UserError
from whichland.manifest import Manifest, read, write
from whichland.model import bundle
from whichland.training.config import TrainConfig
from whichland.training.run import prepare, train

QUICK = {"arch": "test_resnet", "weights": "none", "size": 64, "test_size": 64, "batch_size": 8, "precision": "fp32"}


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty-eight noisy photos of three countries, each with its own tint."""
    splits = ["train"] * 6 + ["test", "val"]
    return tinted(tmp_path_factory.mktemp("photos"), 48, split=lambda i: splits[i % 8])


def config(**changes: object) -> TrainConfig:
    return TrainConfig(**(QUICK | {"epochs": 2} | changes))  # type: ignore[arg-type]


def log(run: Path, kind: str = "step") -> list[dict[str, float]]:
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [line for line in lines if line["kind"] == kind]


def command(manifest: Path, out: Path, *more: str) -> list[str]:
    flags = ["--arch", "test_resnet", "--weights", "none", "--size", "64", "--test-size", "64", "--precision", "fp32"]
    return ["-m", "whichland", "train", str(manifest), *flags, "--out", str(out), *more]


def test_the_tints_are_learnt_and_the_bundle_knows_namibia(manifest: Path, tmp_path: Path) -> None:
    run = train(manifest, config(epochs=8, ema=0.9), str(tmp_path / "run"))
    assert run.scores["val_top1"] == 1.0
    loaded = bundle.load(run.bundle)
    assert loaded.labels == ("FR", "JP", "NA")
    assert loaded.info.train["epochs"] == 8
    assert (tmp_path / "run" / "index.html").read_text().count("<svg") >= 4
    assert log(tmp_path / "run", "epoch")[-1]["epoch"] == 8


def test_the_certificate_of_the_split_goes_into_the_bundle_and_another_split_is_told(
    manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    uris = read(manifest).frame["uri"].to_list()
    table = clean(measured(48, countries=tuple(COLOURS), uri=uris))
    trained, other = split(table), split(table, SplitConfig(seed=5))
    run = train(trained, config(epochs=1), tmp_path / "run")
    assert certificate_of(trained) is not None
    assert bundle.load(run.bundle).info.split_certificate == certificate_of(trained)

    def said(judged: Manifest) -> list[str]:
        file = write(judged, tmp_path / "judged.parquet")
        root()(["evaluate", str(run.bundle), str(file)], prog_name="whichland", standalone_mode=False)
        return [line for line in capsys.readouterr().out.splitlines() if "trained" in line]

    assert said(trained) == []
    (line,) = said(other)
    assert line.startswith("the model was trained from another split (seed 0, 48 groups, ")
    row = trained.kept.filter(pl.col("split") == "train")["image_id"][0]
    moved = trained.frame.with_columns(split=pl.when(pl.col("image_id") == row).then(pl.lit("test")).otherwise("split"))
    (line,) = said(Manifest(moved, trained.history))
    assert line.startswith("the model was trained from another split")


def test_a_resumed_run_ends_exactly_as_an_uninterrupted_one(manifest: Path, tmp_path: Path) -> None:
    whole = train(manifest, config(epochs=3, head=(16,)), tmp_path / "whole")
    out = tmp_path / "stopped"
    flags = ["--epochs", "3", "--head", "16", "--batch-size", "8"]
    process = forked.Started(command(manifest, out, *flags))
    deadline = time.monotonic() + 200
    while not (out / "log.jsonl").exists() or len(log(out)) < 5:
        assert time.monotonic() < deadline, "training did not start"
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    stopped = process.wait(200)
    assert stopped.returncode == 130, stopped.stderr
    assert not (out / "bundle").exists()
    assert len(log(out)) < len(log(tmp_path / "whole"))
    resumed = forked.run(command(manifest, out, "--resume"))
    assert resumed.returncode == 0, resumed.stderr
    assert [line["loss"] for line in log(out)] == [line["loss"] for line in log(tmp_path / "whole")]
    assert [line["train_loss"] for line in log(out, "epoch")] == [
        line["train_loss"] for line in log(tmp_path / "whole", "epoch")
    ]
    a, b = load_file(whole.bundle / "model.safetensors"), load_file(out / "bundle" / "model.safetensors")
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_two_processes_are_one_with_the_doubled_batch(manifest: Path, tmp_path: Path) -> None:
    train(manifest, config(), tmp_path / "one")
    done = forked.torchrun(2, command(manifest, tmp_path / "two", "--epochs", "2", "--batch-size", "8"))
    assert done.returncode == 0, done.stderr[-2000:]
    one_losses = np.array([line["loss"] for line in log(tmp_path / "one")])
    two_losses = np.array([line["loss"] for line in log(tmp_path / "two")])
    np.testing.assert_allclose(two_losses, one_losses, rtol=2e-3)
    a = load_file(tmp_path / "one" / "bundle" / "model.safetensors")
    b = load_file(tmp_path / "two" / "bundle" / "model.safetensors")
    assert max(float((a[n].float() - b[n].float()).abs().max()) for n in a) < 0.05


def test_runs_of_one_process_choose_their_precision_each(manifest: Path, tmp_path: Path) -> None:
    losses = {}
    for precision in ("bf16", "fp32"):
        train(manifest, config(epochs=1, precision=precision), tmp_path / precision)
        losses[precision] = [line["loss"] for line in log(tmp_path / precision)]
    assert losses["bf16"] != losses["fp32"]
    np.testing.assert_allclose(losses["bf16"], losses["fp32"], rtol=0.1)


def test_existing_runs_are_never_overwritten(manifest: Path, tmp_path: Path) -> None:
    train(manifest, config(epochs=1), tmp_path / "run")
    with pytest.raises(UserError, match="finished run"):
        train(manifest, config(epochs=1), tmp_path / "run")


def test_a_model_that_cannot_be_made_leaves_no_folder_in_the_way(manifest: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError):
        train(manifest, config(arch="resnet_of_nobody"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_resuming_with_other_settings_is_refused(manifest: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    out.mkdir()
    (out / "config.toml").write_text("epochs = 9\n")
    with pytest.raises(UserError, match="other settings"):
        train(manifest, config(epochs=1), out, resume=True)


def test_resuming_with_another_manifest_is_refused(manifest: Path, tmp_path: Path) -> None:
    settings, out = config(epochs=1), tmp_path / "run"
    shutil.rmtree(train(manifest, settings, out).bundle)  # as if it had been killed while it wrote the bundle
    table = read(manifest)
    splits = pl.when(pl.col("split") == "test").then(pl.lit("train")).otherwise(pl.col("split"))
    for changed in (table.frame.with_columns(split=splits), table.frame.head(40)):
        with pytest.raises(UserError, match=r"started with another manifest.* resume with that one"):
            train(Manifest(changed), settings, out, resume=True)
    moved = write(Manifest(table.frame.reverse()), tmp_path / "moved.parquet")  # the same photos in another file
    assert train(moved, settings, out, resume=True).bundle.exists()


def test_photos_that_were_moved_and_countries_that_are_missing_are_said_before_the_run_begins(
    manifest: Path, tmp_path: Path
) -> None:
    table, out = read(manifest), tmp_path / "run"
    gone = table.frame.with_columns(uri="/nowhere" + pl.col("uri"))
    with pytest.raises(UserError, match=r"not where the table says \(/nowhere.*`whichland data prepare PHOTOS -o"):
        train(Manifest(gone), config(), out)
    nameless = table.frame.with_columns(drop_reason=pl.lit("no_country"))
    with pytest.raises(UserError, match=r"the manifest has 0 \(left out: 48 of 48 rows \(48 no_country\)\)$"):
        train(Manifest(nameless), config(), out)
    assert not out.exists()


def test_resuming_says_when_there_is_nothing_to_resume(
    manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    with pytest.raises(UserError, match="holds no run to resume; train without --resume"):
        train(manifest, config(epochs=1), out, resume=True)
    assert not out.exists()
    prepare(manifest, config(epochs=1), out)  # killed before its first checkpoint
    train(manifest, config(epochs=1), out, resume=True)
    assert f"nothing is saved in {out} yet" in capsys.readouterr().err


@pytest.mark.parametrize("settings", [{"batch_size": 1}, {"accumulate": 8}])
def test_a_part_of_one_photo_is_one_line_where_batch_norm_cannot_take_it(
    manifest: Path, tmp_path: Path, settings: dict[str, int]
) -> None:
    with pytest.raises(UserError, match="a part of one photo: raise --batch-size, or lower accumulate") as raised:
        train(manifest, config(size=32, test_size=32, **settings), tmp_path / "run")
    assert "\n" not in str(raised.value)


def test_a_batch_of_one_trains_where_it_can(manifest: Path, tmp_path: Path) -> None:
    train(manifest, config(arch="test_vit", size=160, test_size=160, batch_size=1, epochs=0.1), tmp_path / "run")
    assert len(log(tmp_path / "run")) == 4


@pytest.mark.parametrize("policy", ["backbone", "front"])
def test_frozen_tensors_do_not_move(manifest: Path, tmp_path: Path, policy: str) -> None:
    run = train(manifest, config(epochs=1, freeze=policy, head_first=False), tmp_path / "run")
    torch.manual_seed(0)
    from whichland.model.backbone import create

    start = create("test_resnet", 3, weights="none", size=64).model.state_dict()
    end = load_file(run.bundle / "model.safetensors")
    moved = {name.split(".")[0] for name in end if not torch.equal(start[name], end[name])}
    assert moved == ({"fc"} if policy == "backbone" else {"layer4", "fc"})


def test_missing_country_and_unsplit_manifest_are_named(manifest: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no training photos of DE"):
        train(manifest, config(countries=("FR", "DE")), tmp_path / "a")
    from whichland.manifest import read

    unsplit = Manifest(read(manifest).frame.drop("split"))
    with pytest.raises(UserError, match="no column split"):
        train(unsplit, config(), tmp_path / "b")
    assert not (tmp_path / "a").exists()
