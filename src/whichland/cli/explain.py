"""whichland explain BUNDLE PHOTO… | FOLDER… -o PICTURE | FOLDER, or BUNDLE --maximise GOAL -o PICTURE"""

import json as json_format
import re
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Exit, Option

from whichland.bulk.inputs import find_photos
from whichland.cli.commands import require_extra
from whichland.cli.output import Bundle, say
from whichland.errors import UserError
from whichland.explanation.methods import METHODS_HELP, find_method, usual_method

if TYPE_CHECKING:
    from whichland.explanation.explain import Explanation, Target, ViewMap
    from whichland.explanation.maximise import Goal
    from whichland.explanation.verify import Verdict
    from whichland.model.labels import LabelSpace

SEVERAL = 5  # photos from which a summary says something
FORMS = "class:COUNTRY, channel:LAYER:NUMBER or unit:LAYER:NUMBER[:ROW,COLUMN]"


def explain(
    bundle: Bundle,
    out: Annotated[str, Option("-o", "--out", help="Picture to write (.png, .jpg, .webp), or a folder for many.")],
    photos: Annotated[
        list[str] | None, Argument(help="Photos; folders; rows `shard.parquet#12` and members `archive.zip#a.jpg`.")
    ] = None,
    target: Annotated[
        str | None,
        Option(
            metavar="COUNTRY|A:B",
            help="What to explain: a label, or what speaks for A and not B; the top guess when not given.",
        ),
    ] = None,
    method: Annotated[
        str | None, Option(metavar="METHOD", help=f"{METHODS_HELP}. The first that works here when not given.")
    ] = None,
    verify: Annotated[bool, Option("--verify", help="Test each map, and mark the ones that fail.")] = False,
    maximise: Annotated[
        list[str] | None,
        Option(
            metavar="GOAL",
            help=f"No photos, but a picture that excites {FORMS} most; several times for several on one sheet.",
        ),
    ] = None,
    steps: Annotated[int | None, Option(help="Steps of --maximise.", min=1)] = None,
    plain: Annotated[bool, Option("--plain", help="The photo under its heat alone, without probabilities.")] = False,
    json: Annotated[
        bool, Option("--json", help='Lines {"path","country","probability","top","target","picture"}.')
    ] = False,
) -> None:
    """Show where in a photo the model found its answer: in every view that `predict` combines it of.

    A photo that cannot be read is one line "path: reason" on stderr and the rest are answered; the exit code is then 2
    after all others are done, and 0 when every photo was readable.

    With --verify a map holds when it finds what matters better than all of 19 random maps of the same smoothness
    do (by uncovering and by blurring the photo in its order), and when it is not much the same for a copy of the
    model whose late layers are shuffled.
    """
    if bool(photos) == bool(maximise):
        raise UserError("give photos to explain, or what to --maximise")
    if maximise or verify or (method and find_method(method).torch):
        require_extra("train", "torch")
    if not plain:
        require_extra("train", "matplotlib")  # draws the sheet
    if maximise:
        _maximise(bundle, maximise, out, steps, plain=plain, json=json)
        return
    paths = list(dict.fromkeys(find_photos(photos or [])))
    pictures = dict(zip(paths, name_pictures(paths, out), strict=True))
    failed = _explain(bundle, pictures, target, method, verify=verify, plain=plain, json=json)
    raise Exit(2 if failed else 0)


def name_pictures(paths: list[str], out: str) -> list[Path]:
    """Say where each photo's picture goes: to `out` itself for one photo, else into the folder `out`.

    Raises UserError for several photos and one picture, an unknown format, and a picture that would overwrite
    a photo.
    """
    from whichland.explanation.overlay import check_picture_path

    place = Path(out)
    if place.suffix and not place.is_dir() and not out.endswith("/"):
        check_picture_path(place)
        if len(paths) > 1:
            raise UserError(f"{out} is one picture, but there are {len(paths)} photos; give a folder")
        pictures = [place]
    else:
        taken: set[str] = set()
        pictures = [place / f"{_free(path, taken)}.explained.png" for path in paths]
    overwritten = {path.resolve() for path in pictures} & {Path(path).resolve() for path in paths}
    if overwritten:
        raise UserError(f"{min(overwritten)} is one of the photos and would be overwritten; choose another -o")
    return pictures


def _free(path: str, taken: set[str]) -> str:
    """Name a photo for its picture: a.jpg and archive.zip#x/a.jpg are a, shard.parquet#12 is shard-12.

    It is name-2, name-3, … when photos of several folders share it.
    """
    container, _, inside = path.rpartition("#")
    name = f"{Path(container).stem}-{inside}" if container and inside.isdigit() else Path(path).stem
    number, free = 1, name
    while free.casefold() in taken:
        number += 1
        free = f"{name}-{number}"
    taken.add(free.casefold())
    return free


def _explain(
    folder: Path,
    pictures: dict[str, Path],
    target: str | None,
    method: str | None,
    *,
    verify: bool,
    plain: bool,
    json: bool,
) -> int:
    """Explain, write and print photo by photo; return how many could not be read."""
    from whichland.explanation.explain import explain as explain_one
    from whichland.images.containers import ImageError, named
    from whichland.model.model import load
    from whichland.progress import track

    chosen = find_method(method) if method else usual_method()
    model = load(folder)
    verifier = None
    if verify:
        from whichland.explanation.verify import Verifier

        verifier = Verifier(model.bundle.model, chosen.name)
    verdicts: list[Verdict] = []
    wanted = find_target(target, model.space) if target else None
    sys.stdout.reconfigure(errors="surrogateescape")  # type: ignore[union-attr]  # names of files as they are
    failed = 0
    for path, picture in track(pictures.items(), len(pictures), "explaining"):
        try:
            explanation = explain_one(model, path, wanted, chosen.name, verifier=verifier)
        except ImageError as error:
            failed += 1
            say(" ".join(str(named(error, path)).split()))
            continue
        explanation.save(picture, plain=plain)
        print(_as_json(explanation, picture) if json else _as_text(explanation, picture), flush=True)
        verdicts += [one.verdict for one in explanation.views if one.verdict]
    if len(verdicts) >= SEVERAL and not json:
        print(_summary(verdicts))
    return failed


def find_target(text: str, labels: "LabelSpace", *, flag: str = "--target") -> "Target":
    """Read `US`, `United States` or `HU:SK` into codes that the bundle knows. Raises UserError otherwise."""
    try:
        codes = [labels.find(text)] if text in labels else [labels.find(name) for name in text.split(":")]
    except UserError as error:
        raise UserError(f"{flag}: {error}") from None
    if len(codes) > 2 or len(set(codes)) < len(codes):
        raise UserError(f"{flag} {text}: give one {labels.noun}, or two different ones as A:B")
    return (codes[0], codes[1]) if len(codes) == 2 else codes[0]


def _as_text(explanation: "Explanation", picture: Path) -> str:
    answer, guess, views = explanation.answer, explanation.guesses[0], explanation.views
    line = f"{answer.path}: {answer.space.described(guess.code)} {guess.probability:.1%} -> {picture}"
    if not explanation.map.any():
        return f"{line} (the map is empty: no evidence was found)"
    for number, view in enumerate(views, 1):
        if (verdict := view.verdict) and not verdict.empty:
            outcome = "the map holds" if verdict.passed else f"THE MAP FAILS: it {' and it '.join(verdict.failures)}"
            line += (
                f"\n  {f'view {number}: ' if len(views) > 1 else ''}{outcome}; "
                f"insertion {verdict.insertion:.2f} (random maps {verdict.random_insertion:.2f}), "
                f"deletion {verdict.deletion:.2f} ({verdict.random_deletion:.2f}), "
                f"beats {verdict.beaten} of {verdict.random_maps}; "
                f"with shuffled layers: rank correlation {verdict.rank_correlation:.2f}, SSIM {verdict.ssim:.2f}"
            )
    return line


def _summary(verdicts: list["Verdict"]) -> str:
    import numpy as np

    from whichland.statistics import mean_interval

    gain, low, high = mean_interval(np.array([verdict.gain for verdict in verdicts]))
    return (
        f"{sum(verdict.passed for verdict in verdicts)} of {len(verdicts)} maps hold; insertion less deletion is "
        f"{gain:+.3f} over random maps (95 % interval {low:+.3f} to {high:+.3f}, photos taken as independent)"
    )


def _as_json(explanation: "Explanation", picture: Path) -> str:
    key = explanation.answer.space.noun
    ranked = [{key: guess.code, "probability": round(guess.probability, 6)} for guess in explanation.guesses]
    values = {"path": explanation.answer.path, **ranked[0], "top": ranked}
    values |= {"target": explanation.target, "method": explanation.method, "picture": str(picture)}
    values["evidence"] = bool(explanation.map.any())
    views = [_view_as_json(one) for one in explanation.views]
    if len(views) > 1:
        values["views"] = views
    elif "verdict" in views[0]:
        values["verdict"] = views[0]["verdict"]
    return json_format.dumps(values)


def _view_as_json(one: "ViewMap") -> dict[str, Any]:
    found: dict[str, Any] = {"box": one.view.box, "heading": one.view.heading, "fov": one.view.fov}
    if verdict := one.verdict:
        found["verdict"] = asdict(verdict) | {"passed": verdict.passed, "failures": verdict.failures}
    return found | {"evidence": bool(one.map.any())}


def _maximise(folder: Path, texts: Sequence[str], out: str, steps: int | None, *, plain: bool, json: bool) -> None:
    """Make the pictures, write them on one sheet to `out`, and print a line for each."""
    import numpy as np

    from whichland.explanation.figure import side_by_side
    from whichland.explanation.maximise import MaximiseConfig, maximise
    from whichland.explanation.overlay import check_picture_path, save_picture
    from whichland.model import bundle as bundles
    from whichland.model.engines import best_device

    check_picture_path(Path(out))
    bundle = bundles.load(folder)
    bundle.model.to(best_device())
    goals = [_find_goal(text, bundle.space) for text in texts]
    config = MaximiseConfig() if steps is None else MaximiseConfig(steps=steps)
    pictures, scores_G2 = maximise(bundle.model, goals, bundle.preprocess, config)
    captions = [_caption(goal, bundle.space) for goal in goals]
    sheet = np.concatenate(list(pictures), axis=1) if plain else side_by_side(list(pictures), captions)
    path = save_picture(sheet, Path(out))
    for text, caption, (grey, reached) in zip(texts, captions, scores_G2.tolist(), strict=True):
        if json:
            print(json_format.dumps({"goal": text, "grey": grey, "reached": reached, "picture": str(path)}))
        else:
            print(f"{' '.join(caption.split())}: {grey:.2f} for even grey, {reached:.2f} reached -> {path}")


def _find_goal(text: str, labels: "LabelSpace") -> "Goal":
    """Read what is to be maximised. Raises UserError for what is none of the three forms."""
    from whichland.explanation.maximise import Goal

    kind, _, rest = text.partition(":")
    if kind == "class" and rest:
        code = find_target(rest, labels, flag="--maximise")
        if isinstance(code, tuple):
            raise UserError(f"--maximise {text}: one {labels.noun} at a time; give the option again for another")
        return Goal(kind="class", number=labels.index[code])
    pattern = r"([^:]+):(\d+)" + (r"(?::(\d+),(\d+))?" if kind == "unit" else "()()")
    found = re.fullmatch(pattern, rest)
    if kind not in ("channel", "unit") or not found:
        raise UserError(f"--maximise {text}: give {FORMS}")
    layer, number, row, column = found.groups()
    place = (int(row), int(column)) if row else None
    return Goal(kind="unit" if kind == "unit" else "channel", number=int(number), layer=layer, place=place)


def _caption(goal: "Goal", labels: "LabelSpace") -> str:
    """What a picture shows, in up to two lines."""
    if goal.kind == "class":
        return labels.name(labels.codes[goal.number])
    where = f", at {goal.place[0]}, {goal.place[1]}" if goal.place else ""
    return f"{goal.kind} {goal.number}{where}\nof {goal.layer}"
