"""The errands of a harvest's workers: fetch one photo, list one sequence. Searches are in `search`."""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from whichland.images.decode import ImageError
from whichland.sources.mapillary.client import Client, Expired, GaveUp, Refused, Trouble
from whichland.sources.mapillary.journal import Wanted
from whichland.sources.mapillary.photo import verified
from whichland.sources.mapillary.records import FIELDS, Record, is_id, left_out, to_record, url_field
from whichland.whole_file import whole_file


class Settled(NamedTuple):
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

    def run(self, client: Client) -> Settled:
        """Store the photo. What goes wrong with it alone is the result; what stops the harvest is raised."""
        config, record, trouble = client.config, self.wanted.record, "no answer"
        url = record["url"] if record else None
        try:
            for attempt in range(config.tries):
                if url is None:  # not known yet, or expired
                    fresh = _describe(client, self.wanted.id)
                    record, url = record or fresh, fresh["url"]
                    if reason := left_out(record, config):
                        return Settled("left out", record, reason=reason)
                    if url is None:
                        return Settled("gone", record, reason="no photo of this size")
                try:
                    photo = verified(client.photo(url))
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
        data = client.api("image_ids", {"sequence_id": self.sequence}).get("data")
        images = [image for image in data if isinstance(image, dict)] if isinstance(data, list) else []
        ids = dict.fromkeys(str(image.get("id") or "") for image in images)
        return [native for native in ids if is_id(native)]


def _describe(client: Client, native: str) -> Record:
    """Ask for one image's fields. Raises Refused and GaveUp."""
    field = url_field(client.config)
    record = to_record(client.api(native, {"fields": ",".join((*FIELDS, field))}), field)
    if record is None or record["id"] != native:
        raise GaveUp("the answer is about another image")
    return record
