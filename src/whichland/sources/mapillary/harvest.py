"""Drive a harvest: searches and photos under way together, everything noted as it comes.

    fetch("mapillary:bbox=10.7,59.9,10.8,59.95", Path("oslo"), HarvestConfig(budget=2000), token=token)

The coordinating thread alone chooses and notes; `workers` threads send requests and write photos. They are
daemons: an interrupted harvest ends at once, as a killed one does, and the journal holds what was done.
"""

import json
import queue
import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from whichland.errors import UserError
from whichland.images.decode import ImageError
from whichland.manifest import Manifest
from whichland.progress import Progress
from whichland.sources.columns import absolute, say
from whichland.sources.mapillary import places
from whichland.sources.mapillary.client import API, Client, Expired, GaveUp, Refused, Trouble
from whichland.sources.mapillary.config import HarvestConfig
from whichland.sources.mapillary.journal import BudgetSpentError, Journal, Wanted
from whichland.sources.mapillary.photo import verified
from whichland.sources.mapillary.records import (
    FIELDS,
    SOURCE,
    Record,
    left_out,
    to_frame,
    to_record,
    url_field,
)
from whichland.sources.mapillary.search import BoxJob, FullError, Search
from whichland.whole_file import whole_file

MOST_FAILURES = 100  # things given up in a row, after which something is wrong with all
MOST_WAITING = 5000  # photos known and not fetched, above which searches wait: their addresses expire


class Harvested(NamedTuple):
    """What a harvest brought. `unfinished` says why it is not complete; None when it is."""

    manifest: Manifest
    summary: dict[str, Any]
    unfinished: str | None


class _Settled(NamedTuple):
    """What came of a photo; see `Journal.settle`."""

    state: str
    record: Record | None = None
    size: int | None = None
    reason: str | None = None


@dataclass(frozen=True, kw_only=True)
class PhotoJob:
    """One photo to fetch, verify and store."""

    wanted: Wanted
    path: Path

    def run(self, client: Client) -> _Settled:
        """Store the photo. What goes wrong with it alone is the result; what stops the harvest is raised."""
        config, record, trouble = client.config, self.wanted.record, "no answer"
        url = record["url"] if record else None
        try:
            for attempt in range(config.tries):
                if url is None:  # not known yet, or expired
                    fresh = _describe(client, self.wanted.id)
                    record, url = record or fresh, fresh["url"]
                    if reason := left_out(record, config):
                        return _Settled("left out", record, reason=reason)
                    if url is None:
                        return _Settled("gone", record, reason="no photo of this size")
                try:
                    photo = verified(client.photo(url))
                    self.path.parent.mkdir(parents=True, exist_ok=True)
                    with whole_file(self.path) as partial:
                        partial.write_bytes(photo)
                    return _Settled("stored", record, len(photo))
                except Expired as caught:
                    url, trouble = None, str(caught)
                except (Trouble, ImageError) as caught:
                    trouble = str(caught)
                    client.back_off(attempt + 1)
        except Refused as caught:
            return _Settled("gone", record, reason=f"Mapillary has it no more ({caught})")
        except GaveUp as caught:
            trouble = str(caught)
        return _Settled("gave up", record, reason=trouble)


@dataclass(frozen=True, kw_only=True)
class SequenceJob:
    """One sequence whose images to list."""

    area: int
    sequence: str

    def run(self, client: Client) -> list[str]:
        """Give the ids of the images of the sequence, in order. Raises Refused and GaveUp."""
        data = client.api("image_ids", {"sequence_id": self.sequence}).get("data")
        images = [image for image in data if isinstance(image, dict)] if isinstance(data, list) else []
        ids = [str(image.get("id") or "") for image in images]
        return [native for native in ids if native.isascii() and native.isdecimal()]


Job = BoxJob | PhotoJob | SequenceJob


def _describe(client: Client, native: str) -> Record:
    """Ask for one image's fields. Raises Refused and GaveUp."""
    field = url_field(client.config)
    record = to_record(client.api(native, {"fields": ",".join((*FIELDS, field))}), field)
    if record is None or record["id"] != native:
        raise GaveUp("the answer is about another image")
    return record


def fetch(
    origin: str,
    folder: Path,
    config: HarvestConfig,
    *,
    token: str,
    api: str = API,
) -> Harvested:
    """Fetch the photos of `origin` into `folder` and return their manifest; goes on where it was left.

    Photos lie in `folder` as `<last two digits>/<id>.jpg`. A budget that runs out ends the harvest
    early, with the manifest of what is there. Raises UserError.
    """
    place = places.parse(origin)
    quota = config.quota or place.quota
    if config.quota and place.quota and config.quota != place.quota:
        raise UserError(f"--quota {config.quota} and {origin} differ; give one of them")
    if quota and place.kind in ("ids", "sequence"):
        raise UserError(f"a quota cannot be had of {place.kind}=; --per-sequence thins a sequence")
    journal = Journal(folder)
    client = None
    try:
        client = Client(api, token, config, journal)
        journal.bind(_settings(origin, place, config, api), folder)
        run = _Run(place, quota, folder, config, journal, client)
        unfinished = run.go()
        return _result(origin, config, folder, journal, unfinished, run.told)
    finally:
        if client is not None:
            client.stopped.set()
            client.close()
        journal.close()


def _settings(origin: str, place: places.Place, config: HarvestConfig, api: str) -> dict[str, Any]:
    """What decides which photos come; the content of a file counts, not its name."""
    settings = {"origin": origin, "api": api, **config.choosing()}
    if place.kind in ("polygon", "ids"):
        try:
            settings["origin"] = f"{place.kind} {sha256(Path(place.values[0]).read_bytes()).hexdigest()}"
        except OSError as error:
            raise UserError(f"{place.values[0]}: cannot be read ({error.strerror})") from None
    return settings


class _Run:
    """One run of a harvest, from where the journal stands to its end."""

    def __init__(
        self,
        place: places.Place,
        quota: int | None,
        folder: Path,
        config: HarvestConfig,
        journal: Journal,
        client: Client,
    ) -> None:
        self._folder, self._config, self._journal, self._client = folder, config, journal, client
        self._todo: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[tuple[Job, Any]] = queue.SimpleQueue()
        self._sequences: deque[SequenceJob] = deque()
        self._under_way = self._failures = 0
        self.told: list[str] = []
        _tidy(folder)
        journal.reopen(
            native for native, _, size in journal.stored() if not _is_there(photo_path(folder, native), size)
        )
        areas: list[places.Area] = []
        if place.kind == "ids":
            journal.want(0, places.read_ids(Path(place.values[0])), None, done=True)
        elif place.kind == "sequence":
            open_lists = [at for at in range(len(place.values)) if not journal.frontier(at).finished]
            self._sequences.extend(SequenceJob(area=at, sequence=place.values[at]) for at in open_lists)
        else:
            areas = places.areas(place, quota=quota, seed=config.seed)
        self._search = Search(areas, journal, config)
        self._photos = deque(journal.wanted())

    def go(self) -> str | None:
        """Work until all is done; say what is missing when the budget ends it earlier."""
        for _ in range(self._config.workers):
            threading.Thread(target=self._work, daemon=True).start()
        stop: UserError | None = None
        with Progress("fetching photos") as progress:
            progress.advance(self._journal.states().get("stored", 0))
            while True:
                if stop is None:
                    self._hand_out()
                if not self._under_way:
                    break
                job, result = self._answers.get()
                self._under_way -= 1
                try:
                    self._take(job, result, progress)
                except UserError as error:
                    stop = error if stop is None else stop
                    if not isinstance(error, BudgetSpentError):  # requests already paid for may end
                        self._client.stopped.set()
        for _ in range(self._config.workers):
            self._todo.put(None)
        self.told += self._search.told
        if stop is not None and not isinstance(stop, BudgetSpentError):
            raise stop
        return str(stop) if stop else None

    def _work(self) -> None:
        """Do jobs until there are none; any exception is a result, for the coordinating thread to raise."""
        while (job := self._todo.get()) is not None:
            try:
                result: Any = job.run(self._client)
            except Exception as error:
                result = error
            self._answers.put((job, result))

    def _hand_out(self) -> None:
        """Keep every worker busy; searches and photos take turns, so that neither waits for the other's end."""
        while self._under_way < 2 * self._config.workers:
            job = next(self._next_jobs(), None)
            if job is None:
                return
            self._under_way += 1
            self._todo.put(job)

    def _next_jobs(self) -> Iterator[Job]:
        waiting = len(self._photos)
        if waiting < 4 * self._config.workers or (waiting < MOST_WAITING and self._under_way % 4 == 0):
            if self._sequences:
                yield self._sequences.popleft()
            job = self._search.next_job()
            self._take_chosen()
            if job is not None:
                yield job
        if self._photos:
            wanted = self._photos.popleft()
            yield PhotoJob(wanted=wanted, path=photo_path(self._folder, wanted.id))

    def _take(self, job: Job, result: Any, progress: Progress) -> None:
        """Note what came of a job. Raises what ends the harvest."""
        if isinstance(result, Exception) and not isinstance(result, (FullError, Refused, GaveUp)):
            raise result
        gave_up = isinstance(result, GaveUp) or (isinstance(result, _Settled) and result.state == "gave up")
        self._failures = self._failures + 1 if gave_up else 0
        if isinstance(job, BoxJob):
            self._search.answer(job, result)
            self._take_chosen()
        elif isinstance(job, SequenceJob):
            self._list(job, result)
        else:
            self._journal.settle(job.wanted.id, *result)
            progress.advance(result.state == "stored")
        if self._failures >= MOST_FAILURES:
            last = result.reason if isinstance(result, _Settled) else result
            raise UserError(
                f"{self._failures} requests in a row were given up, the last with: {last}; go on later "
                "with the same command"
            )

    def _take_chosen(self) -> None:
        self._photos.extend(self._search.chosen)
        self._search.chosen.clear()

    def _list(self, job: SequenceJob, ids: list[str] | Exception) -> None:
        if isinstance(ids, Exception):
            self.told.append(f"sequence {job.sequence} cannot be listed: {ids}")
            return
        most = self._config.per_sequence
        if most and len(ids) > most:  # evenly along the drive
            ids = [ids[at * len(ids) // most] for at in range(most)]
        self._journal.want(job.area, ids, job.sequence, done=True)
        self._photos.extend(Wanted(native, None) for native in ids)


def photo_path(folder: Path, native: str) -> Path:
    """Where a photo lies: in one of a hundred folders, so that none grows too large to list."""
    return folder / native[-2:].zfill(2) / f"{native}.jpg"


def _is_there(path: Path, size: int) -> bool:
    return path.is_file() and path.stat().st_size == size


def _tidy(folder: Path) -> None:
    """Remove what a killed process left half-written."""
    for partial in folder.glob("[0-9][0-9]/.*.part"):
        partial.unlink(missing_ok=True)


def _result(
    origin: str,
    config: HarvestConfig,
    folder: Path,
    journal: Journal,
    unfinished: str | None,
    told: list[str],
) -> Harvested:
    """Make the manifest, which depends on what was found alone, and the summary, which tells of this run too."""
    rows = list(journal.stored())
    uris = [str(absolute(photo_path(folder, native))) for native, _, _ in rows]
    frame = to_frame([record for _, record, _ in rows], uris)
    reasons, states, boxes = journal.reasons(), journal.states(), journal.failed_boxes()
    manifest = Manifest(frame.head(0)).with_step(
        "ingest", frame, origin=origin, kind=SOURCE, source=SOURCE, failed=reasons, **config.choosing()
    )
    failed = states.get("gone", 0) + states.get("gave up", 0)
    summary = {
        "stored": len(rows),
        "failed": failed,
        "reasons": reasons,
        "left_out": journal.left_out(),
        "boxes_failed": len(boxes),
        "waiting": states.get("wanted", 0),
        "requests": journal.spent(),
        "budget": config.budget,
    }
    for line in told:
        say(line)
    if boxes:
        say(f"{len(boxes)} boxes could not be searched, the smallest of about 50 m; first: {boxes[0]}")
    return Harvested(manifest, json.loads(json.dumps(summary)), unfinished)
