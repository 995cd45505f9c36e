"""A model of a running `roadshift serve` in place of an engine in this process.

Tensors go raw, as the Open Inference Protocol's binary data: the labels and the confidence are the
server's own, bit for bit.
"""

from __future__ import annotations

import json
import logging
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import numpy as np
from numpy.typing import NDArray

from export.bundle import SEGMENTOR, Bundle
from export.bundle.reproduction import Found, reproduction
from roadshift import Failure, UserError
from serve.http.infer import JSON_LENGTH
from serve.limits import Refusal
from serve.models.api_keys import key_to_send
from serve.protocol.inference_protocol import DIGEST
from serve.runtime.engine import Answer, Engine, not_as_exported

log = logging.getLogger(__name__)
KEY_OPTION = "--server-key-file"
CONNECT_SECONDS, ANSWER_SECONDS = 5.0, 60.0
BUSY = "The server behind this demo has much to do just now: try again in a few seconds."
GONE = "The server behind this demo does not answer just now: try again in a minute."
WRONG = "The server behind this demo does not answer as it should: tell whoever runs it."
_BUSY = (429, 503, 504)
_ABOUT_THE_PICTURE = (400, 413)


def connect(url: str, key_file: Path | None = None) -> httpx.Client:
    """A client of the server at http(s)://HOST:PORT, with the first key in the file if there is
    one. Proxies of the environment are not asked; UserError for another address or file."""
    try:
        address = httpx.URL(url)
    except (httpx.InvalidURL, TypeError) as error:
        raise UserError(f"--server {url}: {error}; wanted http://HOST:PORT") from error
    if address.scheme not in ("http", "https") or not address.host or address.userinfo:
        raise UserError(
            f"--server {address.copy_with(username=None, password=None)}: wanted http://HOST:PORT "
            "or https://HOST:PORT, without a user's name"
        )
    headers = {"Authorization": f"Bearer {key_to_send(key_file, KEY_OPTION)}"} if key_file else {}
    timeout = httpx.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS)
    return httpx.Client(
        base_url=address, headers=headers, timeout=timeout, trust_env=False,
        verify=ssl.create_default_context(),
    )  # fmt: skip


class RemoteModel:
    """A bundle's segmentor as the server has it; it segments like an Engine of the same bundle.

    `name` is the server's for it. Raises UserError for a server that does not answer, has no such
    model, or one of other classes.
    """

    golden_text = Engine.golden_text

    def __init__(self, bundle: Bundle, client: httpx.Client, name: str) -> None:
        self.bundle, self._client = bundle, client
        self._digest: str | None = None
        self._path = f"/v2/models/{quote(name, safe='')}"
        found = self._configuration()
        self.precision = found["parameters"]["precision"]["string_value"]
        classes = json.loads(found["parameters"]["classes"]["string_value"])
        if classes != list(bundle.classes):
            others = set(classes) ^ set(bundle.classes)
            differ = f"differ in {', '.join(sorted(others))}" if others else "are in another order"
            raise UserError(
                f"the model {name} of {client.base_url} does not name the classes "
                f"of {bundle.folder} (they {differ}): serve that bundle, or name another --model"
            )

    def segment(self, images: NDArray[np.uint8], *, confidence: bool = False) -> Answer:
        """The class of every pixel of images uint8 [n,h,w,3], and where asked how sure it is.

        Raises Refusal with a sentence for visitors: the server is busy (503), gone (503), refuses
        the picture (its own status and words), or answers something else (502; the log says what),
        as when it was started again with another bundle.
        """
        names = ["labels", "confidence"] if confidence else ["labels"]
        asked = json.dumps({"inputs": [_described(images)], "outputs": [*map(_wanted, names)]})
        try:
            answer = self._client.post(
                f"{self._path}/infer",
                content=asked.encode() + images.tobytes(),
                headers={JSON_LENGTH: str(len(asked))},
            )
        except httpx.RequestError as error:
            log.warning("%s: %r", self._client.base_url, error)
            raise Refusal(503, GONE) from error
        self._check(answer)
        try:
            head = _head(answer)
            found = _tensors(answer, head, images.shape[:3])
            digest = head["parameters"].get(DIGEST)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            log.error("%s answered what the protocol does not know: %r", self._path, error)
            raise Refusal(502, WRONG) from error
        self._check_bundle(digest)
        return Answer(found["labels"], found["confidence"] if confidence else None)

    def check_golden(self) -> float:
        """The share (0..1) of equal pixels in the worst of the bundle's golden frames, as the
        server gives them; Failure for less than the manifest promises."""
        golden = self.bundle.golden()
        found = [Found(self.segment(one.image[None]).labels[0]) for one in golden]
        result = reproduction(golden, found, self.bundle.classes)
        if wrong := not_as_exported(result, self.bundle, self.precision):
            raise Failure(
                f"for bundle {self.bundle.name} the server at {self._client.base_url} gives "
                f"{'; '.join(wrong)}: serve the same bundle there"
            )
        return result.agreement

    def _configuration(self) -> dict[str, Any]:
        """The model's configuration, of a server and a model that fit the page."""
        url = self._client.base_url
        try:
            answer = self._client.get(f"{self._path}/config")
        except httpx.RequestError as error:
            raise UserError(
                f"--server {url} does not answer ({error}): is `roadshift serve` running there?"
            ) from error
        if answer.status_code == 401:
            raise UserError(f"--server {url} asks for another key: name its {KEY_OPTION}")
        try:
            found = answer.raise_for_status().json()
            outputs = {one["name"] for one in found["output"]}
            if not {"labels", "confidence"} <= outputs or "classes" not in found["parameters"]:
                raise ValueError(f"no labels among {', '.join(sorted(outputs))}")
        except (httpx.HTTPStatusError, ValueError, KeyError, TypeError) as error:
            why = _error(answer) or str(error)
            raise UserError(
                f"--server {url} has no segmentor at {self._path} ({why}): name one with --model"
            ) from error
        return found

    def _check_bundle(self, digest: str | None) -> None:
        """What was found to fit is what goes on answering."""
        if self._digest not in (None, digest):
            log.error(
                "%s answers with another bundle at %s since this demo began: start the demo again",
                self._client.base_url,
                self._path,
            )
            raise Refusal(502, WRONG)
        self._digest = digest

    def _check(self, answer: httpx.Response) -> None:
        if answer.is_success:
            return
        if answer.status_code in _BUSY:
            raise Refusal(503, BUSY)
        why = _error(answer)
        if answer.status_code in _ABOUT_THE_PICTURE and why:
            raise Refusal(answer.status_code, why)
        log.error("%s answered %s: %s", self._path, answer.status_code, why)
        raise Refusal(502, WRONG)


def _described(images: NDArray[np.uint8]) -> dict[str, Any]:
    size = {"binary_data_size": images.nbytes}
    shape = list(images.shape)
    return {"name": SEGMENTOR.input, "shape": shape, "datatype": "UINT8", "parameters": size}


def _wanted(name: str) -> dict[str, Any]:
    return {"name": name, "parameters": {"binary_data": True}}


def _head(answer: httpx.Response) -> dict[str, Any]:
    """The JSON before the answer's tensors."""
    return {"parameters": {}, **json.loads(answer.content[: int(answer.headers[JSON_LENGTH])])}


def _tensors(
    answer: httpx.Response, head: dict[str, Any], shape: Sequence[int]
) -> dict[str, NDArray[np.uint8]]:
    """The answer's tensors, each uint8 of that shape; ValueError or KeyError for another."""
    tail = np.frombuffer(answer.content[int(answer.headers[JSON_LENGTH]) :], np.uint8)
    names = [one["name"] for one in head["outputs"]]
    return dict(zip(names, tail.reshape(len(names), *shape), strict=True))


def _error(answer: httpx.Response) -> str:
    """The sentence in a refusal of the server; "" where it holds none."""
    try:
        return str(answer.json()["error"])
    except (ValueError, KeyError, TypeError):
        return ""
