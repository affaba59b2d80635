"""The client of the Hugging Face hub: whether the hub answers, what its refusals mean, and no bars outside terminals.

The client waits for minutes on a silent host, so it is asked once, quickly, before anything is fetched; it lets its
transport's errors through, whichever that is. To import this without the extra `hub` raises UserError.
"""

import sys

from whichland.errors import UserError, first_line
from whichland.printed import install

try:
    import huggingface_hub as client
    from huggingface_hub import constants, errors
    from huggingface_hub.utils.tqdm import disable_progress_bars
except ImportError:
    raise UserError(f"hub: needs the extra 'hub': {install('hub')}") from None

__all__ = ["PATIENCE_S", "check_reachable", "client", "constants", "errors", "quiet_where_no_terminal", "refusal"]
PATIENCE_S = 10.0


def check_reachable(repository: str, filename: str) -> None:
    """Ask the hub once for a file that its cache does not hold; raise UserError when there is no answer at all.

    An answer that is an error is left to the download, which knows what is worth another try.
    """
    name, _, revision = repository.partition("@")
    if isinstance(client.try_to_load_from_cache(name, filename, revision=revision or None), str):
        return
    url = client.hf_hub_url(name, filename, revision=revision or None)
    try:
        client.get_hf_file_metadata(url, timeout=PATIENCE_S, retry_on_errors=False)
    except errors.HfHubHTTPError:
        return
    except Exception as error:
        raise UserError(f"no answer ({first_line(error)})") from None


def quiet_where_no_terminal() -> None:
    """Let the hub's client draw its bars on terminals alone."""
    if not sys.stderr.isatty():
        disable_progress_bars()


def refusal(error: Exception, place: str, what: str, revision: str) -> UserError | None:
    """What to say of a data set or a model that the hub does not give; None for errors of another kind."""
    if isinstance(error, errors.GatedRepoError):
        return UserError(f"{place}: the {what} is gated: accept its terms on its page and set HF_TOKEN")
    if isinstance(error, errors.RevisionNotFoundError):
        return UserError(f"{place}: the {what} has no revision {revision!r}")
    if isinstance(error, errors.RepositoryNotFoundError | errors.HFValidationError):
        return UserError(f"{place}: no such {what} on the hub, or a private one for which HF_TOKEN gives no right")
    return None
