"""TensorFlow Serving's REST rules, without a server."""

import json

import numpy as np
import pytest
import tensorflow as tf

from export.rest_rules import (
    Route,
    parse_json,
    parse_route,
    read_inputs,
    signature_name,
    write_outputs,
)


def _spec(dtype, *shape):
    return tf.TensorSpec(shape, dtype)


X = {"x": _spec(tf.float32, None)}
IMAGE = {"image": _spec(tf.uint8, None, None, None, 3)}
TEXT = {"text": _spec(tf.string, None)}
TWO = {"a": _spec(tf.int32, None), "b": _spec(tf.bool, None, 2)}


@pytest.mark.parametrize(
    "method, path, route",
    [
        ("GET", "/v1/models/m", Route("m", None, "status")),
        ("GET", "/v1/models/a b/versions/12", Route("a b", 12, "status")),
        ("GET", "/v1/models/m/metadata", Route("m", None, "metadata")),
        ("GET", "/v1/models/m/versions/3/METADATA", Route("m", 3, "metadata")),
        ("POST", "/v1/models/m:predict", Route("m", None, "predict")),
        ("POST", "/V1/Models/m/versions/0:predict", Route("m", 0, "predict")),
    ],
)
def test_parse_route_reads_every_path(method, path, route):
    assert parse_route(method, path) == route


@pytest.mark.parametrize(
    "method, path",
    [
        ("GET", "/v1/models/m:predict"),
        ("GET", "/v1/models/m/versions/x"),
        ("GET", "/v1/models/m/"),
        ("GET", "/v1/models/"),
        ("POST", "/v1/models/m"),
        ("POST", "/v1/models/m/metadata"),
        ("POST", "/v1/models/m:predict/"),
    ],
)
def test_parse_route_refuses_others(method, path):
    with pytest.raises(ValueError, match=f"malformed request {method} {path}; there are GET"):
        parse_route(method, path)


def test_parse_json_takes_nan_and_signature_name_has_a_default():
    request = parse_json(b'{"inputs": [NaN, -Infinity], "signature_name": ""}')
    np.testing.assert_array_equal(request["inputs"], [np.nan, -np.inf])
    assert signature_name(request) == signature_name({}) == "serving_default"


@pytest.mark.parametrize(
    "request_, specs, expected",
    [
        ({"instances": [1, 2.5]}, X, {"x": [1, 2.5]}),
        ({"instances": [{"x": 1}, {"x": 2}]}, X, {"x": [1, 2]}),
        ({"inputs": {"x": [3], "unknown": "let pass"}}, X, {"x": [3]}),
        ({"inputs": []}, X, {"x": []}),
        ({"instances": [[[[0, 1, 255]]]]}, IMAGE, {"image": [[[[0, 1, 255]]]]}),
        ({"instances": [{"b64": "YQ=="}, "b"]}, TEXT, {"text": [b"a", b"b"]}),
        # Padding may be left out, blanks and line ends are skipped.
        ({"inputs": [{"b64": "Y\nQ"}, {"b64": "Y Q = ="}]}, TEXT, {"text": [b"a", b"a"]}),
        ({"inputs": {"b64": "YQ=="}}, {"t": _spec(tf.string)}, {"t": b"a"}),
        (
            {"instances": [{"a": 1, "b": [True, False]}, {"b": [False, False], "a": -2}]},
            TWO,
            {"a": [1, -2], "b": [[True, False], [False, False]]},
        ),
    ],
)
def test_read_inputs_gives_arrays_of_the_types_of_the_signature(request_, specs, expected):
    found, is_row = read_inputs(request_, specs)
    assert is_row == ("instances" in request_) and list(found) == list(expected)
    for name, spec in specs.items():
        dtype = object if spec.dtype == tf.string else spec.dtype.as_numpy_dtype
        assert found[name].dtype == dtype
        np.testing.assert_array_equal(found[name], np.array(expected[name], dtype))


@pytest.mark.parametrize(
    "request_, specs, message",
    [
        ({}, X, "either 'instances'"),
        ({"instances": [1], "inputs": [1]}, X, "either 'instances'"),
        ({"instances": []}, X, "one row at least, got an empty list"),
        ({"instances": 3}, X, "one row at least, got a whole number"),
        ({"instances": [{"y": 1}]}, X, r"instances\[0\] must be an object of x and .* got y"),
        ({"instances": [{"x": 1, "y": 1}]}, X, r"instances\[0\] must .* nothing else, got x, y"),
        ({"instances": [{"x": 1}, 2]}, X, r"instances\[1\] must be .* got a whole number"),
        ({"instances": [{"x": 1}, {}]}, X, r"instances\[1\] must be .* got nothing"),
        ({"instances": [1]}, TWO, "each of 'instances' must be an object of a, b"),
        ({"inputs": [1]}, TWO, "'inputs' must be an object of a, b, got a list"),
        ({"inputs": {"a": [1]}}, TWO, "'inputs' must have a, b, got a"),
        ({"inputs": [True]}, X, "must hold float32, got true or false"),
        ({"inputs": [None]}, X, "must hold float32, got null"),
        ({"inputs": [1, [2]]}, X, "must hold float32, got a list"),
        ({"inputs": [[[[1, 2, 3]], 2]]}, IMAGE, "image must have lists of one length at depth 2"),
        ({"inputs": [10**400]}, X, "must hold float32, got more"),
        ({"inputs": 1.0}, X, r"x must have the shape \[\?\], got \[\]"),
        (
            {"inputs": [[[[1, 2]]]]},
            IMAGE,
            r"must have the shape \[\?, \?, \?, 3\], got \[1, 1, 1, 2",
        ),
        ({"inputs": [[[[1, 2, 256]]]]}, IMAGE, "must hold uint8, 0 to 255, got 256"),
        ({"inputs": [[[[-1, 2, 25]]]]}, IMAGE, "must hold uint8, 0 to 255, got -1"),
        ({"inputs": [[[[1.5, 2, 25]]]]}, IMAGE, "must hold uint8, got a number with a fraction"),
        ({"inputs": [[[[1, 2, 3], [4, 5]]]]}, IMAGE, "lists of one length at depth 3"),
        ({"inputs": [3]}, TEXT, r'must hold text or \{"b64": …\}, got a whole number'),
        ({"inputs": [{"b64": "a", "c": 1}]}, TEXT, "must hold text or .* got an object"),
        ({"inputs": [{"b64": "-_8="}]}, TEXT, "standard base64, with"),
        ({"inputs": [{"b64": "YQ="}]}, TEXT, "standard base64, with"),
    ],
)
def test_read_inputs_says_what_is_wrong(request_, specs, message):
    with pytest.raises(ValueError, match=message):
        read_inputs(request_, specs)


def test_read_inputs_holds_long_texts_in_lists_of_numbers_once():
    """A NumPy array of texts would take the length of the longest for each of them: 80 GB here."""
    with pytest.raises(ValueError, match="must hold float32, got text"):
        read_inputs({"inputs": ["x" * 200_000] + [""] * 100_000}, X)


def test_write_outputs_in_both_formats():
    two = {"n": np.array([1, 2], np.int32), "map_bytes": np.array([b"\xfb\xff", b""], object)}
    coded = [{"b64": "+/8="}, {"b64": ""}]
    rows = [{"n": 1, "map_bytes": coded[0]}, {"n": 2, "map_bytes": coded[1]}]
    assert write_outputs(two, True) == {"predictions": rows}
    assert write_outputs(two, False) == {"outputs": {"n": [1, 2], "map_bytes": coded}}
    one = {"y": np.array([[0.5, np.inf]], np.float32)}
    assert json.dumps(write_outputs(one, True)) == '{"predictions": [[0.5, Infinity]]}'
    assert write_outputs({"y": np.array(b"a", object)}, False) == {"outputs": "a"}
    empty = {"a": np.zeros([0], np.int32), "b_bytes": np.zeros([0], object)}
    assert write_outputs(empty, False) == {"outputs": {"a": [], "b_bytes": []}}
    assert write_outputs(empty, True) == {"predictions": []}


@pytest.mark.parametrize("shapes", [([2], [3]), ([2], []), ([],)])
def test_write_outputs_refuses_rows_without_one_batch_size(shapes):
    outputs = {f"y{i}": np.zeros(shape) for i, shape in enumerate(shapes)}
    with pytest.raises(ValueError, match=r"inconsistent batch size: .* ask with 'inputs'"):
        write_outputs(outputs, True)
    write_outputs(outputs, False)
