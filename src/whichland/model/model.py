"""A bundle that answers, whatever runs its network.

    model = wl.load("runs/mine/bundle")
    model.predict("a.jpg")                       # one photo, one Answer
    model.predict(["a.jpg", "b.jpg"])            # a list, a list
    for answer in model.predict(many_paths): …   # any other iterable, an iterator: read ahead, in batches, in order

`cut_views` and `answers` are the two halves of every answer: a photo to the crops of its views, and crops to answers.
"""

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence, Sized
from contextlib import closing
from dataclasses import dataclass, fields, replace
from functools import cached_property, partial
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast, overload

import numpy as np

from whichland.images.containers import ImageError, is_address
from whichland.images.photo import OpenPhoto, PhotoLike, is_photo, open_photo
from whichland.images.preprocess import Pixels
from whichland.model.answer import Answer, Probabilities
from whichland.model.bundle import Bundle, Settings, home, in_hub_cache, read_settings
from whichland.model.engines import (
    Engine,
    EngineChoice,
    Features,
    Logits,
    Network,
    choose_engine,
    exported_network,
    finite,
    load_torch,
    torch_network,
)
from whichland.model.hub_bundles import found
from whichland.model.label_sources import among as labels_among
from whichland.model.views import HowMany, PhotoViews, combined, cut_views, look_at, made_ahead
from whichland.progress import Progress

if TYPE_CHECKING:
    from whichland.explanation.explain import Explanation

BATCH = 32  # crops that the network takes at once
Photos = Iterable[PhotoLike]
Listed = list[Any] | tuple[Any, ...]
Among = str | Iterable[str] | None  # names of labels that an answer is restricted to; None: any label


class Judged(NamedTuple):
    """What a network makes of one crop."""

    probabilities: Probabilities  # K
    distance: float | None  # to the training photos, see model/novelty.py; None where the bundle knows none
    features: Features | None  # F, what the head sees; None where the engine does not give it


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class Model(Settings):
    """An open bundle. It may be used from several threads."""

    engine: Engine
    network: Network
    loaded: Bundle | None = None  # where torch is what runs

    @property
    def name(self) -> str:
        """What to call the model: the folder of its run, or its own."""
        in_run = self.folder.resolve().name == "bundle" or in_hub_cache(self.folder)
        return home(self.folder).name if in_run else self.folder.resolve().name

    @cached_property
    def bundle(self) -> Bundle:
        """The same with its torch network, for what needs gradients. Raises UserError where torch is missing."""
        return self.loaded or load_torch(self.folder)

    def __repr__(self) -> str:
        return f"<Model {self.name}: {self.arch}, {len(self.labels)} labels, {self.engine}>"

    @overload
    def predict(  # type: ignore[overload-overlap]  # a text is one photo, though it can be iterated over
        self, photos: PhotoLike, *, views: HowMany = ..., panorama: bool = ..., among: Among = ...
    ) -> Answer: ...
    @overload
    def predict(
        self,
        photos: Listed,
        *,
        views: HowMany = ...,
        panorama: bool = ...,
        among: Among = ...,
        batch_size: int = ...,
        progress: bool = ...,
    ) -> list[Answer]: ...
    @overload
    def predict(
        self,
        photos: Photos,
        *,
        views: HowMany = ...,
        panorama: bool = ...,
        among: Among = ...,
        batch_size: int = ...,
        progress: bool = ...,
    ) -> Iterator[Answer]: ...
    def predict(
        self,
        photos: PhotoLike | Photos,
        *,
        views: HowMany = "auto",
        panorama: bool = False,
        among: Among = None,
        batch_size: int = BATCH,
        progress: bool = False,
    ) -> Answer | list[Answer] | Iterator[Answer]:
        """Answer one photo (an Answer), a list or tuple of photos (a list), or any other iterable (an iterator).

        A photo is a path, `shard.parquet#row`, `archive.zip#member`, a web address, the bytes of a file, a Pillow
        image, or an array H×W×3 of uint8. A wide photo and a sphere are seen in several views, unless `views` is
        "one"; `panorama` takes every photo that is twice as wide as high for a sphere. `among` restricts the answers
        to some labels, see `Answer.among`.

        One photo that cannot be read raises ImageError; of several, its Answer has `error` set, and the rest go
        on. An iterable may be endless: no more than a few batches are taken from it before their answers are
        asked for.
        """
        cut = partial(cut_views, preprocess=self.preprocess, views=views, panorama=panorama)
        within = among if among is None else labels_among(self.space, among)
        if is_photo(photos):
            opened = open_photo(photos)
            (answer,) = self.answers([photos], [cut(opened)], among=within)
            return replace(answer, photo=opened.data) if answer.path and is_address(answer.path) else answer
        found = self._many(cast(Photos, photos), cut, within, batch_size, progress)
        return list(found) if isinstance(photos, list | tuple) else found

    def _many(
        self, photos: Photos, cut: Callable[[OpenPhoto], PhotoViews], among: Among, batch_size: int, progress: bool
    ) -> Generator[Answer, None, None]:
        """Answers in the order of the photos, which threads read ahead."""
        total = len(photos) if isinstance(photos, Sized) else None
        batches = made_ahead(photos, partial(look_at, cut=cut), batch_size)
        with closing(batches), Progress("predicting", total, show=progress) as shown:
            for some, seen in batches:
                yield from self.answers(some, seen, batch_size, among=among)
                shown.advance(len(some))

    def explain(
        self, photo: PhotoLike, target: str | tuple[str, str] | None = None, method: str | None = None, **options: Any
    ) -> "Explanation":
        """Show where in a photo the evidence for an answer lies: `whichland.explain` of this model."""
        from whichland import explain  # stands above this module, so it is reached by its public name

        return explain(self, photo, target, method, **options)

    def answers(
        self,
        photos: Sequence[PhotoLike],
        seen: Sequence[PhotoViews | ImageError],
        most: int = BATCH,
        *,
        among: Among = None,
    ) -> list[Answer]:
        """The answers to photos from what is to be seen of them; `most` crops go through the network at once."""
        judged = iter(self.judged_views([one for one in seen if isinstance(one, PhotoViews)], most))
        none_K = np.full(len(self.labels), np.nan, np.float32)
        found = [
            Answer(path=_path(photo), probabilities=none_K, error=one, settings=self)
            if isinstance(one, ImageError)
            else self.answer(photo, one, next(judged))
            for photo, one in zip(photos, seen, strict=True)
        ]
        if among is None:
            return found
        within = labels_among(self.space, among)
        return [one if one.error else one.among(within) for one in found]

    def answer(self, photo: PhotoLike, seen: PhotoViews, judged: Sequence[Judged]) -> Answer:
        """The answer to a photo from what the network made of its views."""
        distances = [one.distance for one in judged if one.distance is not None]
        return Answer(
            path=_path(photo),
            probabilities=combined(np.stack([one.probabilities for one in judged])),
            distance=float(np.mean(distances)) if distances else None,
            views=seen.views,
            width=seen.width,
            height=seen.height,
            settings=self,
            photo=photo,
        )

    def probabilities(self, crops_BHWC: Pixels) -> Probabilities:
        """The probability of every label for crops B×H×W×3 uint8: B×K float32, rows sum to one."""
        return softmax(self.run(crops_BHWC), self.temperature)

    def run(self, crops_BHWC: Pixels) -> Logits:
        """The logits of crops: B×K float32."""
        return self.network(crops_BHWC).logits

    def judged_views(self, seen: Sequence[PhotoViews], most: int = BATCH) -> list[list[Judged]]:
        """What the network makes of the views of each photo; `most` crops go through it at once."""
        crops = [crop for one in seen for crop in one.crops]
        parts = [self.judged(np.stack(crops[at : at + most])) for at in range(0, len(crops), most)]
        left = chain.from_iterable(parts)
        return [list(islice(left, len(one.crops))) for one in seen]

    def judged(self, crops_BHWC: Pixels) -> list[Judged]:
        """What the network makes of each crop."""
        logits_BK, features_BF = self.network(crops_BHWC)
        probs_BK = softmax(logits_BK, self.temperature)
        if features_BF is None:
            return [Judged(probs_K, None, None) for probs_K in probs_BK]
        known = self.novelty and self.novelty.distances(features_BF).tolist()
        return list(map(Judged, probs_BK, known or [None] * len(probs_BK), features_BF))


def features_of(judged: Sequence[Judged]) -> Features | None:
    """What the head sees of a photo, the mean over its views: F; None where the engine does not give it."""
    views = [one.features for one in judged if one.features is not None]
    return np.mean(views, axis=0) if views else None


def _path(photo: PhotoLike) -> str | None:
    return str(photo) if isinstance(photo, str | Path) else None


def load(folder: str | Path, *, engine: EngineChoice = "auto", threads: int | None = None) -> Model:
    """Open a bundle for prediction.

    `engine` is one of `ENGINES`, or "auto": torch where there is a GPU for it, else model.onnx where it was
    exported, else torch. `threads` bounds the processor's cores that one batch is computed on; all when None.
    Raises UserError when the folder is no bundle, a file of it is damaged, or the engine cannot be had.
    """
    folder = found(folder)
    chosen = choose_engine(folder, engine)
    if chosen == "torch":
        return model_of(load_torch(folder), threads)
    read = read_settings(folder)
    return _model(read, engine=chosen, network=exported_network(read, chosen, threads))


def model_of(bundle: Bundle | Model, threads: int | None = None) -> Model:
    """A bundle with its torch network as a model that answers."""
    if isinstance(bundle, Model):
        return bundle
    return _model(
        bundle, engine="torch", network=torch_network(bundle, threads, features=bundle.has_features), loaded=bundle
    )


def _model(read: Settings, **more: Any) -> Model:
    model = Model(**{name.name: getattr(read, name.name) for name in fields(Settings)}, **more)
    model.novelty  # noqa: B018  (damage is reported now)
    return model


def predict(model: Model | Bundle, photos: Any, **options: Any) -> Any:
    """Answer photos by a model, see `Model.predict`."""
    return model_of(model).predict(photos, **options)


def softmax(logits_BK: Logits, temperature: float = 1.0) -> Probabilities:
    """Probabilities of logits over `temperature`: B×K float32, rows sum to one. Raises UserError as `finite` does."""
    scaled_BK = finite(logits_BK) / np.float32(temperature)
    scaled_BK -= scaled_BK.max(axis=1, keepdims=True)
    np.exp(scaled_BK, out=scaled_BK)
    probabilities: Probabilities = scaled_BK / scaled_BK.sum(axis=1, keepdims=True)
    return probabilities
