"""Drive a harvest: searches and photos under way together, everything noted as it comes.

    fetch("mapillary:bbox=10.7,59.9,10.8,59.95", Path("oslo"), HarvestConfig(budget=2000), token=token)

The coordinating thread alone chooses and notes; `workers` threads send requests and write photos. They are
daemons: an interrupted harvest ends at once, as a killed one does, and the journal holds what was done.
"""

import queue
import sqlite3
import threading
from collections import deque
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from whichland.errors import UserError
from whichland.manifest import Manifest
from whichland.progress import Progress
from whichland.sources.columns import say
from whichland.sources.files import absolute
from whichland.sources.mapillary import places
from whichland.sources.mapillary.client import API, Client, GaveUp, Refused, check_address, check_token
from whichland.sources.mapillary.config import HarvestConfig
from whichland.sources.mapillary.jobs import PhotoJob, SequenceJob, Settled
from whichland.sources.mapillary.journal import BudgetSpentError, Journal, Wanted
from whichland.sources.mapillary.records import SOURCE, to_frame
from whichland.sources.mapillary.search import BoxJob, FullError, Search

MOST_FAILURES = 150  # things given up or boxes refused in a row, after which something is wrong with all
LISTS = ("ids", "sequence")  # places that need no search
MOST_WAITING = 5000  # photos known and not fetched, above which searches wait: their addresses expire


class Harvested(NamedTuple):
    """What a harvest brought. `unfinished` says why it is not complete; None when it is."""

    manifest: Manifest
    summary: dict[str, Any]
    unfinished: str | None


Job = BoxJob | PhotoJob | SequenceJob


def fetch(origin: str, folder: Path, config: HarvestConfig, *, token: str, api: str = API) -> Harvested:
    """Fetch the photos of `origin` into `folder` and return their manifest; goes on where it was left.

    Photos lie in `folder` as `<last two digits>/<id>.jpg`. A budget that runs out ends the harvest early, with the
    manifest of what is there. Raises UserError.
    """
    place = places.parse(origin)
    quota = config.quota or place.quota
    if config.quota and place.quota and config.quota != place.quota:
        raise UserError(f"--quota {config.quota} and {origin} differ; give one of them")
    if quota and place.kind in LISTS:
        raise UserError(f"a quota cannot be had of {place.kind}=; --per-sequence thins a sequence")
    check_token(token)
    check_address(api)
    areas = places.areas(place, quota=quota, seed=config.seed) if place.kind not in LISTS else []
    if place.kind == "ids":
        places.read_ids(Path(place.values[0]))  # before the folder is bound to a list that must be mended
    journal, client = Journal(folder), None
    try:
        journal.bind(_settings(origin, place, config, quota), folder)
        client = Client(api, token, config, journal)
        run = _Run(place, areas, folder, config, journal, client)
        unfinished = run.go()
        return _result(origin, config, folder, journal, run, unfinished)
    except (OSError, sqlite3.Error) as error:
        raise UserError(f"{folder}: cannot be written ({error})") from None
    finally:
        if client is not None:
            client.stopped.set()
            client.close()
        journal.close()


def _settings(origin: str, place: places.Place, config: HarvestConfig, quota: int | None) -> dict[str, Any]:
    """What decides which photos come; the content of a file counts, not its name."""
    settings = {"origin": origin, **config.choosing(), "quota": quota}
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
        areas: list[places.Area],
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
        self.notes: list[str] = []
        _tidy(folder)
        journal.reopen(
            native for native, _, size in journal.stored() if not _is_there(photo_path(folder, native), size)
        )
        if place.kind == "ids":
            journal.want(0, places.read_ids(Path(place.values[0])), None, done=True)
        elif place.kind == "sequence":
            open_lists = [at for at in range(len(place.values)) if not journal.frontier(at).finished]
            self._sequences.extend(SequenceJob(area=at, sequence=place.values[at]) for at in open_lists)
        self.search = Search(areas, journal, config)
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
            job = self._next_job()
            if job is None:
                return
            self._under_way += 1
            self._todo.put(job)

    def _next_job(self) -> Job | None:
        waiting = len(self._photos)
        if waiting < 4 * self._config.workers or (waiting < MOST_WAITING and self._under_way % 4 == 0):
            if self._sequences:
                return self._sequences.popleft()
            job = self.search.next_job()
            self._take_chosen()
            if job is not None:
                return job
        if not self._photos:
            return None
        wanted = self._photos.popleft()
        return PhotoJob(wanted=wanted, path=photo_path(self._folder, wanted.id))

    def _take(self, job: Job, result: Any, progress: Progress) -> None:
        """Note what came of a job. Raises what ends the harvest."""
        if isinstance(result, Exception) and not isinstance(result, (FullError, Refused, GaveUp)):
            raise result
        gave_up = isinstance(result, GaveUp) or (isinstance(result, Settled) and result.state == "gave up")
        refused = isinstance(job, BoxJob) and isinstance(result, Refused)
        self._failures = self._failures + 1 if gave_up or refused else 0
        if isinstance(job, BoxJob):
            self.search.answer(job, result)
            self._take_chosen()
        elif isinstance(job, SequenceJob):
            self._list(job, result)
        else:
            self._journal.settle(job.wanted.id, *result)
            progress.advance(result.state == "stored")
        if self._failures >= MOST_FAILURES:
            last = result.reason if isinstance(result, Settled) else result
            raise UserError(
                f"{self._failures} things in a row failed, the last with: {last}; go on later with the same command"
            )

    def _take_chosen(self) -> None:
        self._photos.extend(self.search.chosen)
        self.search.chosen.clear()

    def _list(self, job: SequenceJob, ids: list[str] | Exception) -> None:
        if isinstance(ids, Exception):
            self.notes.append(f"sequence {job.sequence} cannot be listed: {ids}")
            return
        most = self._config.per_sequence
        if most and len(ids) > most:  # evenly along the drive
            ids = [ids[at * len(ids) // most] for at in range(most)]
        ids = [native for native in ids if not self._journal.known(native)]  # one errand for a photo
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
    origin: str, config: HarvestConfig, folder: Path, journal: Journal, run: _Run, unfinished: str | None
) -> Harvested:
    """Make the manifest, which depends on what was found alone, and the summary, which tells of this run too."""
    rows = journal.stored()
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
        "short": run.search.short(),
        "waiting": states.get("wanted", 0),
        "requests": journal.spent(),
        "budget": config.budget,
    }
    for line in run.notes:
        say(line)
    for name, count in run.search.short().items():
        ended = "so far, fewer than the quota" if unfinished else "are all that was found, fewer than the quota"
        say(f"{name}: {count:,} images {ended}")
    if boxes:
        say(f"{len(boxes)} boxes could not be searched, the smallest of about 50 m; first: {boxes[0]}")
    return Harvested(manifest, summary, unfinished)
