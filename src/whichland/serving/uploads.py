"""Multipart forms, read into memory: no photo ever touches the disk."""

from dataclasses import dataclass

from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from whichland.serving.limits import Refused

MAX_FIELDS = 20
MAX_FIELD_BYTES = 1_000
MAX_NAME = 200


@dataclass(frozen=True)
class Upload:
    """One file of a form."""

    name: str
    data: bytes


@dataclass(frozen=True)
class Form:
    """What a form holds; of a field that stands twice the last."""

    files: tuple[Upload, ...]
    fields: dict[str, str]


async def read_form(request: Request, *, field: str, files: int) -> Form:
    """Read a multipart form with up to `files` files in the field of that name.

    Raises Refused when it is none, is broken, or holds more; and whatever the body limits raise while it arrives.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "multipart/form-data":
        raise Refused(422, f"send a multipart/form-data form with the photo in the field {field}", reason="form")
    parser = MultiPartParser(
        request.headers, request.stream(), max_files=files, max_fields=MAX_FIELDS, max_part_size=MAX_FIELD_BYTES
    )
    parser.spool_max_size = request.app.state.whichland.settings.bytes + 1  # never to the disk
    try:
        form = await parser.parse()
    except MultiPartException as error:
        if error.message.startswith("Too many files"):
            raise Refused(413, f"at most {files} photos in one request", reason="files") from None
        raise Refused(422, f"the form cannot be read: {error.message}", reason="form") from None
    found, fields = [], {}
    for name, value in form.multi_items():
        if isinstance(value, str):
            fields[name] = value
        elif name == field:
            found.append(Upload(_shown(value.filename), await value.read()))
            await value.close()
    return Form(tuple(found), fields)


def _shown(name: str | None) -> str:
    """A file's name as it may be sent back."""
    return "".join(letter for letter in name or "" if letter.isprintable())[:MAX_NAME] or "photo"
