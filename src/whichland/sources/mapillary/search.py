"""Which images are wanted: areas searched box by box, and chosen from in an order that no fault can change.

Boxes are asked for out of order, but chosen from strictly in order, and only once everything in a box is known. So
the choice depends on the settings and on what Mapillary holds, not on which answer came first or how often the
harvest was killed.
"""

from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np

from whichland.sources.mapillary.client import Client
from whichland.sources.mapillary.config import PER_SEQUENCE_SAMPLED, HarvestConfig, milliseconds
from whichland.sources.mapillary.journal import Frontier, Journal, Wanted
from whichland.sources.mapillary.places import Area, Box, quarters
from whichland.sources.mapillary.records import FIELDS, Record, iso, left_out, order, to_record, url_field

LIMIT = 2000  # images in an answer; there are no further pages
SAMPLE_LIMIT = 500
SEARCH_TRIES = 3  # then the box is cut: a search that is too large times out every time, and a cut costs no image
MOST_IDLE = 300  # boxes without a new image in a row, after which the other areas come first


@dataclass(frozen=True, kw_only=True)
class BoxJob:
    """One search to do."""

    area: int
    cell: int
    path: str
    box: Box
    limit: int  # images to ask for
    tries: int
    visit: int = 0  # of its area, see `Search`

    def run(self, client: Client) -> list[Record]:
        """Ask for the images in the box. Raises FullError when there may be more, Refused and GaveUp."""
        config, field_name = client.config, url_field(client.config)
        params = {
            "bbox": ",".join(f"{edge:.7f}" for edge in self.box),
            "fields": ",".join((*FIELDS, field_name)),
            "limit": str(self.limit),
        }
        if config.panoramas != "with":
            params["is_pano"] = "true" if config.panoramas == "only" else "false"
        for name, bound in (("start_captured_at", config.after), ("end_captured_at", config.before)):
            if bound:
                params[name] = iso(milliseconds(bound)) or bound
        images = listed(client.api("images", params, tries=self.tries))
        records = [record for image in images if (record := to_record(image, field_name))]
        if len(images) >= self.limit:
            raise FullError(records)
        return records


def listed(answer: dict[str, object]) -> list[dict[str, object]]:
    """Give the images of an answer, whatever else it holds."""
    data = answer.get("data")
    return [image for image in data if isinstance(image, dict)] if isinstance(data, list) else []


class FullError(Exception):
    """The box holds as many images as an answer can, so probably more."""

    def __init__(self, records: list[Record]) -> None:
        super().__init__("more images than one answer holds")
        self.records = records


class Search:
    """The searches still to do, area after area, and the choice from what they find."""

    def __init__(self, areas: list[Area], journal: Journal, config: HarvestConfig) -> None:
        self.areas, self._journal, self._config = areas, journal, config
        self._ahead = 2 * config.workers
        self.at = -1
        self._visit = 0  # counts the changes of area: answers to what was asked before one are asked for again
        self.chosen: deque[Wanted] = deque()  # for the caller to take away
        self._next_area()

    @property
    def finished(self) -> bool:
        return self.at >= len(self.areas)

    def _next_area(self) -> None:
        """Go to the area that is to be searched next, and to where it was left."""
        frontiers = [self._journal.frontier(at) for at in range(len(self.areas))]
        open_areas = [(now.idle // MOST_IDLE, at) for at, now in enumerate(frontiers) if not now.finished]
        # areas in which much was searched in vain come last, but only the budget ends the search of one
        before, self.at = self.at, min(open_areas, default=(0, len(self.areas)))[1]
        if self.finished or self.at == before:
            return
        self._visit += 1
        self._waiting: dict[int, int] = {}  # of each open box, the searches not answered yet
        self._jobs: list[BoxJob] = []
        self._frontier = frontiers[self.at]
        self._images, by_sequence = self._journal.counts(self.at)
        self._by_sequence = Counter(by_sequence)
        boxes = enumerate(self.areas[self.at].boxes())
        self._boxes: Iterator[tuple[int, Box]] = islice(boxes, self._frontier.next_cell, None)
        self._last: int | None = None  # the area's last box, once it has come

    def next_job(self) -> BoxJob | None:
        """Give a search to do; None when there is none before another is answered."""
        while not self.finished:
            while not self._jobs and len(self._waiting) < self._ahead and self._last is None:
                opened = next(self._boxes, None)
                if opened is None:
                    self._last = self._frontier.next_cell + len(self._waiting)
                else:
                    self._open(*opened)
            if self._jobs:
                return self._jobs.pop()
            if not self._advance():
                return None
        return None

    def _open(self, cell: int, box: Box) -> None:
        """Put what is not known yet of a box and its quarters among the jobs."""
        outcomes = self._journal.outcomes(self.at, cell)
        self._waiting[cell] = 0
        todo = [("", box)]
        while todo:
            path, part = todo.pop()
            if path not in outcomes:
                self._add(cell, path, part)
            elif outcomes[path] in ("cut", "shrunk"):
                kept = quarters(part)[: 4 if outcomes[path] == "cut" else 1]
                todo += [(f"{path}{at}", quarter) for at, quarter in enumerate(kept)]

    def _add(self, cell: int, path: str, box: Box) -> None:
        self._waiting[cell] += 1
        limit, tries = SAMPLE_LIMIT, self._config.tries
        if self.areas[self.at].quota is None:
            limit, tries = LIMIT, min(SEARCH_TRIES, tries)
        job = BoxJob(area=self.at, cell=cell, path=path, box=box, limit=limit, tries=tries, visit=self._visit)
        self._jobs.append(job)

    def answer(self, job: BoxJob, result: list[Record] | Exception) -> None:
        """Take in what a search brought: images, or FullError, Refused or GaveUp."""
        if job.visit != self._visit or self.finished:  # the area was left meanwhile
            return
        sampled, parts, place = self.areas[self.at].quota is not None, quarters(job.box), (job.area, job.cell, job.path)
        records = result if isinstance(result, list) else result.records if isinstance(result, FullError) else []
        if isinstance(result, list) or (sampled and isinstance(result, FullError)):  # a sample need not know all
            self._journal.box(*place, "done", records=records)
        elif not parts:
            self._journal.box(*place, "failed", records=records, reason=str(result))
        else:
            self._journal.box(*place, "shrunk" if sampled else "cut")
            for at, part in enumerate(parts[: 1 if sampled else 4]):
                self._add(job.cell, f"{job.path}{at}", part)
        self._waiting[job.cell] -= 1
        self._advance()

    def _advance(self) -> bool:
        """Choose from the boxes that are wholly known and next in order; return whether there was one."""
        moved = False
        while not self.finished:
            cell = self._frontier.next_cell
            if cell == self._last:  # the area has no more to give
                self._journal.choose(self.at, cell, [], self._frontier._replace(finished=True), {})
                self._next_area()
            elif self._waiting.get(cell) == 0:
                del self._waiting[cell]
                self._choose(cell)
            else:
                break
            moved = True
        return moved

    def _choose(self, cell: int) -> None:
        area, config, out = self.areas[self.at], self._config, Counter[str]()
        per_sequence = config.per_sequence or (PER_SEQUENCE_SAMPLED if area.quota else None)
        most = min(config.per_box, area.quota - self._images) if area.quota else None
        chosen: list[Record] = []
        found = sorted(self._journal.found(self.at, cell), key=lambda r: order(config.seed, r["id"]))
        # by the coordinates that are kept, not by those Mapillary searched by; None becomes NaN, which is nowhere
        lon, lat = (np.array([record[name] for record in found], dtype=float) for name in ("lon", "lat"))
        for record, inside in zip(found, area.contains(lon, lat) if found else (), strict=True):
            if most is not None and len(chosen) >= most:
                break
            drive = record["sequence"]
            reason = left_out(record, config) if inside else "outside the area, or no coordinates"
            if reason is None and drive and per_sequence and self._by_sequence[drive] >= per_sequence:
                reason = "more of one drive than per_sequence"
            if reason:
                out[reason] += 1
            elif not self._journal.known(record["id"]):
                chosen.append(record)
                self._by_sequence[drive or ""] += 1
        self._images += len(chosen)
        idle = 0 if chosen else self._frontier.idle + 1
        # noted together with the choice: killed in between, the next run would look further than this one
        over = area.quota is not None and self._images >= area.quota
        self._frontier = Frontier(cell + 1, idle, over)
        self._journal.choose(self.at, cell, chosen, self._frontier, out)
        self.chosen.extend(Wanted(record["id"], record) for record in chosen)
        if over or (area.quota is not None and idle and idle % MOST_IDLE == 0):
            self._next_area()

    def short(self) -> dict[str, int]:
        """Give the areas that have fewer images than their quota, and how many they have."""
        counts = [(area, self._journal.counts(at)[0]) for at, area in enumerate(self.areas)]
        return {area.name: count for area, count in counts if area.quota and count < area.quota}
