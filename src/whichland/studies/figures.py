"""The figures of a study: the amount of data, the best of each, both throughputs, and the learning curves."""

from collections.abc import Sequence

from whichland.studies import charts
from whichland.studies.charts import Row, Spot, Track
from whichland.studies.findings import Model
from whichland.studies.grid import tier_order


def figures(models: Sequence[Model]) -> dict[str, str]:
    """Every figure as SVG text by its file's name; a figure for which nothing was measured is left out."""
    if not models:
        return {}
    trained = sorted((m for m in models if m.training), key=lambda m: -_rate(m))
    made = {
        "data": charts.rows_svg("Macro-F1 by photos a country", _by_tier(models), unit="%"),
        "best": charts.rows_svg("Macro-F1, the best of each model", [("", [_best(m) for m in models])], unit="%"),
    }
    if trained:
        rows = [_training(model) for model in trained]
        made["training"] = charts.rows_svg("Training throughput", [("", rows)], unit="photos a second", log=True)
    spots = [Spot(name=model.name, across=model.inference, up=model.best.score) for model in models]
    made["inference"] = charts.scatter_svg(
        "Macro-F1 against inference throughput", spots, across="photos a second", up="macro-F1"
    )
    return made


def curves(models: Sequence[Model]) -> dict[str, str]:
    """A learning curve for each model that has three sizes or more, all on one scale."""
    fitted = [model for model in models if model.curve]
    spans = [(p.score.low, p.score.high) for model in fitted for p in model.points]
    ends = [(float(m.curve.low.min()), float(m.curve.high.max())) for m in fitted if m.curve]
    made = {}
    for model in fitted:
        assert model.curve is not None
        span = (max(0.0, min(low for low, _ in spans + ends)), min(1.0, max(high for _, high in spans + ends)))
        points = [(point.photos, point.score) for point in model.points]
        made[model.name] = charts.curve_svg(model.name, model.curve, points, span)
    return made


def _by_tier(models: Sequence[Model]) -> list[tuple[str, list[Row]]]:
    """Tiny, small, base, others; in each the best model first."""
    tiers = sorted({model.tier for model in models}, key=lambda tier: (tier_order(tier), tier or ""))
    named = len(tiers) > 1
    return [
        ((tier or "other").capitalize() if named else "", [_data(m) for m in models if m.tier == tier])
        for tier in tiers
    ]


def _data(model: Model) -> Row:
    tracks = [Track(score=p.score, before=f"{p.photos:.0f}", behind=f"{p.score.value:.1%}") for p in model.points]
    seeds = max(len(point.cells) for point in model.points)
    return Row(name=model.name, tracks=tracks, note=f"{seeds} seeds" if seeds > 1 else "")


def _best(model: Model) -> Row:
    best = model.best
    track = Track(score=best.score, before=f"{best.photos:.0f}", behind=f"{best.score.value:.1%}")
    return Row(name=model.name, tracks=[track], note=model.ties)


def _training(model: Model) -> Row:
    assert model.training is not None
    track = Track(score=model.training, behind=f"{model.training.value:,.0f}/s")
    return Row(name=model.name, tracks=[track], note=clock(model.seconds) if model.seconds else "")


def _rate(model: Model) -> float:
    return model.training.value if model.training else 0.0


def clock(seconds: float) -> str:
    """Seconds of a run, for reading."""
    minutes = seconds / 60
    if minutes < 2:
        return f"{seconds:.0f} s a run"
    return f"{minutes:.0f} min a run" if minutes < 120 else f"{minutes / 60:.1f} h a run"
