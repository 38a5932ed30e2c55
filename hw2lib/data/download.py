"""One file from a public home: continued where it broke off, checked, and only then put under its name."""

import os
from functools import partial
from itertools import chain
from pathlib import Path

import pooch
import requests
from tqdm import tqdm

from hw2lib.errors import UserError

_SECONDS = 30  # without an answer
_PIECE = 1 << 13  # bytes read at a time: so many at most are lost when a transfer breaks

pooch.get_logger().setLevel("WARNING")  # the progress bar says what it would say


def download(url: str, md5: str, path: Path) -> None:
    """Make ``path`` the file with this checksum; nothing is fetched if it already is.

    What has come so far is kept as ``<path>.part``, and the next call asks the server for the rest alone.

    Raises:
        UserError: no answer, a broken transfer, a web page in place of the file, or a wrong checksum.
        OSError: the file cannot be written.
    """
    part = path.with_name(f"{path.name}.part")
    try:
        pooch.retrieve(url, f"md5:{md5}", fname=path.name, path=path.parent, downloader=partial(_continue, part))
    except ValueError as error:  # pooch, which has removed the file
        raise UserError(
            f"{url}: what was sent has not the MD5 {md5} of {path.name} and was dropped; "
            f"try again later, or put the file from elsewhere at {path}"
        ) from error
    except requests.HTTPError as error:
        raise UserError(
            f"{url}: the server says {error.response.status_code} {error.response.reason}; "
            f"try again later, or put {path.name} from elsewhere at {path}"
        ) from error
    except requests.RequestException as error:
        have = f"{part.stat().st_size:,} bytes are kept" if part.exists() else "nothing came"
        raise UserError(f"{url}: no connection, or it broke ({have}); the same command continues there") from error


def _continue(part: Path, url: str, output_file: str, _pooch: object) -> None:
    """A downloader for pooch, which checks ``output_file`` and moves it to its name."""
    have = part.stat().st_size if part.exists() else 0
    # Compression on the way would make lengths and ranges those of another file.
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    with requests.get(url, headers=headers, stream=True, timeout=_SECONDS) as response:
        if response.status_code != requests.codes.requested_range_not_satisfiable:  # else all of it is here
            response.raise_for_status()
            if response.status_code != requests.codes.partial_content:
                have = 0
            _save(response, part, have)
    os.replace(part, output_file)


def _save(response: requests.Response, part: Path, have: int) -> None:
    """Write what the server sends behind the first ``have`` bytes."""
    pieces = response.iter_content(_PIECE)
    first = next(pieces, b"")
    if not have and first.lstrip()[:5].lower() in (b"<!doc", b"<html"):
        raise UserError(f"{response.url}: sent a web page in place of the file; open it in a browser to see why")
    total = have + int(response.headers.get("Content-Length", 0))
    name = part.stem
    with (
        open(part, "ab" if have else "wb") as file,
        tqdm(desc=name, initial=have, total=total, unit="B", unit_scale=True, mininterval=0.5) as bar,
    ):
        for piece in chain([first], pieces):
            file.write(piece)
            bar.update(len(piece))
