"""Models on the Hugging Face hub: fetched by name, and bundles published with their card."""

import hashlib
import re
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from whichland.errors import UserError, first_line
from whichland.model.bundle import GALLERY, INFO, WEIGHTS, in_hub_cache, read_settings
from whichland.model.engines import FLOAT_FILE, INT8_FILE
from whichland.model.labels import FILE as LABELS
from whichland.model.novelty import FILE as NOVELTY
from whichland.model.record import FILE as RECORD
from whichland.printed import counted
from whichland.whole_file import file_sha256

PREFIX = "hub:"
# what may lie in a bundle; the weights come last, so that where they are, all is
FILES = (
    *("config.json", INFO, LABELS, "metrics.json", RECORD, "README.md", NOVELTY),
    *(FLOAT_FILE, INT8_FILE, GALLERY),
)
FRONT = """---
library_name: whichland
pipeline_tag: image-classification
tags: [geolocation, street-view, country]
---
"""


def found(name: str | Path) -> Path:
    """The folder of a bundle: as named, that of a finished run, or fetched for `hub:OWNER/NAME[@REVISION]`.

    A bundle of the hub lies in the hub's own cache and needs no network from then on. Raises UserError in one line
    when it cannot be had.
    """
    text = str(name)
    if text.startswith(PREFIX):
        folder = fetched(text, FILES, [WEIGHTS])
        if not (folder / INFO).is_file():
            raise UserError(
                f"{text}: a model, but no bundle of whichland; `whichland zero-shot` or --weights may take it"
            )
        return folder
    inside = Path(name) / "bundle"
    return inside if (inside / INFO).is_file() and not (Path(name) / INFO).is_file() else Path(name)


def check_own(folder: Path) -> None:
    """Raise UserError for a bundle in the hub's cache: what is written there would be another bundle's, too."""
    if in_hub_cache(folder):
        raise UserError(f"{folder} lies in the hub's cache, which is not written to; copy it and name the copy")


def publish(folder: Path, repository: str, *, private: bool = False) -> str:
    """Put a bundle into OWNER/NAME on the hub and return its address.

    Raises UserError for what is no whole bundle, a gallery with photos that not everybody may show, and a hub that
    refuses or does not answer.
    """
    import polars as pl

    from whichland.model.gallery import free_to_show

    read_settings(folder)
    files = [name for name in (*FILES, WEIGHTS) if (folder / name).is_file() and name != "README.md"]
    if WEIGHTS not in files:
        raise UserError(f"{folder / WEIGHTS}: missing; a bundle is published with its weights")
    if GALLERY in files:
        photos = pl.read_parquet(folder / GALLERY, columns=["license", "credit"], glob=False)
        if held := int((~free_to_show(photos, "credit")).sum()):
            raise UserError(
                f"{folder / GALLERY}: no licence lets anybody show {held:,} of its {counted(len(photos), 'photo')}; "
                "delete the file, or export again with --gallery open"
            )
    beside = folder / "README.md"
    card = beside.read_text(encoding="utf-8") if beside.is_file() else f"# {repository}\n"
    card = card.replace("predict BUNDLE", f"predict {PREFIX}{repository}")
    card = card.replace("local-dir:BUNDLE", f"hf-hub:{repository}")
    return push(folder, files, repository, card if card.startswith("---") else FRONT + card, private=private)


def fetched(name: str, patterns: Sequence[str], main: Sequence[str]) -> Path:
    """The folder of a model's files in the hub's own cache; what it lacks is fetched, and checked by its hash.

    `name` is `hub:OWNER/NAME[@REVISION]`. Fetched are the files that match a pattern and the first of `main` that is
    there, which comes last: where the cache has it, the hub is not asked again. Raises UserError in one line.
    """
    from whichland.hub_client import quiet_where_no_terminal, refusal

    quiet_where_no_terminal()  # its module says so where the hub's client is not installed
    from huggingface_hub import try_to_load_from_cache

    asked = re.fullmatch(r"hub:([\w.-]+/[\w.-]+)(?:@([^\s:]+))?", name)
    if asked is None:
        raise UserError(f"{name}: expected hub:OWNER/NAME or hub:OWNER/NAME@REVISION")
    repository, revision = asked[1], asked[2] or "main"
    for file in main:
        found = try_to_load_from_cache(repository, file, revision=revision)
        if isinstance(found, str):
            return Path(found).parent
    try:
        return _fetch(name, repository, revision, patterns, main)
    except UserError:
        raise
    except Exception as error:  # the hub's client lets its transport's errors through, whichever that is
        raise refusal(error, name, "model", revision) or UserError(
            f"{name}: could not be fetched ({first_line(error)}); the same command resumes where this one stopped, or "
            "fetch its files elsewhere and give their folder"
        ) from None


def _fetch(name: str, repository: str, revision: str, patterns: Sequence[str], main: Sequence[str]) -> Path:
    """Fetch from the hub; the branch is noted in the cache once all is there."""
    from huggingface_hub import HfApi, hf_hub_download

    from whichland.hub_client import PATIENCE_S

    info = HfApi().model_info(repository, revision=revision, files_metadata=True, timeout=PATIENCE_S)
    files = {file.rfilename: file for file in info.siblings or ()}
    last = next((file for file in main if file in files), None)
    if last is None:
        wanted = " or ".join(main)
        raise UserError(f"{name}: holds no {wanted}: a model of another kind, or pickled, which is never read")
    others = [file for file in files if file not in main and any(fnmatch(file, pattern) for pattern in patterns)]
    for file in (*others, last):
        path = Path(hf_hub_download(repository, file, revision=info.sha))
        if not _as_stated(path, files[file].lfs, files[file].blob_id):
            path.resolve().unlink()
            path.unlink(missing_ok=True)
            raise UserError(f"{name}: {file} arrived damaged; try again, or fetch it elsewhere and give its folder")
    return Path(hf_hub_download(repository, last, revision=revision)).parent


def _as_stated(path: Path, large: Any, blob: str | None) -> bool:
    """Whether a file has the hash that the hub states: SHA-256 of large ones, else git's of the content."""
    if large is not None:
        return bool(file_sha256(path) == large.sha256)
    content = path.read_bytes()
    return blob in (None, hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest())


def push(folder: Path, files: Sequence[str], repository: str, card: str, *, private: bool) -> str:
    """Put files of a folder and a model card into a repository on the hub, made where it is not there; its address.

    HF_TOKEN, or what `hf auth login` left, says who writes. Raises UserError in one line, in which no token stands.
    """
    from huggingface_hub import CommitOperationAdd, HfApi, errors

    from whichland.hub_client import quiet_where_no_terminal

    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repository):
        raise UserError(f"{repository}: expected OWNER/NAME")
    quiet_where_no_terminal()
    operations = [CommitOperationAdd(name, folder / name) for name in files]
    try:
        api = HfApi()
        api.create_repo(repository, private=private, exist_ok=True)
        said = "Upload a bundle of whichland"
        done = api.create_commit(
            repository, [*operations, CommitOperationAdd("README.md", card.encode())], commit_message=said
        )
        return str(done.repo_url)
    except errors.LocalTokenNotFoundError:
        raise UserError("the hub wants to know who writes: set HF_TOKEN to a token that may") from None
    except errors.HfHubHTTPError as error:
        code = error.response.status_code
        if code in (401, 403):
            raise UserError(f"{repository}: the hub gives no right to write there; check HF_TOKEN and OWNER") from None
        raise UserError(f"{repository}: the hub refuses ({code} {error.response.reason_phrase}); try again") from None
    except Exception as error:  # as above
        raise UserError(f"{repository}: nothing was written ({first_line(error)}); try again") from None
