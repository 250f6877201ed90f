"""A client of TensorFlow Serving's REST interface: one file, Python's standard library alone.

To be copied into an application as it is:

  from rest_client import predict
  answer = predict("http://localhost:8501/v1/models/digits", open("scene.png", "rb").read())
  open("instances.png", "wb").write(answer["instance_bytes"])
"""

import base64
import http.client
import json
import time
import urllib.error
import urllib.request

SIGNATURE = "serving_bytes"
TUNED_SIGNATURE = "serving_bytes_tuned"

# How often a request is sent, and the seconds between the first two times; doubled each time.
_ATTEMPTS = 6
_FIRST_WAIT_SECONDS = 0.25
_BUSY = 503


def predict(
    url: str,
    image_bytes: bytes,
    *,
    parameters: dict | None = None,
    attempts: int = _ATTEMPTS,
    timeout_seconds: float = 60.0,
) -> dict:
    """Returns a model's answer to one encoded picture, by the names of its outputs.

    Args:
      url: of the model, http://HOST:PORT/v1/models/NAME, or of one version, …/versions/N.
      image_bytes: content of a JPEG, PNG, BMP or GIF file.
      parameters: read-out arguments by name, all of them or none; None: those of the model.
      attempts: how often the request is sent while the server is busy (503), at least once.
      timeout_seconds: for one answer.

    Returns:
      Numbers and lists; outputs named `…_bytes` as bytes, those of maps being PNG files.

    Raises:
      ValueError: if the server refuses the request, with what it says.
      OSError: if the server cannot be reached, answers too late, or is still busy.
    """
    row = {"image_bytes": encode(image_bytes), **(parameters or {})}
    signature = TUNED_SIGNATURE if parameters else SIGNATURE
    (answer,) = post(
        f"{url}:predict",
        {"signature_name": signature, "instances": [row]},
        attempts=attempts,
        timeout_seconds=timeout_seconds,
    )["predictions"]
    return {name: decode(value) for name, value in answer.items()}


def is_available(url: str, *, timeout_seconds: float = 10.0) -> bool:
    """Returns whether a version of the model at url is ready to answer; False without a server."""
    try:
        states = get(url, timeout_seconds=timeout_seconds)["model_version_status"]
    except (OSError, ValueError):
        return False
    return any(state["state"] == "AVAILABLE" for state in states)


def signatures(url: str, *, timeout_seconds: float = 10.0) -> dict[str, dict]:
    """Returns `inputs` and `outputs` of each signature of the model at url, as the server says.

    Raises:
      ValueError, OSError: as `predict`.
    """
    metadata = get(f"{url}/metadata", timeout_seconds=timeout_seconds)["metadata"]
    return metadata["signature_def"]["signature_def"]


def encode(content: bytes) -> dict:
    """Returns bytes as JSON has them here: standard base64 in an object."""
    return {"b64": base64.b64encode(content).decode("ascii")}


def decode(value: object) -> object:
    """Returns the bytes of what `encode` returns, and anything else as it is."""
    if isinstance(value, dict) and set(value) == {"b64"}:
        return base64.b64decode(value["b64"])
    return value


def get(url: str, *, timeout_seconds: float) -> dict:
    """Returns the JSON object at url; raises as `predict`."""
    return _answer(urllib.request.Request(_checked(url)), 1, timeout_seconds)


def post(url: str, content: dict, *, attempts: int, timeout_seconds: float) -> dict:
    """Returns the JSON object that answers content sent to url; raises as `predict`."""
    body = json.dumps(content).encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(_checked(url), body, headers)
    return _answer(request, attempts, timeout_seconds)


def _answer(request: urllib.request.Request, attempts: int, timeout_seconds: float) -> dict:
    for attempt in range(1, attempts + 1):
        try:
            with urllib.request.urlopen(request, timeout=timeout_seconds) as response:
                return json.loads(response.read())
        except urllib.error.HTTPError as error:
            message = f"{request.full_url} answers {error.code}: {_reason(error)}"
            if error.code < 500:
                raise ValueError(message) from None
            if error.code != _BUSY or attempt == attempts:
                raise ConnectionError(message) from None
        # Timeouts and refused connections are OSErrors, a broken answer the other.
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", error)
            raise ConnectionError(f"{request.full_url} cannot be reached: {reason}") from error
        time.sleep(_FIRST_WAIT_SECONDS * 2 ** (attempt - 1))
    raise ValueError(f"attempts must be at least 1, got {attempts}")


def _reason(error: urllib.error.HTTPError) -> str:
    """Returns what the server says: `error` of a JSON object, else the text itself."""
    text = error.read().decode(errors="replace")
    try:
        return json.loads(text)["error"]
    except (ValueError, KeyError, TypeError):
        return text.strip() or error.reason


def _checked(url: str) -> str:
    if not url.startswith(("http://", "https://")):
        raise ValueError(f"the URL must begin with http:// or https://, got {url}")
    return url
