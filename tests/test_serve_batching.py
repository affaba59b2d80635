"""Batches grow with what waits, answers go back to who asked, and an error reaches all of its batch."""

import asyncio
import threading

import numpy as np
import pytest

from whichland.serving.batching import Batcher
from whichland.serving.limits import Load, Refusal
from whichland.serving.settings import ServeConfig


def crop(value: int) -> np.ndarray:
    return np.full((2, 2, 3), value, np.uint8)


def test_what_waits_goes_together_and_each_gets_its_own():
    gate, sizes = threading.Event(), []

    def probabilities(crops_BHWC: np.ndarray) -> np.ndarray:
        gate.wait(5)
        sizes.append(len(crops_BHWC))
        return crops_BHWC[:, 0, 0, :1].astype(np.float32)

    async def ask() -> list[float]:
        asked = [asyncio.create_task(batcher.judged(crop(value))) for value in range(20)]
        await asyncio.sleep(0.1)
        gate.set()
        return [float((await one)[0]) for one in asked]

    batcher = Batcher(probabilities, batch=8)
    assert asyncio.run(ask()) == list(range(20))
    assert sum(sizes) == 20
    assert max(sizes) == 8
    assert len(sizes) <= 4  # the first went alone or in company, the rest in full batches
    batcher.close()


def test_an_error_reaches_its_batch_and_the_next_one_is_answered():
    def probabilities(crops_BHWC: np.ndarray) -> np.ndarray:
        if crops_BHWC.max() == 255:
            raise ValueError("no")
        return np.ones((len(crops_BHWC), 3), np.float32)

    batcher = Batcher(probabilities, batch=1)

    async def ask() -> list[object]:
        return await asyncio.gather(*(batcher.judged(crop(v)) for v in (1, 255, 2)), return_exceptions=True)

    first, broken, last = asyncio.run(ask())
    assert isinstance(broken, ValueError)
    assert np.array_equal(first, last)
    batcher.close()


def test_closing_answers_what_waits():
    gate = threading.Event()

    def probabilities(crops_BHWC: np.ndarray) -> np.ndarray:
        gate.wait(5)
        return np.ones((len(crops_BHWC), 3), np.float32)

    batcher = Batcher(probabilities, batch=2)

    async def ask() -> int:
        asked = [asyncio.create_task(batcher.judged(crop(v))) for v in range(7)]
        await asyncio.sleep(0.05)
        threading.Timer(0.1, gate.set).start()
        await asyncio.get_running_loop().run_in_executor(None, batcher.close)
        return len(await asyncio.gather(*asked))

    assert asyncio.run(ask()) == 7


def test_who_no_longer_waits_costs_the_model_nothing():
    gate, seen = threading.Event(), []

    def probabilities(crops_BHWC: np.ndarray) -> np.ndarray:
        gate.wait(5)
        seen.extend(crops_BHWC[:, 0, 0, 0].tolist())
        return np.ones((len(crops_BHWC), 3), np.float32)

    batcher = Batcher(probabilities, batch=4)

    async def ask() -> None:
        first = asyncio.create_task(batcher.judged(crop(1)))
        await asyncio.sleep(0.05)
        second, third = (asyncio.create_task(batcher.judged(crop(v))) for v in (2, 3))
        await asyncio.sleep(0.05)
        second.cancel()
        await asyncio.sleep(0.05)
        gate.set()
        await asyncio.gather(first, third)

    asyncio.run(ask())
    assert seen == [1, 3]
    batcher.close()


def test_seats_are_given_back_and_one_large_request_is_let_in_alone():
    load = Load(ServeConfig(queue=3))
    with load.seats(2):
        with pytest.raises(Refusal) as refused, load.seats(2):
            pass
        assert refused.value.status_code == 503
        with load.seats(1):
            assert load.photos == 3
            with pytest.raises(Refusal):
                load.check_open()
    assert load.photos == 0
    with load.seats(5):
        assert load.photos == 5


def test_how_long_to_stay_away_follows_what_waits():
    load = Load(ServeConfig(queue=1000))
    for _ in range(200):
        load.count_batch(4, 0.8)
    load.photos = 50
    assert load.retry_after == 10
    load.photos = 900
    assert load.retry_after == 60
