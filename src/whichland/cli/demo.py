"""`whichland demo`: the whole way on the synthetic world."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from whichland.cli.main import require_extra
from whichland.cli.tables import print_table


def demo(
    out: Annotated[Path, typer.Option("--out", help="Folder for everything the demo makes.")] = Path("runs/demo"),
    scenes: Annotated[int, typer.Option("--scenes", help="How many scenes to render.", min=200)] = 2400,
    epochs: Annotated[int | None, typer.Option("--epochs", help="Passes over the training scenes.")] = None,
    seed: Annotated[int, typer.Option("--seed", help="Which of the possible worlds.")] = 0,
) -> None:
    """Render a world, train on it, evaluate, explain and predict; then the line to type for your own photos."""
    require_extra("train", "torch")
    from dataclasses import replace

    from whichland.studies.demo import SETTINGS, run

    config = replace(SETTINGS, seed=seed, epochs=epochs or SETTINGS.epochs)
    made = run(out, scenes=scenes, seed=seed, config=config, say=lambda text: print(text, file=sys.stderr))
    scores = [(name, f"{s.value:.1%}", f"{s.low:.1%} – {s.high:.1%}") for name, s in made.report.scores.items()]
    print_table("Test scores", ("score", "value", "95 % interval"), scores)
    clues = [
        (
            c.clue,
            c.photos,
            f"{c.mass:.1%}",
            f"{c.mass_interval[0]:.1%} – {c.mass_interval[1]:.1%}",
            f"{c.area:.1%}",
            f"{c.gain:.2f}",
        )
        for c in made.clues
    ]
    print_table("Heat on the clues", ("clue", "photos", "heat", "95 % interval", "chance", "heat/chance"), clues)
    print_table(
        "A few photos", ("photo", "truth", "guess", "probability"), [(*g[:3], f"{g[3]:.0%}") for g in made.guesses]
    )
    print(f"\nreport      {made.report.html}\nheat maps   {made.overlays[0].parent}/\nbundle      {out}/run/bundle")
    print(
        "\nnext, with your own photos in folders by country:\n"
        "  whichland data prepare photos/ -o photos.parquet && whichland train photos.parquet --out runs/mine"
    )
