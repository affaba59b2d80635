"""The service without HTTP: a bundle that is open, and what answers need beside it.

    service = open_service("runs/demo/run/bundle", ServeConfig())
    answer = await service.answer(photo_bytes)

It is `app.state.whichland` of the application, and what the routes of the page and the game are given.
"""

import asyncio
import sys
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from whichland.errors import UserError
from whichland.explanation.explain import ViewMap, index_of, view_maps
from whichland.explanation.methods import METHODS, Method, find_method
from whichland.images.containers import ImageError
from whichland.images.photo import OpenPhoto, open_photo
from whichland.model.answer import Answer
from whichland.model.bundle import GALLERY
from whichland.model.engines import Features, load_torch
from whichland.model.model import Judged, Model, features_of
from whichland.model.model import load as open_model
from whichland.model.record import Record, read_record
from whichland.model.views import PhotoViews, cut_views
from whichland.printed import install
from whichland.serving.answers import Heat
from whichland.serving.batching import Batcher
from whichland.serving.limits import Load
from whichland.serving.metrics import Metrics
from whichland.serving.settings import ServeConfig

if TYPE_CHECKING:
    from whichland.model.gallery import Gallery

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Service:
    """An open bundle and all that its answers need; used by any number of requests at once."""

    model: Model
    settings: ServeConfig
    gallery: "Gallery | None"
    record: Record | None
    explaining: Callable[[], Model]  # with a network of its own: gradients in the one that answers would disturb it
    methods: tuple[str, ...]  # the ways to explain that there are, the usual one first
    play: Path | None
    report: Path | None
    atlas: Path | None
    load: Load
    metrics: Metrics
    batcher: Batcher[Judged]
    decoders: ThreadPoolExecutor
    explainer: ThreadPoolExecutor  # of one thread, as the torch model is used by one at a time

    async def answer(self, data: bytes) -> Answer:
        """Answer a photo. Raises ImageError when it cannot be read or has too many pixels."""
        return (await self.answer_and_features(data))[0]

    async def answer_and_features(self, data: bytes) -> tuple[Answer, Features | None]:
        """The same with what the model's head sees of the photo, F; None where the engine does not give it."""
        seen = await in_thread(self.decoders, self._look, data)
        judged = await self._judged(seen)
        return self.model.answer(data, seen, judged), features_of(judged)

    def open(self, data: bytes) -> OpenPhoto:
        """The photo of a file. Raises ImageError when it has too many pixels or no header."""
        photo = open_photo(data)
        width, height = photo.size
        if width * height > self.settings.pixels:
            limit = self.settings.pixels / 1e6
            raise ImageError(f"{width}×{height} pixels are over the limit of {limit:.0f} million")
        return photo

    def _look(self, data: bytes) -> PhotoViews:
        return cut_views(self.open(data), self.model.preprocess, views=self.settings.views)

    async def _judged(self, seen: PhotoViews) -> list[Judged]:
        """The views go through the model together with whatever else waits for it."""
        return await asyncio.gather(*map(self.batcher.judged, seen.crops))

    async def explain(
        self, data: bytes, *, country: str | None = None, against: str | None = None, method: str | None = None
    ) -> Heat:
        """Where in a photo the evidence for a country lies, or what speaks for it and against another.

        Raises ImageError as `answer` does, UserError for a country or method that there is not, and Refusal when too
        many explanations are under way.
        """
        with self.load.explaining():
            seen = await in_thread(self.decoders, self._look, data)
            country = country or self.model.answer(data, seen, await self._judged(seen)).label
            index = index_of(self.model.labels, country if against is None else (country, against))
            chosen = find_method(method or self.methods[0])
            if chosen.name not in self.methods:
                raise UserError(f"no method {chosen.name!r} to explain by here; there are {', '.join(self.methods)}")
            views = await in_thread(self.explainer, self._maps, seen, index, chosen)
            return Heat(method=chosen.name, country=country, against=against, views=views)

    def _maps(self, seen: PhotoViews, index: int | tuple[int, int], method: Method) -> tuple[ViewMap, ...]:
        try:
            model = self.explaining()
        except UserError:  # its text names the bundle
            raise UserError("the model cannot be opened to explain with; the service's log says why") from None
        return view_maps(model, seen, index, method)

    def get_ready_to_explain(self) -> None:
        """Open what explains, which takes torch seconds, while the first photos are answered."""

        def get_ready() -> None:
            try:
                self.explaining()
            except UserError as error:
                print(f"warning: nothing can be explained: {error}", file=sys.stderr)

        self.explainer.submit(get_ready)

    def close(self) -> None:
        """Finish what is under way and stop the threads."""
        self.decoders.shutdown()
        self.explainer.shutdown()
        self.batcher.close()


def open_service(bundle: str | Path, settings: ServeConfig | None = None) -> Service:
    """Open a bundle for the service. Raises UserError when it or a file that the settings name cannot be read."""
    settings = settings or ServeConfig()
    model = open_model(bundle, engine=settings.engine, threads=settings.threads)
    folder = model.folder
    model.pins  # noqa: B018  (worked out before the first photo, and damage is reported now)
    torch_there = find_spec("torch") is not None
    if settings.explain == "gradcam" and not torch_there:
        raise UserError(f"explain gradcam: torch is not installed: {install('train')}")
    gradients = torch_there and settings.explain != "occlusion"
    explaining = cache(lambda: replace(model, loaded=load_torch(folder)) if gradients else model)
    if settings.explain == "gradcam":
        explaining()
    load = Load(settings)
    metrics = Metrics(load)

    def count_batch(photos: int, seconds: float) -> None:
        load.count_batch(photos, seconds)
        metrics.count_batch(photos, seconds)

    return Service(
        model=model,
        settings=settings,
        gallery=_gallery(model),
        record=read_record(folder),
        explaining=explaining,
        methods=tuple(name for name, method in METHODS.items() if gradients or not method.torch),
        play=_there(settings.play, "the manifest to play with"),
        report=_there(settings.report, "the report") or _beside(folder, "report/report.html"),
        atlas=_there(settings.atlas, "the atlas") or _beside(folder, "atlas/index.html"),
        load=load,
        metrics=metrics,
        batcher=Batcher(model.judged, batch=settings.batch, on_batch=count_batch),
        decoders=ThreadPoolExecutor(settings.decoders, thread_name_prefix="decode"),
        explainer=ThreadPoolExecutor(1, thread_name_prefix="explain"),
    )


async def in_thread(threads: Executor, work: Callable[..., T], *arguments: Any) -> T:
    """What `work` gives, computed in one of the threads."""
    return await asyncio.get_running_loop().run_in_executor(threads, work, *arguments)


def _gallery(model: Model) -> "Gallery | None":
    """The photos that may be shown; None as well for the engine that gives no features by which to find them."""
    if model.engine == "int8" or not (model.folder / GALLERY).is_file():
        return None
    from whichland.model.gallery import read_gallery  # with Polars

    return read_gallery(model.folder)


def _there(path: str | None, what: str) -> Path | None:
    if path is not None and not Path(path).is_file():
        raise UserError(f"{path}: {what} is not there")
    return Path(path) if path else None


def _beside(folder: Path, name: str) -> Path | None:
    path = folder.resolve().parent / name
    return path if path.is_file() else None
