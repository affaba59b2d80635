"""The page of a run: what it shows while training, after a stop, and at the end."""

import json
import re
import xml.etree.ElementTree as ElementTree
from dataclasses import asdict
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tinted import tinted
from whichland.charts import Line, lines_svg
from whichland.training import run_log
from whichland.training.config import TrainConfig
from whichland.training.process import Interrupted
from whichland.training.run import train
from whichland.training.run_log import RunPage, watching

STEPS = 10


def lines(epochs: int, *, extra: int = 0) -> list[dict[str, Any]]:
    """The log of so many whole epochs of ten steps, and `extra` steps of the next; a step takes half a second."""
    found: list[dict[str, Any]] = []
    seconds = 20.0
    for epoch in range(epochs + 1):
        for step in range(STEPS if epoch < epochs else extra):
            seconds += 0.5
            loss = 3 - 0.2 * epoch - 0.01 * step
            found.append({"kind": "step", "epoch": epoch, "step": step, "loss": loss, "lr": 1e-3, "seconds": seconds})
        if epoch < epochs:
            seconds += 2
            macro = 0.3 + 0.1 * epoch if epoch < 3 else 0.35
            scores = {"val_loss": 2.5, "val_top1": macro + 0.05, "val_macro_f1": macro}
            found.append({"kind": "epoch", "epoch": epoch + 1, "train_loss": 2.8, "seconds": seconds, **scores})
    return found


def page(folder: Path, **changes: Any) -> RunPage:
    folder.mkdir(exist_ok=True)
    (folder / "log.jsonl").touch()
    config = TrainConfig(**({"arch": "resnet18", "epochs": 6, "lr": 0.002} | changes))
    return RunPage(folder, config, steps=STEPS, batch_size=32, photos=325)


def shown(folder: Path) -> tuple[str, dict[str, str]]:
    """The page, well formed, and the figures on top."""
    html = (folder / "index.html").read_text(encoding="utf-8")
    open_tags: list[str] = []

    class Parser(HTMLParser):
        def handle_starttag(self, tag: str, attrs: Any) -> None:
            if tag not in ("meta", "link", "path", "circle", "br"):
                open_tags.append(tag)

        def handle_endtag(self, tag: str) -> None:
            if tag not in ("path", "circle"):
                assert open_tags.pop() == tag

    Parser().feed(html)
    assert open_tags == []
    for svg in re.findall(r"<svg.*?</svg>", html, re.S):
        ElementTree.fromstring(svg)
    return html, dict(re.findall(r"<dt>([^<]*)</dt><dd>([^<]*)</dd>", html))


def test_while_it_trains_the_page_asks_for_itself_and_tells_the_time_left(tmp_path: Path) -> None:
    drawn = page(tmp_path / "run")
    html, facts = shown(tmp_path / "run")
    assert "The first step is yet to come" in html
    for line in lines(4, extra=5):
        drawn(line)
    drawn.write("running")
    html, facts = shown(tmp_path / "run")
    assert '<meta http-equiv="refresh" content="30">' in html
    assert facts["epoch"] == "4 of 6"
    assert facts["best macro-F1"] == "50.0% (epoch 3)"
    assert facts["its top-1"] == "55.0%"
    assert facts["photos a second"] == "64"
    assert facts["time left"] == "0:12"  # 15 steps of half a second and two validations of two
    assert 'aria-valuenow="75"' in html
    assert html.count("<svg") == 4
    for title in ("Loss", "Validation scores", "Learning rate of the head", "Photos a second"):
        assert f'aria-label="{title}"' in html
    assert "http://" not in html.replace("http://www.w3.org", "")
    assert "https://" not in html
    assert len(html) < 60_000
    assert re.search(r"<code>lr</code></td><td>0.002</td>", html)
    assert html.index("<code>lr</code>") < html.index("settings at their defaults")
    assert html.index("<code>seed</code>") > html.index("settings at their defaults")


@pytest.mark.parametrize(("patience", "said"), [(0, "20.0% (epoch 6, the last)"), (9, "50.0% (epoch 3, the best)")])
def test_the_finished_page_says_which_epoch_the_bundle_holds(tmp_path: Path, patience: int, said: str) -> None:
    drawn = page(tmp_path / "run", patience=patience)
    for line in [*lines(5), lines(6)[-1] | {"val_macro_f1": 0.2}]:
        drawn(line)
    drawn.write("finished")
    html, facts = shown(tmp_path / "run")
    assert facts["best macro-F1"] == "50.0% (epoch 3)"
    assert facts["the bundle&#39;s macro-F1"] == said
    assert "the epoch whose weights the bundle holds" in html


def test_the_page_is_written_after_an_epoch_and_inside_one_when_half_a_minute_has_passed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr(run_log.time, "monotonic", lambda: now[0])
    drawn, written = page(tmp_path / "run"), []
    monkeypatch.setattr(drawn, "_render", lambda state: written.append(now[0]) or state)
    for line in lines(1, extra=9):
        now[0] += 7
        drawn(line)
    # steps at 1007, 1014, …; the epoch's own line comes eleventh
    assert written == [1035.0, 1070.0, 1077.0, 1112.0]


def test_short_epochs_do_not_make_the_page_costly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(run_log.time, "monotonic", lambda: now[0])
    drawn, written = page(tmp_path / "run"), []

    def render(state: str) -> str:
        now[0] += 0.05
        written.append(state)
        return state

    monkeypatch.setattr(drawn, "_render", render)
    epoch = lines(1)[-1]
    for _ in range(200):
        now[0] += 0.1
        drawn(epoch)
    assert 4 <= len(written) <= 5  # twenty seconds, of which a hundredth may go into pages of 0.05 s
    drawn.write("finished")
    assert written[-1] == "finished"


def test_a_step_that_waited_for_the_frozen_part_is_not_the_speed(tmp_path: Path) -> None:
    drawn = page(tmp_path / "run")
    for number, line in enumerate(lines(2, extra=5)):
        drawn({**line, "seconds": line["seconds"] + (300 if number >= 11 else 0)})
    drawn.write("running")
    assert shown(tmp_path / "run")[1]["photos a second"] == "64"


def test_a_last_epoch_that_is_cut_short_ends_where_the_axis_does(tmp_path: Path) -> None:
    drawn = page(tmp_path / "run", epochs=2.5)
    for line in lines(2, extra=5):
        drawn(line)
    drawn({**lines(3)[-1], "seconds": 40.0})
    drawn.write("finished")
    html, facts = shown(tmp_path / "run")
    assert facts["epoch"] == "2.5 of 2.5"
    across = [float(x) for x in re.findall(r'<circle class="dot \w+" cx="([\d.]+)"', html)]
    assert max(across) == 440 - 96


def test_a_run_of_less_than_a_step_has_a_page(tmp_path: Path) -> None:
    drawn = page(tmp_path / "run", epochs=0.01)  # the loop takes one step all the same
    drawn(lines(0, extra=1)[0])
    drawn.write("running")
    html, facts = shown(tmp_path / "run")
    assert 'aria-valuenow="100"' in html
    assert facts.get("time left", "0:00:00") == "0:00:00"
    assert ">0.01</text>" in html  # the end of the axis


def test_an_epoch_without_validation_does_not_shorten_the_time_left(tmp_path: Path) -> None:
    drawn = page(tmp_path / "run", epochs=4, validate_every=2)
    for line in lines(2):
        drawn(line)
    drawn({"kind": "epoch", "epoch": 3, "train_loss": 2.8, "seconds": drawn.seconds})
    assert drawn.validation_s == 2


def test_a_scale_shows_thousands_in_full() -> None:
    x = np.array([0.0, 1.0])
    fast = lines_svg("Photos a second", [Line(name="a", x=x, y=x * 18_000)], end=1, y_range=(0, 18_000))
    assert ">20,000</text>" in fast
    rates = lines_svg("Rate", [Line(name="a", x=x, y=x * 2e-3)], end=1, y_range=(0, 2e-3))
    assert ">0.002</text>" in rates


def test_a_resumed_run_shows_what_came_before(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines(2)))
    drawn = page(folder)
    assert shown(folder)[1]["epoch"] == "2 of 6"
    more = lines(3, extra=0)[22:]
    for line in more:
        drawn({**line, "seconds": line["seconds"] + 500})  # starting again took long
    drawn.write("running")
    assert shown(folder)[1]["photos a second"] == "64"  # and does not count as a step's time


def test_ends_are_told_and_links_lead_to_what_is_there(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    drawn = page(folder)
    for line in lines(3):
        drawn(line)
    drawn.write("finished")
    html, facts = shown(folder)
    assert "http-equiv" not in html
    assert "time left" not in facts
    assert 'href="bundle/"' in html
    assert 'href="log.jsonl"' in html
    assert 'href="config.toml"' not in html
    assert 'aria-valuenow="100"' in html  # stopped early, and yet at its end
    drawn.write("stopped")
    assert "Stopped; go on with --resume" in shown(folder)[0]


@pytest.mark.parametrize(
    ("error", "words"), [(Interrupted, "Stopped"), (KeyboardInterrupt, "Stopped"), (ValueError, "Ended by")]
)
def test_whatever_ends_a_run_the_page_says_so(tmp_path: Path, error: type[BaseException], words: str) -> None:
    (tmp_path / "log.jsonl").touch()
    loader = SimpleNamespace(steps=STEPS, batch_size=4, photos=range(40))
    said: list[str] = []
    fit: Any = SimpleNamespace(
        accelerator=SimpleNamespace(is_main_process=True),
        loader=loader,
        watchers=[],
        config=TrainConfig(),
        folder=tmp_path,
        say=said.append,
    )

    def stopped_run() -> None:
        with watching(fit):
            fit.watchers[0](lines(0, extra=1)[0])
            raise error

    with pytest.raises(error):
        stopped_run()
    html = shown(tmp_path)[0]
    assert words in html
    assert "http-equiv" not in html
    assert str(tmp_path / "index.html") in said[0]


def test_text_from_outside_is_escaped(tmp_path: Path) -> None:
    page(tmp_path / "a<b>", weights="<script>alert(1)</script>.safetensors")
    html = (tmp_path / "a<b>" / "index.html").read_text()
    assert "<script>alert" not in html
    assert "a<b>" not in html


def test_losses_that_are_no_numbers_leave_a_gap_and_no_error(tmp_path: Path) -> None:
    drawn = page(tmp_path / "run")
    for line in lines(2):
        drawn({**line, "loss": float("nan")} if line.get("step") == 3 else line)
    drawn.write("running")
    html, facts = shown(tmp_path / "run")
    assert "nan" not in html.split("<h2>Settings")[0]
    assert facts["steps whose loss was no number"] == "2"


def test_long_lines_are_thinned_and_keep_their_extremes() -> None:
    x = np.arange(100_000) / 1000
    y = np.sin(x)
    y[54_321] = 9.0
    thin = run_log._thinned("sine", x, y, y)
    assert len(thin.x) == run_log.POINTS
    assert thin.low is not None
    assert thin.high is not None
    assert thin.high.max() == 9.0
    assert thin.low.min() == y.min()
    np.testing.assert_allclose(thin.y, np.sin(thin.x), atol=0.1)


def test_smoothing_keeps_a_straight_line_inside() -> None:
    straight = np.arange(200.0)
    np.testing.assert_allclose(run_log._smoothed(straight)[10:-10], straight[10:-10])
    assert run_log._smoothed(np.array([])).tolist() == []


def test_a_chart_places_values_on_its_scale_and_parts_names_that_would_overlap() -> None:
    x = np.array([0.0, 10.0])
    lines = [Line(name="top", x=x, y=np.array([0.0, 1.0])), Line(name="other", x=x, y=np.array([1.0, 1.0]))]
    chart = lines_svg("A & B", lines, end=10, y_range=(0, 1), percent=True)
    root = ElementTree.fromstring(chart)
    texts = {
        text.text: (float(text.get("x", 0)), float(text.get("y", 0)))
        for text in root.iter("{http://www.w3.org/2000/svg}text")
    }
    assert {"0%", "25%", "50%", "75%", "100%", "A & B", "epoch"} <= texts.keys()
    assert abs(texts["top"][1] - texts["other"][1]) >= 14
    first, second = re.findall(r'class="line \w+" d="M([^"]*)"', chart)
    y0, y1 = (float(point.split()[1]) for point in first.split("L"))
    assert y0 == pytest.approx(texts["0%"][1] - 4, abs=0.1)
    assert y1 == pytest.approx(texts["100%"][1] - 4, abs=0.1)
    assert second.split("L")[0].split()[1] == second.split("L")[1].split()[1]
    assert lines_svg("empty", [Line(name="a", x=x[:0], y=x[:0])], end=3) == ""


def test_a_real_run_ends_with_a_finished_page(tmp_path: Path) -> None:
    settings = {"arch": "test_resnet", "weights": "none", "size": 64, "test_size": 64, "batch_size": 8}
    config = TrainConfig(**settings, epochs=2, precision="fp32")  # type: ignore[arg-type]
    train(tinted(tmp_path), config, tmp_path / "run")
    html, facts = shown(tmp_path / "run")
    assert "Finished" in html
    assert facts["epoch"] == "2 of 2"
    assert float(facts["photos a second"].replace(",", "")) > 1
    assert all((tmp_path / "run" / link).exists() for link in ("bundle/README.md", "log.jsonl"))
    assert 'href="bundle/README.md"' in html
    assert [path.name for path in (tmp_path / "run").glob(".*")] == []  # no half-written file is left


def test_every_setting_stands_on_the_page(tmp_path: Path) -> None:
    page(tmp_path / "run")
    html, _ = shown(tmp_path / "run")
    assert all(f"<code>{name}</code>" in html for name in asdict(TrainConfig()))
