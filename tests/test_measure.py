"""Each measure against its definition; files that cannot be read; processes that die; going on after a stop."""

import hashlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image, ImageFilter

from curated import photo, save
from processes import runs, wait_until
from whichland.curate import measure as measuring
from whichland.curate.measure import grey_thumbnail, measure, measure_image, perceptual_hash, sharpness
from whichland.manifest import Manifest
from whichland.workers import fresh, map_batches, map_in_processes


def manifest(paths: list[Path]) -> Manifest:
    names = [str(path) for path in paths]
    return Manifest(pl.DataFrame({"image_id": names, "uri": names, "source": "made"}))


def test_measures_are_what_they_say(tmp_path: Path) -> None:
    path = save(photo(1, size=(200, 120)), tmp_path / "a.png")
    found = measure_image(str(path))
    data = path.read_bytes()
    assert (found.width, found.height, found.bytes) == (200, 120, len(data))
    assert found.sha256 == hashlib.sha256(data).hexdigest()
    assert found.unreadable is None
    rgb = np.asarray(Image.open(path), dtype=float)  # smaller than 160 px: measured as it stands
    luma = rgb @ [0.299, 0.587, 0.114]
    assert found.brightness == pytest.approx(luma.mean() / 255, abs=0.003)
    assert found.contrast == pytest.approx(luma.std() / 255, abs=0.003)
    share = np.bincount(np.rint(luma).astype(int).ravel(), minlength=256) / luma.size
    bits = -sum(part * np.log2(part) for part in share if part)
    assert found.entropy == pytest.approx(bits, abs=0.02)


@pytest.mark.parametrize(("levels", "bits"), [([90], 0), ([0, 255], 1), ([10, 20, 30, 40], 2)])
def test_entropy_of_even_shares(tmp_path: Path, levels: list[int], bits: float) -> None:
    grey = np.repeat(np.array(levels, dtype=np.uint8), 64 * 64 // len(levels)).reshape(64, 64)
    assert measure_image(str(save(Image.fromarray(grey), tmp_path / "a.png"))).entropy == bits


def test_sharpness_is_the_variance_of_the_laplacian() -> None:
    grey = np.random.default_rng(0).integers(0, 256, (40, 50)).astype(np.uint8)
    luma = grey.astype(float)
    laplacian = luma[:-2, 1:-1] + luma[2:, 1:-1] + luma[1:-1, :-2] + luma[1:-1, 2:] - 4 * luma[1:-1, 1:-1]
    assert sharpness(grey) == pytest.approx(laplacian.var(), rel=1e-12)
    assert sharpness(np.zeros((2, 9), dtype=np.uint8)) == 0


def test_hash_is_the_sign_of_the_low_frequencies() -> None:
    grey = photo(3, size=(256, 256)).convert("L")
    small = np.asarray(grey.resize((32, 32), Image.Resampling.BOX), dtype=float)
    wave = np.cos(np.pi * (2 * np.arange(32)[None] + 1) * np.arange(8)[:, None] / 64)
    low = (wave @ small @ wave.T).ravel()
    expected = sum(1 << (63 - at) for at in range(64) if low[at] > np.median(low[1:]))
    assert perceptual_hash(grey).bit_count() in (31, 32)
    assert (perceptual_hash(grey) ^ expected).bit_count() <= 1  # whole numbers round the cosines


def test_hash_survives_size_quality_and_blur_but_not_another_scene(tmp_path: Path) -> None:
    original = photo(5, size=(800, 600))
    twins = {"smaller": original.resize((400, 300)), "blurred": original.filter(ImageFilter.GaussianBlur(5))}
    base = measure_image(str(save(original, tmp_path / "a.jpg", 95)))
    poor = measure_image(str(save(original, tmp_path / "poor.jpg", 30)))
    others = [poor, *(measure_image(str(save(twin, tmp_path / f"{name}.jpg"))) for name, twin in twins.items())]
    assert all((base.phash ^ other.phash).bit_count() <= 4 for other in others)
    assert others[-1].sharpness < base.sharpness / 2
    stranger = measure_image(str(save(photo(6), tmp_path / "b.jpg")))
    assert (base.phash ^ stranger.phash).bit_count() > 12


def test_thumbnail_shrinks_the_short_side_only_down() -> None:
    assert grey_thumbnail(np.zeros((600, 1200), dtype=np.uint8)).size == (320, 160)
    assert grey_thumbnail(np.zeros((100, 300), dtype=np.uint8)).size == (300, 100)
    assert grey_thumbnail(np.zeros((1, 5000), dtype=np.uint8)).size == (5000, 1)


def test_unreadable_files_become_rows_with_a_reason_in_order(tmp_path: Path) -> None:
    good = [save(photo(seed), tmp_path / f"{seed}.jpg") for seed in range(40)]
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(good[0].read_bytes()[:2000])
    paths = [*good[:35], broken, tmp_path / "missing.jpg", *good[35:]]
    frame = measure(manifest(paths), workers=2, progress=False).frame
    assert frame["uri"].to_list() == [str(path) for path in paths]
    assert frame["unreadable"].is_not_null().arg_true().to_list() == [35, 36]
    assert frame["sha256"][35] == hashlib.sha256(broken.read_bytes()).hexdigest()
    assert frame["sha256"][36] is None
    alone = measure(manifest(paths), workers=1, progress=False).frame
    assert frame.equals(alone)


def test_only_rows_without_sha256_are_read(tmp_path: Path) -> None:
    first, second = (save(photo(seed), tmp_path / f"{seed}.jpg") for seed in (1, 2))
    table = measure(manifest([first]), progress=False)
    first.unlink()
    frame = pl.concat([table.frame, manifest([second]).frame], how="diagonal_relaxed")
    again = measure(Manifest(frame, table.history), progress=False)
    assert again.frame["sha256"].null_count() == 0
    assert again.frame["unreadable"].null_count() == 2
    assert again.history[-1].params == {"measured": 1, "waiting": 0}


def test_interrupted_measuring_leaves_what_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [save(photo(seed, size=(80, 60)), tmp_path / f"{seed}.jpg") for seed in range(3)]
    whole, kept = measuring.measure_batch, []

    def stop_at_last(uris: list[str]) -> list[measuring.Measures]:
        if str(paths[2]) in uris:
            raise KeyboardInterrupt
        return whole(uris)

    monkeypatch.setattr(measuring, "BATCH", 1)
    monkeypatch.setattr(measuring, "measure_batch", stop_at_last)
    with pytest.raises(KeyboardInterrupt):
        measure(manifest(paths), workers=1, progress=False, checkpoint=kept.append)
    assert kept[-1].frame["sha256"].null_count() == 1
    assert kept[-1].history[-1].params == {"measured": 2, "waiting": 1}
    monkeypatch.undo()
    finished = measure(kept[-1], workers=1, progress=False)
    assert finished.frame.equals(measure(manifest(paths), workers=1, progress=False).frame)


def test_batches_are_made_when_asked_for() -> None:
    names = [f"{number}.jpg" for number in range(2 * measuring.BATCH + 5)]
    batches = measuring._batches(pl.Series(names))
    assert iter(batches) is batches
    found = list(batches)
    assert len(found) == 3
    assert [name for batch in found for name in batch] == names
    assert list(measuring._batches(pl.Series([], dtype=pl.String))) == []


def deadly(batch: int) -> int:
    if batch == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return batch * 10


def test_a_script_needs_no_guard_and_runs_once(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "print('once')\n"
        "from whichland.workers import map_batches\n"
        "print(list(map_batches(len, ['a', 'bc'], workers=2)))\n"
        "import __main__; print(__main__.__file__)\n"
    )
    ran = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60, check=False)
    assert (ran.stdout, ran.stderr) == (f"once\n[1, 2]\n{script}\n", "")


def test_where_processes_cannot_be_forked_they_are_started_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("multiprocessing.get_all_start_methods", lambda: ["spawn"])  # as on Windows
    assert fresh("whichland.errors").get_start_method() == "spawn"
    assert list(map_in_processes(abs, [-1, -2], workers=1)) == [1, 2]


def test_few_batches_start_no_process() -> None:
    assert list(map_batches(process_of, range(3))) == [os.getpid()] * 3
    assert os.getpid() not in list(map_batches(process_of, range(3), workers=2))


def process_of(_: int) -> int:
    return os.getpid()


def test_a_killed_process_costs_its_own_batch_only() -> None:
    found = list(map_in_processes(deadly, range(12), workers=2))
    assert found == [None if batch == 5 else batch * 10 for batch in range(12)]
    assert list(map_batches(deadly, [4, 5, 6], alone=True)) == [40, None, 60]


def test_workers_end_with_their_parent_however_it_ends(tmp_path: Path) -> None:
    (tmp_path / "slowly.py").write_text(
        "import os, time\n"
        "def slow(number):\n"
        f"    open(r'{tmp_path}/' + str(os.getpid()) + '.pid', 'w').close()\n"
        "    time.sleep(120)\n"
    )
    script = tmp_path / "work.py"
    script.write_text(
        "from slowly import slow\n"
        "from whichland.workers import map_batches\n"
        "list(map_batches(slow, range(8), workers=2))\n"
    )
    parent = subprocess.Popen([sys.executable, str(script)], stdin=subprocess.DEVNULL)
    wait_until(lambda: len(list(tmp_path.glob("*.pid"))) == 2)
    workers = [int(path.stem) for path in tmp_path.glob("*.pid")]
    parent.kill()
    parent.wait()
    wait_until(lambda: not any(runs(pid) for pid in workers))
