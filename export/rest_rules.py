"""The rules of TensorFlow Serving's REST interface: paths, JSON to tensors, tensors to JSON.

Source: `g3doc/api_rest.md`, `util/json_tensor.cc` and `model_servers/http_rest_api_util.cc` of
tensorflow/serving. Stricter than these in two points, where a wrong value would pass unnoticed: a
whole number must lie in the range of its input's type, and a shape must fit that of the signature.
"""

import base64
import binascii
import itertools
import json
import re
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import tensorflow as tf

DEFAULT_SIGNATURE = "serving_default"
# Outputs of text with this ending are bytes.
_BYTES_SUFFIX = "_bytes"

_MODEL = r"/v1/models/(?P<model>[^/:]+)(/versions/(?P<version>\d+)|/labels/(?P<label>[^/:]+))?"
_POST = re.compile(_MODEL + r":(?P<action>classify|regress|predict)", re.IGNORECASE)
_GET = re.compile(_MODEL + r"(/(?P<action>metadata))?", re.IGNORECASE)

_JSON_NAMES = {
    **{dict: "an object", list: "a list", str: "text", bool: "true or false"},
    **{int: "a whole number", float: "a number with a fraction", type(None): "null"},
}


class Route(NamedTuple):
    """What a path asks for."""

    model: str
    version: int | None  # None: the newest
    action: str  # predict, status or metadata


def parse_route(method: str, path: str) -> Route:
    """Returns what a request is about.

    Args:
      method: GET or POST.
      path: of the URL, percent signs decoded.

    Raises:
      ValueError: if it is about nothing that is served here.
    """
    match = (_POST if method == "POST" else _GET).fullmatch(path)
    if match is None:
        raise ValueError(
            f"malformed request {method} {path}; there are GET /v1/models/NAME[/versions/N]"
            "[/metadata] and POST /v1/models/NAME[/versions/N]:predict"
        )
    if match["label"]:
        raise ValueError(f"there are no version labels here, got {match['label']}; give a number")
    action = (match["action"] or "status").lower()
    if action in ("classify", "regress"):
        raise ValueError(f"{action} is for tf.Example tensors of numbers; ask for predict")
    return Route(match["model"], int(match["version"]) if match["version"] else None, action)


def parse_json(body: bytes) -> dict:
    """Returns the JSON object of a request; NaN and Infinity are numbers.

    Raises:
      ValueError: if it is none.
    """
    try:
        request = json.loads(body)
    except RecursionError as error:
        raise ValueError("the body is not readable: its lists are nested too deeply") from error
    except ValueError as error:
        got = "it is empty" if not body else str(error)
        raise ValueError(f"the body must be a JSON object, encoded as UTF-8: {got}") from error
    if not isinstance(request, dict):
        raise ValueError(f"the body must be a JSON object, got {_named(request)}")
    return request


def signature_name(request: dict) -> str:
    """Returns the signature that a request asks for; raises ValueError if that is no text."""
    name = request.get("signature_name", "")
    if not isinstance(name, str):
        raise ValueError(f"signature_name must be text, got {_named(name)}")
    return name or DEFAULT_SIGNATURE


def read_inputs(
    request: dict, specs: Mapping[str, tf.TensorSpec]
) -> tuple[dict[str, np.ndarray], bool]:
    """Returns the inputs of a request by name, and whether they came as rows (`instances`).

    Args:
      request: the JSON object.
      specs: type and shape of every input of the signature, by name.

    Returns:
      Arrays of the types of specs, text and bytes as objects; True for rows, False for columns.

    Raises:
      ValueError: if an input is missing, or has another type or shape.
    """
    is_row = "instances" in request
    if is_row == ("inputs" in request):
        raise ValueError("a request must have either 'instances' (rows) or 'inputs' (columns)")
    if is_row:
        columns = _columns_of_rows(request["instances"], specs)
    else:
        columns = _columns(request["inputs"], specs)
    return {name: _tensor(name, columns[name], spec) for name, spec in specs.items()}, is_row


def write_outputs(outputs: Mapping[str, np.ndarray], is_row: bool) -> dict:
    """Returns the JSON object of an answer, in the format of its request.

    Args:
      outputs: by name, text and bytes as objects. A single one goes without its name.
      is_row: whether the request had rows.

    Raises:
      ValueError: for rows, if the outputs have no common first dimension.
    """
    if is_row:
        _check_batch({name: output.shape for name, output in outputs.items()})
    columns = {name: _json_value(name, output) for name, output in outputs.items()}
    if len(columns) == 1:
        (answer,) = columns.values()
    elif is_row:
        rows = zip(*columns.values(), strict=True)
        answer = [dict(zip(columns, row, strict=True)) for row in rows]
    else:
        answer = columns
    return {"predictions" if is_row else "outputs": answer}


def _columns_of_rows(rows: object, specs: Mapping) -> dict[str, list]:
    if not isinstance(rows, list) or not rows:
        raise ValueError(f"'instances' must be a list of one row at least, got {_named(rows)}")
    are_named = [isinstance(row, dict) and not _is_b64(row) for row in rows]
    if not any(are_named):
        if len(specs) > 1:
            raise ValueError(f"each of 'instances' must be an object of {_listed(specs)}")
        return {next(iter(specs)): rows}
    for number, row in enumerate(rows):
        if not are_named[number] or set(row) != set(specs):
            got = _listed(row) if are_named[number] else _named(row)
            raise ValueError(
                f"instances[{number}] must be an object of {_listed(specs)} and nothing else, "
                f"got {got}"
            )
    return {name: [row[name] for row in rows] for name in specs}


def _columns(columns: object, specs: Mapping) -> dict[str, object]:
    if not isinstance(columns, dict) or _is_b64(columns):
        if len(specs) > 1:
            raise ValueError(
                f"'inputs' must be an object of {_listed(specs)}, got {_named(columns)}"
            )
        return {next(iter(specs)): columns}
    missing = [name for name in specs if name not in columns]
    if missing:
        raise ValueError(f"'inputs' must have {_listed(specs)}, got {_listed(columns)}")
    return columns


def _tensor(name: str, value: object, spec: tf.TensorSpec) -> np.ndarray:
    shape, leaves = _flatten(name, value, spec.shape.rank)
    if not spec.shape.is_compatible_with(shape):
        wanted = ["?" if side is None else side for side in spec.shape]
        raise ValueError(f"input {name} must have the shape {wanted}, got {shape}".replace("'", ""))
    if spec.dtype != tf.string:
        return _numbers(name, leaves, spec.dtype).reshape(shape)
    texts = np.empty(len(leaves), object)
    texts[:] = [_bytes_of(name, leaf) for leaf in leaves]
    return texts.reshape(shape)


def _flatten(name: str, value: object, rank: int | None) -> tuple[list[int], list]:
    """Returns shape and leaves of nested lists, which must be as long as one another."""
    shape, level = [], [value]
    while level and isinstance(level[0], list):
        if len(shape) == rank:
            raise ValueError(f"input {name} must have {rank} dimensions, got more")
        length = len(level[0])
        if not all(isinstance(x, list) and len(x) == length for x in level):
            raise ValueError(f"input {name} must have lists of one length at depth {len(shape)}")
        shape.append(length)
        level = list(itertools.chain.from_iterable(level))
    return shape, level


def _numbers(name: str, leaves: list, dtype: tf.DType) -> np.ndarray:
    allowed = {bool} if dtype.is_bool else {int} if dtype.is_integer else {int, float}
    others = {_JSON_NAMES[x] for x in set(map(type, leaves)) - allowed}
    if others:
        raise ValueError(f"input {name} must hold {dtype.name}, got {_listed(others)}")
    if not dtype.is_integer:
        with np.errstate(over="ignore"):
            try:
                return np.array(leaves, np.float64).astype(dtype.as_numpy_dtype)
            except OverflowError as error:
                raise ValueError(f"input {name} must hold {dtype.name}, got more") from error
    low, high = dtype.min, dtype.max
    extremes = min(leaves, default=low), max(leaves, default=low)
    outside = [x for x in extremes if not low <= x <= high]
    if outside:
        raise ValueError(
            f"input {name} must hold {dtype.name}, {low} to {high}, got {str(outside[0])[:20]}"
        )
    return np.array(leaves, dtype.as_numpy_dtype)


def _bytes_of(name: str, leaf: object) -> bytes:
    if isinstance(leaf, str):
        return leaf.encode()
    if not _is_b64(leaf):
        raise ValueError(f'input {name} must hold text or {{"b64": …}}, got {_named(leaf)}')
    text = "".join(leaf["b64"].split())
    padding = "" if text.endswith("=") else "=" * (-len(text) % 4)
    try:
        return base64.b64decode(text + padding, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError(
            f"input {name} must be in standard base64, with + and / and not - and _ ({error})"
        ) from error


def _check_batch(shapes: Mapping[str, tuple]) -> None:
    sizes = {shape[:1] for shape in shapes.values()}
    if () in sizes or len(sizes) > 1:
        told = ", ".join(f"{name} {list(shape)}" for name, shape in shapes.items())
        raise ValueError(
            f"inconsistent batch size: rows need one first dimension in all outputs, got {told}; "
            "ask with 'inputs' in place of 'instances'"
        )


def _json_value(name: str, output: np.ndarray) -> object:
    if output.dtype != object:
        return output.tolist()

    def convert(value: bytes) -> dict | str:
        if name.endswith(_BYTES_SUFFIX):
            return {"b64": base64.b64encode(value).decode()}
        return value.decode(errors="replace")

    return np.vectorize(convert, otypes=[object])(output).tolist()


def _is_b64(value: object) -> bool:
    return isinstance(value, dict) and set(value) == {"b64"} and isinstance(value["b64"], str)


def _named(value: object) -> str:
    if value == []:
        return "an empty list"
    return _JSON_NAMES[type(value)]


def _listed(names: object) -> str:
    return ", ".join(sorted(names)) or "nothing"
