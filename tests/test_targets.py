"""Soft targets: how the share of label smoothing is spread."""

import numpy as np
import polars as pl
import pytest
import torch
from torch.nn.functional import cross_entropy

from curated import measured
from whichland.geo.distance import haversine_km
from whichland.manifest import Manifest
from whichland.model.label_sources import countries
from whichland.training.config import TrainConfig
from whichland.training.objective import target_table

LABELS = ("DE", "FR", "JP")


def table(**columns: list[object]) -> Manifest:
    rows = measured(6, countries=LABELS, **columns)
    return Manifest(rows.frame.with_columns(split=pl.lit("train"), drop_reason=pl.lit(None, dtype=pl.String)))


def soft(manifest: Manifest | None = None, **settings: object) -> torch.Tensor:
    found = target_table(countries(LABELS), TrainConfig(**settings), manifest or table())  # type: ignore[arg-type]
    assert found is not None
    torch.testing.assert_close(found.sum(1), torch.ones(3))
    return found


def test_without_mixing_the_loss_smooths_evenly_by_itself() -> None:
    assert target_table(countries(LABELS), TrainConfig(smoothing=0.2), table()) is None


def test_the_table_for_mixed_photos_gives_the_loss_of_plain_smoothing() -> None:
    logits, targets = torch.randn(5, 3), torch.tensor([0, 1, 2, 1, 0])
    torch.testing.assert_close(
        cross_entropy(logits, soft(smoothing=0.2, mixup=0.2)[targets]),
        cross_entropy(logits, targets, label_smoothing=0.2),
    )


def test_by_neighbour_the_share_goes_over_the_border_alone() -> None:
    found = soft(smoothing=0.2, smoothing_by="neighbour")
    torch.testing.assert_close(found, torch.tensor([[0.8, 0.2, 0], [0.2, 0.8, 0], [0, 0, 1.0]]))


def test_by_distance_the_photos_places_decide() -> None:
    places = {"lat": [50.0, 47.0, 36.0], "lon": [8.0, 2.0, 138.0]}  # the same one for every photo of a country
    found = soft(table(**places), smoothing=1.0, smoothing_by="distance", smoothing_km=800.0)
    lat, lon = np.array(places["lat"]), np.array(places["lon"])
    km = haversine_km(lat[:, None], lon[:, None], lat, lon)
    expected = np.exp(-km / 800) / np.exp(-km / 800).sum(1, keepdims=True)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    half = soft(table(**places), smoothing=0.5, smoothing_by="distance", smoothing_km=800.0)
    np.testing.assert_allclose(half, 0.5 * np.eye(3) + 0.5 * expected, rtol=1e-5)


def test_without_coordinates_the_countries_areas_decide() -> None:
    found = soft(smoothing=0.5, smoothing_by="distance")
    germany = found[0].tolist()
    assert germany[0] > germany[1] > 1e-3 > germany[2]
    no_columns = Manifest(table().frame.drop("lat", "lon"))
    torch.testing.assert_close(soft(no_columns, smoothing=0.5, smoothing_by="distance"), found)


def test_a_country_without_coordinates_has_those_of_its_area() -> None:
    lone = {"lat": [None, 48.85, None], "lon": [None, 2.35, None]}
    found = soft(table(**lone), smoothing=0.5, smoothing_by="distance")
    assert found[0, 1] == pytest.approx(float(soft(smoothing=0.5, smoothing_by="distance")[0, 1]), rel=0.9)
    assert not torch.equal(found, soft(smoothing=0.5, smoothing_by="distance"))
