"""Photos that visitors let the server keep, each in the folder of the country that they named.

    whichland serve runs/mine/bundle --collect photos/        whichland data ingest photos/

What is kept is a picture encoded anew, so that nothing which a camera wrote is left of it, under a name that chance
made. The name is the receipt: who has it may take the photo back. The folder stays within two limits; they may be
passed by the few photos that arrive at the same moment.
"""

import re
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Request, Response
from fastapi import Path as InPath
from pydantic import BaseModel, Field

from whichland.errors import UserError
from whichland.images.decode import ImageError, encode_jpeg, within
from whichland.images.panorama import sphere_rows
from whichland.model.label_sources import countries
from whichland.model.labels import COUNTRY
from whichland.serving.answers import Error
from whichland.serving.api import PHOTO, errors, form
from whichland.serving.limits import Refusal, read_form
from whichland.serving.service import Service, in_thread
from whichland.whole_file import check_writable, whole_file

LONG_SIDE = 1600  # pixels
QUALITY = 90
RECEIPT = re.compile(r"[0-9a-f]{32}")


class Kept(BaseModel):
    """A photo is kept."""

    receipt: Annotated[str, Field(description="who has it may take the photo back", pattern=f"^{RECEIPT.pattern}$")]


@dataclass(frozen=True, kw_only=True)
class Collection:
    """A folder of photos by country, and how much may lie in it."""

    folder: Path
    most_photos: int
    most_bytes: int

    def full(self) -> bool:
        """Whether one of the limits is reached."""
        sizes = [path.stat().st_size for path in self.folder.glob("*/*.jpg")]
        return len(sizes) >= self.most_photos or sum(sizes) >= self.most_bytes

    def keep(self, jpeg: bytes, country: str) -> str:
        """Write a photo down and give its receipt. Raises UserError where it cannot be written."""
        receipt = secrets.token_hex(16)
        with whole_file(self.folder / country / f"{receipt}.jpg") as partial:
            partial.write_bytes(jpeg)
        return receipt

    def take_back(self, receipt: str) -> bool:
        """Remove the photo of a receipt; whether there was one."""
        found = list(self.folder.glob(f"*/{receipt}.jpg"))
        for path in found:
            path.unlink(missing_ok=True)
        return bool(found)


def router(service: Service, folder: str) -> APIRouter:
    """The routes by which photos come to a folder and are taken back.

    Raises UserError where nothing can be written there, or the model's labels are no countries.
    """
    if service.model.space.kind != COUNTRY:
        raise UserError(f"collect: photos are kept by country, and this model's labels are {service.model.space.kind}")
    settings = service.settings
    limits = {"most_photos": settings.collect_photos, "most_bytes": settings.collect_bytes}
    collection = Collection(folder=Path(folder), **limits)
    check_writable(collection.folder / "XX" / "photo.jpg")
    known = countries()  # a visitor may name a country that the model does not know
    routes = APIRouter(prefix="/api/collect", tags=["collect"])

    def picture(data: bytes) -> bytes:
        photo = service.open(data)
        if sphere_rows(photo.xmp, lambda: photo.size) is not None:
            raise ImageError("a sphere would be taken for an ordinary photo: none are kept")
        return encode_jpeg(within(photo.decode(LONG_SIDE), LONG_SIDE), QUALITY)

    @routes.post(
        "",
        response_model=Kept,
        responses=errors(401, 408, 413, 422, 503) | {507: {"model": Error, "description": "the folder is full"}},
        openapi_extra=form(
            "file",
            file=PHOTO,
            country={"type": "string", "enum": list(known.codes), "description": "where it was taken"},
            consent={"type": "string", "enum": ["yes"], "description": "of whoever may give the photo away"},
        ),
        summary="Keep a photo for training",
    )
    async def keep(request: Request) -> dict[str, str]:
        """The picture and the country are kept, and nothing else: no name, no address, nothing that a camera wrote."""
        ((_, data),), fields = await read_form(request, field="file", files=1)
        if fields.get("consent") != "yes":
            raise Refusal(422, "consent: no photo is kept without it; send yes", reason="form")
        if fields.get("country") not in known:
            raise Refusal(422, "country: not an ISO 3166-1 alpha-2 code, such as NO", reason="form")
        with service.load.seats(1):
            try:
                if await in_thread(service.decoders, collection.full):
                    raise Refusal(507, "no more photos are kept here: the folder is full", reason="full")
                jpeg = await in_thread(service.decoders, picture, data)
                receipt = await in_thread(service.decoders, collection.keep, jpeg, fields["country"])
            except ImageError as error:
                raise Refusal(422, str(error), reason="photo") from None
            except UserError:  # its text names the folder
                raise Refusal(507, "the photo cannot be written here", reason="full") from None
        return {"receipt": receipt}

    @routes.delete(
        "/{receipt}",
        status_code=204,
        responses={404: {"model": Error, "description": "no photo has this receipt"}, **errors(401, 422)},
        summary="Take a photo back",
    )
    async def take_back(receipt: Annotated[str, InPath(pattern=f"^{RECEIPT.pattern}$")]) -> Response:
        if not await in_thread(service.decoders, collection.take_back, receipt):
            raise Refusal(404, "no photo has this receipt", reason="form")
        return Response(status_code=204)

    return routes
