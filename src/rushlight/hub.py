"""`torch.hub`: files of weights from an address, kept in the folder where PyTorch keeps them. No code is fetched."""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

from rushlight.errors import DownloadError
from rushlight.io.serialization import load as _load
from rushlight.io.serialization import replace_file

_directory: str | None = None


def get_dir() -> str:
    """The folder of downloads: what `set_dir` set, or `$TORCH_HOME/hub`, by default `~/.cache/torch/hub`."""
    if _directory is not None:
        return _directory
    cache = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    return os.path.join(os.path.expanduser(os.environ.get("TORCH_HOME", os.path.join(cache, "torch"))), "hub")


def set_dir(d: str | os.PathLike[str]) -> None:
    """Sets the folder of downloads."""
    global _directory
    _directory = os.path.expanduser(d)


def download_url_to_file(
    url: str,
    dst: str | os.PathLike[str],
    hash_prefix: str | None = None,
    progress: bool = True,
    *,
    hash: str = "sha256",
) -> None:
    """Fetches `url` into the file `dst`, which appears whole and checked or not at all.

    Args:
        hash_prefix: how the file's checksum begins, in hexadecimal digits.
        progress: shows a bar where standard error is a terminal (and tqdm is installed), else a line.
        hash: the kind of the checksum, as hashlib names it.

    Raises:
        DownloadError: where the address can't be reached or the checksum differs; it names the file to put in place.
    """
    import urllib.request

    dst = os.path.abspath(dst)

    def write(part: str) -> None:
        digest = hashlib.new(hash)
        request = urllib.request.Request(url, headers={"User-Agent": "rushlight"})
        with urllib.request.urlopen(request, timeout=60) as response:
            os.makedirs(os.path.dirname(dst), exist_ok=True)
            size = int(response.headers.get("Content-Length") or 0)
            with open(part, "wb") as file, _Progress(url, size, progress) as bar:
                while block := response.read(1 << 16):
                    file.write(block)
                    digest.update(block)
                    bar.update(len(block))
        if hash_prefix and not digest.hexdigest().startswith(hash_prefix):
            raise DownloadError(
                f"{url} didn't give the known file: its {hash} begins with {digest.hexdigest()[: len(hash_prefix)]}, "
                f"not with {hash_prefix}. Nothing was kept; put the right file at {dst}"
            )

    try:
        replace_file(dst, write)
    except DownloadError:
        raise
    except (OSError, ValueError) as error:
        raise DownloadError(f"{url} can't be downloaded ({error}). Fetch it elsewhere, and put it at {dst}") from None


class _Progress:
    """A bar of the bytes that have come, or one line where there is no terminal."""

    def __init__(self, url: str, size: int, shown: bool) -> None:
        self._bar: Any = None
        if not shown:
            return
        if sys.stderr.isatty():
            try:
                from tqdm import tqdm

                self._bar = tqdm(total=size or None, desc=Path(urlparse(url).path).name, unit="B", unit_scale=True)
                return
            except ImportError:
                pass
        print(f"downloading {url}", file=sys.stderr)

    def __enter__(self) -> _Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def update(self, count: int) -> None:
        if self._bar is not None:
            self._bar.update(count)


def load_state_dict_from_url(
    url: str,
    model_dir: str | os.PathLike[str] | None = None,
    map_location: object = None,
    progress: bool = True,
    check_hash: bool = False,
    file_name: str | None = None,
    weights_only: bool = False,
) -> dict[str, Any]:
    """The state dict in the file that `url` names, from `model_dir` (`get_dir()/checkpoints`), or fetched.

    With `check_hash`, the checksum of what is fetched must begin as its name says, `resnet18-f37072fd.pth`.

    Raises:
        DownloadError: where the file isn't there and can't be fetched; it says what to put where.
        LoadError: where the file holds more than data.
    """
    folder = os.path.join(get_dir(), "checkpoints") if model_dir is None else os.fspath(model_dir)
    name = file_name or os.path.basename(urlparse(url).path)
    path = os.path.join(folder, name)
    if not os.path.exists(path):
        prefix = Path(urlparse(url).path).stem.rpartition("-")[2]
        download_url_to_file(url, path, prefix if check_hash else None, progress)
    loaded: dict[str, Any] = _load(path, map_location)
    return loaded


load_url = load_state_dict_from_url  # as torch.utils.model_zoo has it


def load(repo_or_dir: str, model: str, *args: Any, source: str = "github", **kwargs: Any) -> Any:
    """`load("pytorch/vision", "resnet18", weights="DEFAULT")`: a model of `rushlight.vision`. Other repositories would
    have to be run as code, and are refused."""
    if repo_or_dir.partition(":")[0] == "pytorch/vision" and source == "github":
        from rushlight.vision import models

        return models.get_model_builder(model)(*args, **{k: v for k, v in kwargs.items() if k not in _OF_DOWNLOADS})
    raise RuntimeError(
        f"hub.load: {repo_or_dir} would be downloaded and run as code, which isn't done here. Build the model in "
        "Python, and load its weights with hub.load_state_dict_from_url() or load()"
    )


_OF_DOWNLOADS = ("force_reload", "trust_repo", "verbose", "skip_validation")
