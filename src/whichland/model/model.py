"""A bundle that answers, whatever runs its network.

    model = wl.load("runs/mine/bundle")
    model.predict("a.jpg")                       # one photo, one Answer
    model.predict(["a.jpg", "b.jpg"])            # a list, a list
    for answer in model.predict(many_paths): …   # any other iterable, an iterator: read ahead, in batches, in order

`look` and `answers` are the two halves of every answer: a photo to the crops of its views, and crops to answers.
"""

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence, Sized
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast, overload

import numpy as np

from whichland.errors import UserError
from whichland.images.containers import ImageError, is_address
from whichland.images.photo import PhotoLike, is_photo, open_photo
from whichland.images.preprocess import Pixels, Preprocess
from whichland.model.answer import Answer, Knowledge, Probabilities
from whichland.model.batches import made_ahead
from whichland.model.bundle import Bundle, read_settings
from whichland.model.engines import (
    Engine,
    EngineChoice,
    Logits,
    Run,
    choose_engine,
    exported_network,
    load_torch,
    torch_network,
)
from whichland.model.info import Info
from whichland.model.labels import LabelSpace
from whichland.model.views import HowMany, PhotoViews, combined, cut_views
from whichland.progress import Progress

if TYPE_CHECKING:
    from whichland.explanation.explain import Explanation

BATCH = 32  # crops that the network takes at once


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class Model:
    """An open bundle. It may be used from several threads."""

    folder: Path
    arch: str
    space: LabelSpace
    preprocess: Preprocess
    info: Info  # whichland.json
    engine: Engine
    run: Run
    loaded: Bundle | None = None  # where torch is what runs

    @property
    def name(self) -> str:
        """What to call the model: the folder of its run, or its own."""
        folder = self.folder.resolve()
        return folder.parent.name if folder.name == "bundle" else folder.name

    @property
    def labels(self) -> tuple[str, ...]:
        """The codes of the labels, in the order of the logits."""
        return self.space.codes

    @property
    def temperature(self) -> float:
        """What logits are divided by before the softmax; 1 where the bundle was not calibrated."""
        return self.info.temperature

    @cached_property
    def knowledge(self) -> Knowledge:
        """Labels and calibration."""
        return Knowledge(bundle=self.folder, space=self.space, calibration=self.info.calibration)

    @cached_property
    def bundle(self) -> Bundle:
        """The same with its torch network, for what needs gradients. Raises UserError where torch is missing."""
        return self.loaded or load_torch(self.folder)

    def __repr__(self) -> str:
        return f"<Model {self.name}: {self.arch}, {len(self.labels)} labels, {self.engine}>"

    @overload
    def predict(  # type: ignore[overload-overlap]  # a text is one photo, though it can be iterated over
        self, photos: PhotoLike, *, views: HowMany = ..., panorama: bool = ...
    ) -> Answer: ...
    @overload
    def predict(
        self,
        photos: list[Any] | tuple[Any, ...],
        *,
        views: HowMany = ...,
        panorama: bool = ...,
        batch_size: int = ...,
        progress: bool = ...,
    ) -> list[Answer]: ...
    @overload
    def predict(
        self,
        photos: Iterable[PhotoLike],
        *,
        views: HowMany = ...,
        panorama: bool = ...,
        batch_size: int = ...,
        progress: bool = ...,
    ) -> Iterator[Answer]: ...
    def predict(
        self,
        photos: PhotoLike | Iterable[PhotoLike],
        *,
        views: HowMany = "auto",
        panorama: bool = False,
        batch_size: int = BATCH,
        progress: bool = False,
    ) -> Answer | list[Answer] | Iterator[Answer]:
        """Answer one photo (an Answer), a list or tuple of photos (a list), or any other iterable (an iterator).

        A photo is a path, `shard.parquet#row`, `archive.zip#member`, a web address, the bytes of a file, a Pillow
        image, or an array H×W×3 of uint8. A wide photo and a sphere are seen in several views, unless `views` is
        "one"; `panorama` takes every photo that is twice as wide as high for a sphere.

        One photo that cannot be read raises ImageError; of several, its Answer has `error` set, and the rest go
        on. An iterable may be endless: no more than a few batches are taken from it before their answers are
        asked for.
        """
        cut = partial(cut_views, preprocess=self.preprocess, views=views, panorama=panorama)
        if is_photo(photos):
            opened = open_photo(photos)
            (answer,) = self.answers([photos], [cut(opened)])
            return replace(answer, photo=opened.data) if answer.path and is_address(answer.path) else answer

        def look(photo: PhotoLike) -> PhotoViews | ImageError:
            try:
                return cut(open_photo(photo))
            except ImageError as error:
                return error

        found = self._many(cast(Iterable[PhotoLike], photos), look, batch_size, progress)
        return list(found) if isinstance(photos, list | tuple) else found

    def explain(
        self, photo: PhotoLike, target: str | tuple[str, str] | None = None, method: str | None = None, **options: Any
    ) -> "Explanation":
        """Show where in a photo the evidence for an answer lies: `whichland.explain` of this model."""
        from whichland import explain  # stands above this module, so it is reached by its public name

        return explain(self, photo, target, method, **options)

    def look(self, photo: PhotoLike, *, views: HowMany = "auto") -> PhotoViews:
        """Read a photo and cut what the network is to see of it. Raises ImageError."""
        return cut_views(open_photo(photo), self.preprocess, views=views)

    def answers(
        self, photos: Sequence[PhotoLike], seen: Sequence[PhotoViews | ImageError], most: int = BATCH
    ) -> list[Answer]:
        """The answers to photos from what is to be seen of them; `most` crops go through the network at once."""
        crops = [crop for one in seen if isinstance(one, PhotoViews) for crop in one.crops]
        parts = [self.probabilities(np.stack(crops[at : at + most])) for at in range(0, len(crops), most)]
        probs_VK = np.concatenate(parts) if parts else np.zeros((0, len(self.labels)), np.float32)
        found, done = [], 0
        for photo, one in zip(photos, seen, strict=True):
            if isinstance(one, ImageError):
                found.append(self.unread(photo, one))
                continue
            found.append(self.answer(photo, one, probs_VK[done : done + len(one.crops)]))
            done += len(one.crops)
        return found

    def answer(self, photo: PhotoLike, seen: PhotoViews, probs_VK: Probabilities) -> Answer:
        """The answer to a photo from the probabilities of its views."""
        return Answer(
            path=_path(photo),
            probabilities=combined(probs_VK),
            views=seen.views,
            width=seen.width,
            height=seen.height,
            knowledge=self.knowledge,
            photo=photo,
        )

    def unread(self, photo: PhotoLike, error: ImageError) -> Answer:
        """What stands in the place of an answer to a photo that cannot be read."""
        none_K = np.full(len(self.labels), np.nan, np.float32)
        return Answer(path=_path(photo), probabilities=none_K, error=error, knowledge=self.knowledge)

    def probabilities(self, crops_BHWC: Pixels) -> Probabilities:
        """The probability of every label for crops B×H×W×3 uint8: B×K float32, rows sum to one."""
        return softmax(self.run(crops_BHWC), self.temperature)

    def _many(
        self,
        photos: Iterable[PhotoLike],
        look: Callable[[PhotoLike], PhotoViews | ImageError],
        batch_size: int,
        progress: bool,
    ) -> Generator[Answer, None, None]:
        """Answers in the order of the photos, which threads read ahead."""
        total = len(photos) if isinstance(photos, Sized) else None
        batches = made_ahead(photos, look, batch_size)
        with closing(batches), Progress("predicting", total, show=progress) as shown:
            for some, seen in batches:
                yield from self.answers(some, seen, batch_size)
                shown.advance(len(some))


def _path(photo: PhotoLike) -> str | None:
    return str(photo) if isinstance(photo, str | Path) else None


def load(folder: str | Path, *, engine: EngineChoice = "auto", threads: int | None = None) -> Model:
    """Open a bundle for prediction.

    `engine` is one of `ENGINES`, or "auto": torch where there is a GPU for it, else model.onnx where it was
    exported, else torch. `threads` bounds the processor's cores that one batch is computed on; all when None.
    Raises UserError when the folder is no bundle, a file of it is damaged, or the engine cannot be had.
    """
    folder = Path(folder)  # the place where names of other origins, such as a hub's, become folders
    chosen = choose_engine(folder, engine)
    if chosen == "torch":
        return model_of(load_torch(folder), threads)
    read = read_settings(folder)
    return Model(
        folder=folder,
        arch=str(read.config.get("architecture", "")),
        space=read.space,
        preprocess=read.preprocess,
        info=read.info,
        engine=chosen,
        run=exported_network(folder, chosen, threads, read),
    )


def model_of(bundle: Bundle | Model, threads: int | None = None) -> Model:
    """A bundle with its torch network as a model that answers."""
    if isinstance(bundle, Model):
        return bundle
    return Model(
        folder=bundle.folder,
        arch=bundle.arch,
        space=bundle.space,
        preprocess=bundle.preprocess,
        info=bundle.info,
        engine="torch",
        run=torch_network(bundle, threads),
        loaded=bundle,
    )


def predict(model: Model | Bundle, photos: Any, **options: Any) -> Any:
    """Answer photos by a model, see `Model.predict`."""
    return model_of(model).predict(photos, **options)


def softmax(logits_BK: Logits, temperature: float = 1.0) -> Probabilities:
    """Probabilities of logits over `temperature`: B×K float32, rows sum to one.

    Raises UserError for logits that are no finite numbers: no answer can be made of them.
    """
    if not np.isfinite(logits_BK).all():
        raise UserError("the network's outputs are not finite numbers (NaN or infinite): its weights are damaged")
    scaled_BK = logits_BK / np.float32(temperature)
    scaled_BK -= scaled_BK.max(axis=1, keepdims=True)
    np.exp(scaled_BK, out=scaled_BK)
    probabilities: Probabilities = scaled_BK / scaled_BK.sum(axis=1, keepdims=True)
    return probabilities
