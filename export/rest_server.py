"""The REST interface of TensorFlow Serving, as a Starlette application with limits."""

import asyncio
import json
import zlib
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from absl import logging
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from export import model_status, picture_limits, rest_rules
from export.model_versions import ModelVersions, Servable

_GZIP = 31  # of zlib: a gzip header, and the largest window
_CLIENT_CLOSED = 499  # as TensorFlow Serving has it
# Of what the graph itself reports; as TensorFlow Serving has it.
_STATUS_OF_ERRORS = {
    tf.errors.InvalidArgumentError: 400,
    tf.errors.FailedPreconditionError: 400,
    tf.errors.OutOfRangeError: 400,
    tf.errors.ResourceExhaustedError: 429,
}


class Limits(NamedTuple):
    """What a server takes on."""

    max_pixels: int  # of the pictures of a request
    max_body_bytes: int  # of a request, before and after decompression
    max_pending: int  # requests that are being received, waiting or answered
    num_threads: int  # requests that are answered at once
    read_seconds: float = 30.0  # for a request to arrive


def build_app(models: ModelVersions, limits: Limits) -> Starlette:
    """Returns the application: status, metadata and predict of the models that are served."""
    pool = ThreadPoolExecutor(limits.num_threads, thread_name_prefix="predict")
    num_pending = 0

    async def get(request: Request) -> Response:
        route = rest_rules.parse_route("GET", request.url.path)
        if route.action == "status":
            states = models.states(route.model, route.version)
            return JSONResponse(model_status.describe_states(states))
        with models.use(route.model, route.version) as servable:
            return JSONResponse(model_status.describe_servable(servable))

    async def post(request: Request) -> Response:
        nonlocal num_pending
        route = rest_rules.parse_route("POST", request.url.path)
        is_full = num_pending >= limits.max_pending
        num_pending += not is_full
        try:
            # A request that is refused is received all the same: who sends it would else not come
            # to read why.
            body = await _receive(request, 0 if is_full else limits.max_body_bytes, limits)
            if is_full:
                raise HTTPException(
                    503,
                    f"{limits.max_pending} requests are pending (--max_pending); try again later",
                )

            def predict() -> bytes:
                text = _decompressed(body, request.headers, limits.max_body_bytes)
                with models.use(route.model, route.version) as servable:
                    return answer(servable, text, limits.max_pixels)

            content = await asyncio.get_running_loop().run_in_executor(pool, predict)
        finally:
            num_pending -= not is_full
        return Response(content, media_type="application/json")

    handlers = {
        ValueError: lambda request, error: _refusal(400, error),
        FileNotFoundError: lambda request, error: _refusal(404, error),
        tf.errors.OpError: _op_error,
        HTTPException: lambda request, error: _refusal(error.status_code, error.detail),
        ClientDisconnect: lambda request, error: Response(status_code=_CLIENT_CLOSED),
        Exception: _unknown_error,
    }
    routes = [Route("/v1/{path:path}", get), Route("/v1/{path:path}", post, methods=["POST"])]
    return Starlette(routes=routes, exception_handlers=handlers)


def answer(servable: Servable, body: bytes, max_pixels: int) -> bytes:
    """Returns the JSON that answers a predict request.

    Args:
      servable: the model.
      body: JSON of the request.
      max_pixels: as `picture_limits.check_sizes`.

    Raises:
      ValueError: if the request is wrong.
      tf.errors.OpError: if the model cannot answer it.
    """
    request = rest_rules.parse_json(body)
    name = rest_rules.signature_name(request)
    signatures = servable.loaded.signatures
    if name not in signatures:
        raise ValueError(
            f"{servable.model} version {servable.version} has no signature {name}; it has "
            f"{', '.join(sorted(signatures))}"
        )
    function = signatures[name]
    inputs, is_row = rest_rules.read_inputs(request, function.structured_input_signature[1])
    del request
    picture_limits.check_sizes(inputs, max_pixels)
    tensors = {key: tf.constant(x) for key, x in inputs.items()}
    try:
        outputs = {key: np.asarray(x.numpy()) for key, x in function(**tensors).items()}
    except tf.errors.InvalidArgumentError:
        where = picture_limits.undecodable_picture(inputs)
        if where is None:
            raise
        raise ValueError(f"{where} cannot be decoded: it is damaged or cut off") from None
    return json.dumps(rest_rules.write_outputs(outputs, is_row)).encode()


async def _receive(request: Request, max_bytes: int, limits: Limits) -> bytes:
    """Returns the body of a request, or none of it if max_bytes is 0."""
    chunks, size = [], 0

    async def read() -> None:
        nonlocal size
        async for chunk in request.stream():
            size += len(chunk)
            if size <= max_bytes:
                chunks.append(chunk)
            else:
                chunks.clear()

    try:
        await asyncio.wait_for(read(), limits.read_seconds)
    except asyncio.TimeoutError:
        raise HTTPException(
            408, f"the request must arrive within {limits.read_seconds:g} s"
        ) from None
    if size > max_bytes > 0:
        raise _too_large(f"{size:,} bytes", max_bytes)
    return b"".join(chunks)


def _decompressed(body: bytes, headers: dict, max_bytes: int) -> bytes:
    encoding = headers.get("content-encoding", "identity").lower()
    if encoding == "identity":
        return body
    if encoding != "gzip":
        raise HTTPException(415, f"Content-Encoding must be gzip or none, got {encoding}")
    inflater = zlib.decompressobj(_GZIP)
    try:
        text = inflater.decompress(body, max_bytes + 1)
    except zlib.error as error:
        raise ValueError(f"the body is not gzip ({error})") from error
    if len(text) > max_bytes:
        raise _too_large("more bytes when decompressed", max_bytes)
    if not inflater.eof:
        raise ValueError("the gzip body is cut off")
    return text


def _too_large(got: str, max_bytes: int) -> HTTPException:
    return HTTPException(
        413, f"the body must have at most {max_bytes:,} bytes (--max_body_bytes), got {got}"
    )


def _refusal(status: int, error: object) -> JSONResponse:
    return JSONResponse({"error": str(error)}, status_code=status)


def _op_error(request: Request, error: tf.errors.OpError) -> JSONResponse:
    del request
    status = _STATUS_OF_ERRORS.get(type(error), 500)
    # Before it stands where the graph was built, after it the node.
    message = error.message.split("[[{{")[0].strip().split("\n")[-1]
    if status == 500:
        logging.error("a request failed: %s", error.message)
    return _refusal(status, message)


def _unknown_error(request: Request, error: Exception) -> JSONResponse:
    # Starlette hands the error on to uvicorn, which logs where it was raised.
    return _refusal(500, f"{type(error).__name__}; see the server's log")
