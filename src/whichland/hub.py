"""What weights and data sets from the Hugging Face hub share: a look whether it answers, and one line when not.

The hub's own client waits for minutes on a silent host, so it is asked once, quickly, before anything is fetched.
"""

from huggingface_hub import get_hf_file_metadata, hf_hub_url, try_to_load_from_cache
from huggingface_hub.errors import HfHubHTTPError

from whichland.errors import UserError, first_line

PATIENCE_S = 10.0


def check_reachable(repository: str, filename: str) -> None:
    """Ask the hub once for a file that its cache does not hold; raise UserError when there is no answer at all.

    An answer that is an error is left to the download, which knows what is worth another try.
    """
    name, _, revision = repository.partition("@")
    if isinstance(try_to_load_from_cache(name, filename, revision=revision or None), str):
        return
    url = hf_hub_url(name, filename, revision=revision or None)
    try:
        get_hf_file_metadata(url, timeout=PATIENCE_S, retry_on_errors=False)
    except HfHubHTTPError:
        return
    except Exception as error:  # the hub's client lets its transport's errors through, whichever that is
        raise UserError(f"no answer ({first_line(error)})") from None
