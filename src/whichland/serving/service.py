"""The service without HTTP: a bundle that is open, and what answers need beside it.

    service = open_service("runs/demo/run/bundle", ServeConfig())
    seen = await service.look(photo_bytes)

It is `app.state.whichland` of the application, and what the routes of the page and the game are given.
"""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from whichland.errors import UserError
from whichland.images.decode import ImageError, image_size
from whichland.images.preprocess import Pixels, Preprocess
from whichland.model.calibration import Calibration, calibration_of
from whichland.model.gallery import Gallery, read_gallery
from whichland.model.pins import PinTable, pin_table
from whichland.model.places import Places, read_places
from whichland.model.runner import Runner, open_bundle
from whichland.model.views import Views, combined, crops_of
from whichland.serving.batching import Batcher, Probabilities
from whichland.serving.heat import Heat, explain_crop
from whichland.serving.limits import Load
from whichland.serving.metrics import Metrics
from whichland.serving.settings import ServeConfig

if TYPE_CHECKING:
    from whichland.model.bundle import Bundle


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A photo that was looked at."""

    width: int  # of the photo as sent, upright
    height: int
    probabilities: Probabilities  # K


@dataclass(frozen=True, kw_only=True)
class Service:
    """An open bundle and all that its answers need; used by any number of requests at once."""

    runner: Runner
    settings: ServeConfig
    places: Places | None
    pins: PinTable | None
    calibration: Calibration | None
    gallery: Gallery | None
    bundle: "Bundle | None"  # where torch explains
    play: Path | None
    report: Path | None
    atlas: Path | None
    load: Load
    metrics: Metrics
    batcher: Batcher
    decoders: ThreadPoolExecutor
    explainer: ThreadPoolExecutor  # of one thread, as the torch model is used by one at a time

    @property
    def name(self) -> str:
        """What to call the model: the folder of its run, or its own."""
        folder = self.runner.folder.resolve()
        return folder.parent.name if folder.name == "bundle" else folder.name

    async def probabilities(self, crop_HWC: Pixels) -> NDArray[np.float32]:
        """The probability of every label for one crop, K; together with whatever else waits for the model."""
        return await self.batcher.probabilities(crop_HWC)

    async def look(self, data: bytes) -> Seen:
        """Decode a photo and judge it. Raises ImageError when it cannot be read or has too many pixels."""
        (width, height), crops = await self.prepare(data, views=self.settings.views)
        probs_VK = np.stack(await asyncio.gather(*map(self.probabilities, crops)))
        (probs_K,) = combined(probs_VK, np.zeros(len(crops), np.intp))
        return Seen(width=width, height=height, probabilities=probs_K)

    async def prepare(self, data: bytes, *, views: Views = "one") -> tuple[tuple[int, int], list[Pixels]]:
        """The size of a photo (width, height) and what the model sees of it: crops, one a view.

        It is decoded in one of the few threads for that.
        """
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(
            self.decoders, _prepared, data, self.runner.preprocess, self.settings.pixels, views
        )

    async def explain(
        self, data: bytes, *, country: str | None = None, against: str | None = None, method: str | None = None
    ) -> Heat:
        """Where in a photo the evidence for a country lies, or what speaks for it and against another.

        Of a wide photo or a sphere, which `look` sees in several views, the middle is explained.

        Raises ImageError as `look` does, UserError for a country or method that there is not, and Refused when too
        many explanations are under way.
        """
        with self.load.explaining():
            (width, height), (crop_HWC,) = await self.prepare(data)
            if country is None:
                country = self.runner.labels[int((await self.look(data)).probabilities.argmax())]
            work = partial(explain_crop, self.runner, self.bundle, crop_HWC, size=(width, height))
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(
                self.explainer, partial(work, country=country, against=against, method=method)
            )

    def close(self) -> None:
        """Finish what is under way and stop the threads."""
        self.decoders.shutdown()
        self.explainer.shutdown()
        self.batcher.close()


def open_service(bundle: str | Path, settings: ServeConfig | None = None) -> Service:
    """Open a bundle for the service. Raises UserError when it or a file that the settings name cannot be read."""
    settings = settings or ServeConfig()
    folder = Path(bundle)
    runner = open_bundle(folder, engine=settings.engine, threads=settings.threads)
    places = read_places(folder, runner.labels)
    load = Load(settings)
    metrics = Metrics(load)

    def heard(photos: int, seconds: float) -> None:
        load.heard(photos, seconds)
        metrics.heard(photos, seconds)

    return Service(
        runner=runner,
        settings=settings,
        places=places,
        pins=pin_table(places.points) if places else None,
        calibration=calibration_of(runner.info),
        gallery=read_gallery(folder),
        bundle=_torch_bundle(folder, settings),
        play=_there(settings.play, "the manifest to play with"),
        report=_there(settings.report, "the report") or _beside(folder, "report/report.html"),
        atlas=_there(settings.atlas, "the atlas") or _beside(folder, "atlas/index.html"),
        load=load,
        metrics=metrics,
        batcher=Batcher(runner.probabilities, batch=settings.batch, heard=heard),
        decoders=ThreadPoolExecutor(settings.decoders, thread_name_prefix="decode"),
        explainer=ThreadPoolExecutor(1, thread_name_prefix="explain"),
    )


def _torch_bundle(folder: Path, settings: ServeConfig) -> "Bundle | None":
    """A model of its own for explanations: gradients in the one that answers would disturb it."""
    if settings.explain == "occlusion" or (settings.explain == "auto" and find_spec("torch") is None):
        return None
    if find_spec("torch") is None:
        raise UserError("explain gradcam: torch is not installed: pip install 'whichland[train]'")
    from whichland.model.bundle import load

    return load(folder)


def _there(path: str | None, what: str) -> Path | None:
    if path is not None and not Path(path).is_file():
        raise UserError(f"{path}: {what} is not there")
    return Path(path) if path else None


def _beside(folder: Path, name: str) -> Path | None:
    path = folder.resolve().parent / name
    return path if path.is_file() else None


def _prepared(data: bytes, preprocess: Preprocess, pixels: int, views: Views) -> tuple[tuple[int, int], list[Pixels]]:
    width, height = image_size(data)
    if width * height > pixels:
        raise ImageError(f"{width}×{height} pixels are over the limit of {pixels / 1e6:.0f} million")
    return (width, height), crops_of(data, preprocess, views=views)
