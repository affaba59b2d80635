"""Drive a harvest: searches and photos under way together, everything noted as it comes.

    fetch("mapillary:bbox=10.7,59.9,10.8,59.95", Path("oslo"), HarvestConfig(budget=2000), token=token)

The coordinating thread alone chooses and notes; `workers` threads send requests and write photos. They are
daemons: an interrupted harvest ends at once, as a killed one does, and the journal holds what was done.
"""

import queue
import sqlite3
import threading
from collections import deque
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from whichland.errors import UserError
from whichland.images.decode import ImageError
from whichland.manifest import Manifest
from whichland.printed import counted
from whichland.progress import Progress
from whichland.sources.columns import say
from whichland.sources.files import absolute
from whichland.sources.mapillary import places, records
from whichland.sources.mapillary.client import (
    API,
    Client,
    Expired,
    GaveUp,
    Refused,
    Trouble,
    check_address,
    check_token,
)
from whichland.sources.mapillary.config import HarvestConfig
from whichland.sources.mapillary.journal import BudgetSpentError, Journal, Settled, Wanted
from whichland.sources.mapillary.search import BoxJob, FullError, Search, listed
from whichland.whole_file import whole_file

MOST_FAILURES = 150  # photos given up or boxes refused in a row, after which something is wrong with all
LISTS = ("ids", "sequence")  # origins that need no search
MOST_WAITING = 5000  # photos known and not fetched, above which searches wait: their addresses expire


class Harvested(NamedTuple):
    """What a harvest brought. `unfinished` says why it is not complete; None when it is."""

    manifest: Manifest
    summary: dict[str, Any]
    unfinished: str | None


@dataclass(frozen=True, kw_only=True)
class PhotoJob:
    """One photo to fetch, verify and store."""

    wanted: Wanted
    path: Path

    def run(self, client: Client) -> Settled:
        """Store the photo. What goes wrong with it alone is the result; what stops the harvest is raised."""
        config, record, trouble = client.config, self.wanted.record, "no answer"
        url = record["url"] if record else None
        try:
            for attempt in range(config.tries):
                if url is None:  # not known yet, or expired
                    field = records.url_field(config)
                    fields = ",".join((*records.FIELDS, field))
                    fresh = records.to_record(client.api(self.wanted.id, {"fields": fields}), field)
                    if fresh is None or fresh["id"] != self.wanted.id:
                        raise GaveUp("the answer is about another image")
                    record, url = record or fresh, fresh["url"]
                    if reason := records.left_out(record, config):
                        return Settled("left out", record, reason=reason)
                    if url is None:
                        return Settled("gone", record, reason="no photo of this size")
                try:
                    photo = records.verified(client.photo(url))
                    self.path.parent.mkdir(parents=True, exist_ok=True)
                    with whole_file(self.path) as partial:
                        partial.write_bytes(photo)
                    return Settled("stored", record, len(photo))
                except Expired as caught:
                    url, trouble = None, str(caught)
                except (Trouble, ImageError) as caught:
                    trouble = str(caught)
                    client.back_off(attempt + 1)
        except Refused as caught:
            return Settled("gone", record, reason=f"Mapillary has it no more ({caught})")
        except GaveUp as caught:
            trouble = str(caught)
        return Settled("gave up", record, reason=trouble)


@dataclass(frozen=True, kw_only=True)
class SequenceJob:
    """One sequence whose images to list."""

    area: int
    sequence: str

    def run(self, client: Client) -> list[str]:
        """Give the ids of the images of the sequence, in order. Raises Refused and GaveUp."""
        images = listed(client.api("image_ids", {"sequence_id": self.sequence}))
        return [
            native for native in dict.fromkeys(str(image.get("id") or "") for image in images) if records.is_id(native)
        ]


Job = BoxJob | PhotoJob | SequenceJob


def fetch(origin: str, folder: Path, config: HarvestConfig, *, token: str, api: str = API) -> Harvested:
    """Fetch the photos of `origin` into `folder` and return their manifest; resumes where it was left.

    Photos lie in `folder` as `<last two digits>/<id>.jpg`. A budget that runs out ends the harvest early, with the
    manifest of what is there. Raises UserError.
    """
    parsed = places.parse(origin)
    quota = config.quota or parsed.quota
    if config.quota and parsed.quota and config.quota != parsed.quota:
        raise UserError(f"--quota {config.quota} and {origin} differ; give one of them")
    if quota and parsed.kind in LISTS:
        raise UserError(f"a quota cannot be had of {parsed.kind}=; --per-sequence thins a sequence")
    check_token(token)
    check_address(api)
    areas = places.areas(parsed, quota=quota, seed=config.seed) if parsed.kind not in LISTS else []
    if parsed.kind == "ids":
        places.read_ids(Path(parsed.values[0]))  # before the folder is bound to a list that must be mended
    settings = {"origin": origin, **config.choosing(), "quota": quota}
    if parsed.kind in ("polygon", "ids"):  # the content of a file counts, not its name
        try:
            settings["origin"] = f"{parsed.kind} {sha256(Path(parsed.values[0]).read_bytes()).hexdigest()}"
        except OSError as error:
            raise UserError(f"{parsed.values[0]}: cannot be read ({error.strerror})") from None
    journal, client = Journal(folder), None
    try:
        journal.bind(settings, folder)
        client = Client(api, token, config, journal)
        run = _Run(parsed, areas, folder, client)
        return run.result(origin, run.go())
    except (OSError, sqlite3.Error) as error:
        raise UserError(f"{folder}: cannot be written ({error})") from None
    finally:
        if client is not None:
            client.stopped.set()
            client.close()
        journal.close()


class _Run:
    """One run of a harvest, from where the journal stands to its end."""

    def __init__(self, origin: places.Origin, areas: list[places.Area], folder: Path, client: Client) -> None:
        self._folder, self._client, self._config, self._journal = folder, client, client.config, client.journal
        self._todo: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[tuple[Job, Any]] = queue.SimpleQueue()
        self._sequences: deque[SequenceJob] = deque()
        self._under_way = self._failures = 0
        self._notes: list[str] = []
        for partial in folder.glob("[0-9][0-9]/.*.part"):  # what a killed process left half-written
            partial.unlink(missing_ok=True)
        stored = [(native, photo_path(folder, native), size) for native, _, size in self._journal.stored()]
        self._journal.reopen(
            native for native, path, size in stored if not path.is_file() or path.stat().st_size != size
        )
        if origin.kind == "ids":
            self._journal.want(0, places.read_ids(Path(origin.values[0])), None)
        elif origin.kind == "sequence":
            open_lists = [at for at in range(len(origin.values)) if not self._journal.frontier(at).finished]
            self._sequences.extend(SequenceJob(area=at, sequence=origin.values[at]) for at in open_lists)
        self._search = Search(areas, self._journal, self._config)
        self._photos = self._search.chosen  # what was found before comes first
        self._photos.extend(self._journal.wanted())

    def go(self) -> str | None:
        """Work until all is done; say what is missing when the budget ends it earlier."""
        for _ in range(self._config.workers):
            threading.Thread(target=self._work, daemon=True).start()
        stop: UserError | None = None
        with Progress("fetching photos") as progress:
            progress.advance(self._journal.count("states").get("stored", 0))
            while True:
                # searches and photos take turns, so that neither waits for the other's end
                while stop is None and self._under_way < 2 * self._config.workers and (job := self._next_job()):
                    self._under_way += 1
                    self._todo.put(job)
                if not self._under_way:
                    break
                done, result = self._answers.get()
                self._under_way -= 1
                try:
                    self._take(done, result, progress)
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

    def _next_job(self) -> Job | None:
        waiting = len(self._photos)
        if waiting < 4 * self._config.workers or (waiting < MOST_WAITING and self._under_way % 4 == 0):
            if self._sequences:
                return self._sequences.popleft()
            if (job := self._search.next_job()) is not None:
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
            self._search.answer(job, result)
        elif isinstance(job, PhotoJob):
            self._journal.settle(job.wanted.id, result)
            progress.advance(result.state == "stored")
        elif isinstance(result, Exception):
            self._notes.append(f"sequence {job.sequence} cannot be listed: {result}")
        else:
            most = self._config.per_sequence or len(result)
            if len(result) > most:  # evenly along the drive
                result = [result[at * len(result) // most] for at in range(most)]
            ids = [native for native in result if not self._journal.known(native)]  # one errand for a photo
            self._journal.want(job.area, ids, job.sequence)
            self._photos.extend(Wanted(native, None) for native in ids)
        if self._failures >= MOST_FAILURES:
            last = result.reason if isinstance(result, Settled) else result
            raise UserError(
                f"{self._failures} requests in a row failed, the last with: {last}; run the same command again later"
            )

    def result(self, origin: str, unfinished: str | None) -> Harvested:
        """Make the manifest, which depends on what was found alone, and the summary, which covers this run too."""
        rows = self._journal.stored()
        uris = [str(absolute(photo_path(self._folder, native))) for native, _, _ in rows]
        frame = records.to_frame([record for _, record, _ in rows], uris)
        reasons, states = self._journal.count("reasons"), self._journal.count("states")
        boxes, short = self._journal.failed_boxes(), self._search.short()
        manifest = Manifest(frame.head(0)).with_step(
            "ingest",
            frame,
            origin=origin,
            kind=records.SOURCE,
            source=records.SOURCE,
            failed=reasons,
            **self._config.choosing(),
        )
        summary = {
            "stored": len(rows),
            "failed": states.get("gone", 0) + states.get("gave up", 0),
            "reasons": reasons,
            "left_out": self._journal.count("left_out"),
            "boxes_failed": len(boxes),
            "short": short,
            "waiting": states.get("wanted", 0),
            "requests": self._journal.count("requests"),
            "budget": self._config.budget,
        }
        ended = "so far, less than the quota" if unfinished else "is all that was found, less than the quota"
        for line in (*self._notes, *(f"{name}: {counted(count, 'image')} {ended}" for name, count in short.items())):
            say(line)
        if boxes:
            say(f"{counted(len(boxes), 'box', 'boxes')} of at least 50 m could not be searched; first: {boxes[0]}")
        return Harvested(manifest, summary, unfinished)


def photo_path(folder: Path, native: str) -> Path:
    """Where a photo lies: in one of a hundred folders, so that none grows too large to list."""
    return folder / native[-2:].zfill(2) / f"{native}.jpg"
