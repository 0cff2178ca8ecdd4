"""The vote files of a partitioned store at a URL of fsspec, such as ``s3://BUCKET/FOLDER``.

The store's folder has a copy of each: files are written there and read there, and a copy that is missing is downloaded
when the store is opened. So queries are those of a local store, and DuckDB needs no network.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any, TypeVar
from urllib.parse import urlsplit

from schemas.errors import ConflictError, CurateError, MissingError, ResourceError, UsageError

VOTES = "votes"
"""Folder of the vote files, below the store's folder and below the URL."""
TIMEOUT, SLOWEST = 60.0, 1e5
"""Seconds for a request, and the bytes per second that a transfer must have besides; the clients retry for minutes."""
AT_ONCE = 4
"""Files that are transferred at the same time; s3fs has each of up to 100 MiB in memory."""

Result = TypeVar("Result")


class Remote:
    """The vote files below one URL. Names are relative to it: ``votes/bucket=NN/SHA256.parquet``."""

    def __init__(self, url: str) -> None:
        """Raises MissingError if the package for the URL is not installed, CurateError for an unknown kind of URL."""
        self.url = url.rstrip("/")
        self.complete: set[str] = set()
        """Names that are known to be there with their size."""
        with _handled(self.url):
            import fsspec

            own = {"auto_mkdir": True} if self.url.startswith("file:") else {}
            self._system, root = fsspec.url_to_fs(self.url, use_listings_cache=False, **own)
        client = type(self._system).__module__.partition(".")[0]
        logging.getLogger(client).addHandler(logging.NullHandler())  # gcsfs logs tracebacks; else stderr has them
        self._root = root.rstrip("/")

    @classmethod
    def new(cls, url: str) -> Remote:
        """Return the place of a new store. Raises CurateError if it is not empty or the URL has a password."""
        if "://" not in url:
            raise UsageError(f"{url}: not a URL", hint="for example --votes-url s3://BUCKET/FOLDER")
        if urlsplit(url).password:
            raise UsageError(
                "the URL has a password, which would be stored", hint="give it by the client's environment variables"
            )
        remote = cls(url)
        if remote.sizes():
            raise ConflictError(f"{remote.url}: has vote files", hint="choose another --votes-url, or remove them")
        return remote

    def sizes(self) -> dict[str, int]:
        """Return name -> bytes of all files there."""
        with _handled(self.url):
            self._system.invalidate_cache()
            found = _within(TIMEOUT, lambda: self._system.find(f"{self._root}/{VOTES}", detail=True))
            return {path[len(self._root) + 1 :]: int(info["size"]) for path, info in found.items()}

    def upload(self, folder: Path, files: Mapping[str, int]) -> None:
        """Copy files of the store's folder, unless they are there. files: name -> bytes. Raises CurateError."""
        found = self.sizes()
        new = [name for name, size in files.items() if found.get(name) != size]
        self._transfer(self._system.put, [folder / name for name in new], new, sum(files[name] for name in new))
        found = self.sizes()
        for name in new:
            if found.get(name) != files[name]:
                raise ResourceError(
                    f"{self.url}/{name}: has {found.get(name, 0):,} bytes after the upload of {files[name]:,}",
                    hint="run the command again; nothing has changed",
                )
        self.complete |= files.keys()

    @contextmanager
    def downloaded(self, folder: Path, files: Mapping[str, int]) -> Iterator[list[Path]]:
        """Yield temporary copies in the store's folder. files: name -> bytes. Raises CurateError."""
        with _handled(self.url):
            (folder / VOTES).mkdir(exist_ok=True)
            scratch = tempfile.TemporaryDirectory(prefix=".get", dir=folder / VOTES)
        with scratch:
            paths = [Path(scratch.name) / str(number) for number in range(len(files))]
            self._transfer(self._system.get, list(files), paths, sum(files.values()))
            yield paths

    def remove(self, names: Iterable[str]) -> None:
        """Remove those of the files that are there."""
        found = self.sizes().keys() & set(names)
        if found:
            with _handled(self.url):
                _within(TIMEOUT, lambda: self._system.rm([f"{self._root}/{name}" for name in sorted(found)]))
        self.complete -= found

    def _transfer(self, call: Callable[..., Any], source: list[Any], target: list[Any], size: int) -> None:
        """Call put or get with paths (local) and names (there)."""
        pairs = [
            [str(each) if isinstance(each, Path) else f"{self._root}/{each}" for each in side]
            for side in (source, target)
        ]
        if source:
            with _handled(self.url):
                _within(TIMEOUT + size / SLOWEST, lambda: call(*pairs, batch_size=AT_ONCE))


def _within(seconds: float, call: Callable[[], Result]) -> Result:
    """Return the result of a call. Raises TimeoutError if it takes longer; the call goes on until the process ends."""
    future: Future[Result] = Future()

    def work() -> None:
        try:
            future.set_result(call())
        except BaseException as error:
            future.set_exception(error)

    Thread(target=work, daemon=True).start()
    try:
        return future.result(seconds)
    except TimeoutError as error:
        raise TimeoutError(f"no answer within {seconds:.0f} seconds") from error


@contextmanager
def _handled(url: str) -> Iterator[None]:
    """Turn the exceptions of fsspec in the block into CurateError."""
    try:
        yield
    except CurateError:
        raise
    except ImportError as error:
        what = f"{url}: using it needs a package that is not installed ({error.name or error})"
        raise MissingError(what, hint="pip install 'mr2-curate[remote]'") from error
    except FileNotFoundError as error:
        hint = "check the URL; a bucket must exist (create it with the tools of its service)"
        raise MissingError(f"{url}: not found ({_text(error)})", hint=hint) from error
    except PermissionError as error:
        hint = "check the credentials in the environment, and that they may list, read, write and delete there"
        raise ResourceError(f"{url}: access is denied ({_text(error)})", hint=hint) from error
    except Exception as error:  # each kind of storage has errors of its own
        hint = "check the URL, the network, and the credentials and endpoint in the environment; nothing has changed"
        raise ResourceError(f"{url}: failed ({type(error).__name__}: {_text(error)})", hint=hint) from error


def _text(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]
