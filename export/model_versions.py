"""The models below a folder, of each the newest version: loaded while the one before it serves.

As TensorFlow Serving does it by default: one version a model, the largest number; a new one is
loaded and warmed up before it takes over, and the old one goes once its last request has ended.
"""

import contextlib
import gc
import os
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import tensorflow as tf
from absl import logging
from tensorflow.core.protobuf import saved_model_pb2

from export import warm_up
from export.version_folder import folder_size
from rpe_tf.saved_model import list_versions

_GRAPH_FILE = "saved_model.pb"


class Servable(NamedTuple):
    """A loaded version."""

    model: str
    version: int
    loaded: object  # what `tf.saved_model.load` returned; functions live only as long as it does
    signature_defs: Mapping  # SignatureDef protos by name, as the file has them


class VersionState(NamedTuple):
    """What has become of a version."""

    state: str  # LOADING, AVAILABLE, UNLOADING or END, as TensorFlow Serving calls them
    error: str = ""  # why it could not be loaded


class ModelVersions:
    """What is served. `refresh` is for one thread, everything else for any."""

    def __init__(self, base: str, model_name: str | None = None) -> None:
        """Takes a model's folder of numbered versions, or a folder of such folders.

        Args:
          base: the folder.
          model_name: of the one model; None: models are called as their folders.
        """
        self._base = os.path.abspath(base)
        self._model_name = model_name
        self._lock = threading.Lock()
        self._served: dict[str, Servable] = {}
        self._states: dict[str, dict[int, VersionState]] = defaultdict(dict)
        self._users: Counter[tuple[str, int]] = Counter()
        self._has_ended = False  # whether a version has, since the last look
        self._refused: dict[str, int] = {}  # bytes of each folder that could not be loaded

    def refresh(self) -> None:
        """Looks once at the folders; loads what is new and lets go of what is gone."""
        folders = find_models(self._base, self._model_name)
        for name in sorted({*folders, *self._served}):
            version = self._newest(folders[name]) if name in folders else None
            served = self._served.get(name)
            if version is None:
                self._switch(name, None)
            elif served is None or served.version != version:
                self._load(name, folders[name], version)
        with self._lock:
            has_ended, self._has_ended = self._has_ended, False
        if has_ended:
            gc.collect()  # A version leaves some 100,000 objects behind that hold one another.

    def refresh_until(self, stop: threading.Event, seconds: float) -> None:
        """Looks at the folders again and again, seconds apart, until stop is set."""
        while not stop.wait(seconds):
            try:
                self.refresh()
            except OSError as error:
                logging.warning("%s cannot be looked at: %s", self._base, error)

    def names(self) -> list[str]:
        """Returns the models that are served."""
        with self._lock:
            return sorted(self._served)

    @contextlib.contextmanager
    def use(self, name: str, version: int | None) -> Iterator[Servable]:
        """Lends a loaded version, which stays whole until it is given back.

        Args:
          name: of the model.
          version: None for the one that is served to all.

        Raises:
          FileNotFoundError: if it is not loaded.
        """
        with self._lock:
            servable = self._served.get(name)
            if servable is None or version not in (None, servable.version):
                raise FileNotFoundError(self._absent(name, version))
            key = name, servable.version
            self._users[key] += 1
        try:
            yield servable
        finally:
            with self._lock:
                self._users[key] -= 1
                if self._states[name][key[1]].state == "UNLOADING" and not self._users[key]:
                    self._set_state(name, key[1], VersionState("END"))

    def states(self, name: str, version: int | None) -> dict[int, VersionState]:
        """Returns the states of a model's versions, newest first; of one, if version is given.

        Raises:
          FileNotFoundError: if there was never such a version.
        """
        with self._lock:
            states = self._states.get(name, {})
            chosen = {k: states[k] for k in sorted(states, reverse=True) if version in (None, k)}
            if not chosen:
                raise FileNotFoundError(self._absent(name, version))
            return chosen

    def _newest(self, folder: str) -> int | None:
        """Returns the largest version that is not known to be broken."""
        for version in reversed(list_versions(folder)):
            path = os.path.join(folder, str(version))
            if not os.path.isfile(os.path.join(path, _GRAPH_FILE)):
                continue
            # One that was still being copied is tried again when it has grown.
            if path not in self._refused or self._refused[path] != folder_size(path):
                return version
        return None

    def _load(self, name: str, folder: str, version: int) -> None:
        path = os.path.join(folder, str(version))
        size = folder_size(path)
        with self._lock:
            self._set_state(name, version, VersionState("LOADING"))
        started = time.perf_counter()
        try:
            servable = load_servable(name, version, path)
        # TensorFlow has no common class for what a broken file may do.
        except Exception as error:
            self._refused[path] = size
            message = str(error).splitlines()[0] if str(error) else type(error).__name__
            logging.error("%s cannot be loaded: %s", path, message)
            with self._lock:
                self._set_state(name, version, VersionState("END", message))
            return
        self._refused.pop(path, None)
        self._switch(name, servable)
        seconds = time.perf_counter() - started
        logging.info("%s version %d serves, loaded in %.1f s", name, version, seconds)

    def _switch(self, name: str, servable: Servable | None) -> None:
        with self._lock:
            old = self._served.pop(name, None)
            if servable is not None:
                self._served[name] = servable
                self._set_state(name, servable.version, VersionState("AVAILABLE"))
            if old is not None:
                is_used = self._users[name, old.version] > 0
                self._set_state(name, old.version, VersionState("UNLOADING" if is_used else "END"))
                logging.info("%s version %d serves no more", name, old.version)

    def _set_state(self, name: str, version: int, state: VersionState) -> None:
        self._states[name][version] = state
        self._has_ended |= state.state == "END"

    def _absent(self, name: str, version: int | None) -> str:
        wanted = name if version is None else f"{name} version {version}"
        served = [f"{x.model} version {x.version}" for x in self._served.values()]
        return f"no model {wanted} is served; there is {', '.join(sorted(served)) or 'none'}"


def find_models(base: str, model_name: str | None) -> dict[str, str]:
    """Returns the folder of each model by its name.

    Args:
      base: the folder of one model, which holds a numbered folder; or one of such folders.
      model_name: of the one model, or the only one of them that is meant; None: all, called as
        their folders.
    """
    if list_versions(base):
        return {model_name or os.path.basename(base): base}
    if not os.path.isdir(base):
        return {}
    names = [model_name] if model_name else sorted(os.listdir(base))
    folders = {name: os.path.join(base, name) for name in names if not name.startswith(".")}
    return {name: folder for name, folder in folders.items() if list_versions(folder)}


def load_servable(name: str, version: int, folder: str) -> Servable:
    """Returns the model in a version folder, after its warm-up requests if it has any."""
    with open(os.path.join(folder, _GRAPH_FILE), "rb") as file:
        graphs = saved_model_pb2.SavedModel.FromString(file.read()).meta_graphs
    loaded = tf.saved_model.load(folder)
    if os.path.isfile(os.path.join(folder, warm_up.PATH)):
        for signature, inputs in warm_up.read_warm_up(folder):
            loaded.signatures[signature](**inputs)
    return Servable(name, version, loaded, dict(graphs[0].signature_def))
