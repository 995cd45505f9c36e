"""The image files in a request's body, however common clients send them."""

from __future__ import annotations

import re
from itertools import chain, count
from pathlib import PurePath
from typing import Any, NamedTuple

import python_multipart
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header

from serve.limits import Refusal

# What requests, curl --data-binary and browsers say of a file's bytes. The bytes decide.
_PLAIN = ("", "application/octet-stream", "application/x-www-form-urlencoded")
_FORM = "multipart/form-data"
_MOST_IMAGES = 64
_MOST_PARTS = 256
_NAME = re.compile(r"[^A-Za-z0-9._-]+")


class Upload(NamedTuple):
    """A file's bytes, and a name for its answers that is safe as a file's."""

    name: str
    content: bytes


def check_content_type(value: str) -> None:
    """Raises Refusal 415 for a type that is no image's, no unknown file's and no form's."""
    kind = value.partition(";")[0].strip().lower()
    if kind not in (*_PLAIN, _FORM) and not kind.startswith("image/"):
        raise Refusal(
            415,
            f"Content-Type is {kind[:40]!r}; wanted image/jpeg, image/png or image/webp, the image "
            f"as body, or {_FORM}",
        )


def uploads_of(body: bytes, content_type: str) -> list[Upload]:
    """The body itself, or the files of a form. Raises Refusal 400 for a form without, or broken."""
    kind, options = parse_options_header(content_type)
    if kind.decode("latin-1").lower() != _FORM:
        return [Upload("image", body)]
    boundary = options.get(b"boundary")
    if not boundary:
        raise Refusal(400, f"{_FORM} without a boundary: let the client make the header")
    parts = _Parts()
    try:
        parser = python_multipart.MultipartParser(boundary, parts.callbacks())
        parser.write(body)
        parser.finalize()
    except FormParserError as error:
        raise Refusal(400, f"the form is damaged or truncated ({error}): send it again") from error
    if not parts.whole:
        raise Refusal(400, "the form is truncated: send it again")
    if not parts.files:
        raise Refusal(400, "the form holds no file: curl -F image=@street.jpg sends one")
    return parts.files


class _Parts:
    """Collects the files of a form: parts with a file's name (RFC 7578, 4.2: it may be missing), or
    an image's type. Its other fields are not looked at."""

    def __init__(self) -> None:
        self.files: list[Upload] = []
        self.whole, self.parts = False, 0
        self._field, self._value, self._data = bytearray(), bytearray(), bytearray()
        self._name, self._is_file = "", False

    def callbacks(self) -> Any:
        return {
            "on_part_begin": self._begin,
            "on_header_field": lambda data, start, end: self._field.extend(data[start:end]),
            "on_header_value": lambda data, start, end: self._value.extend(data[start:end]),
            "on_header_end": self._header,
            "on_part_data": lambda data, start, end: self._data.extend(data[start:end]),
            "on_part_end": self._end,
            "on_end": self._finish,
        }

    def _begin(self) -> None:
        self.parts += 1
        if self.parts > _MOST_PARTS:
            raise Refusal(413, f"the form has more than {_MOST_PARTS} parts: send less at a time")
        self._data, self._name, self._is_file = bytearray(), "", False

    def _header(self) -> None:
        field, value = bytes(self._field).lower(), bytes(self._value)
        if field == b"content-disposition":
            options = parse_options_header(value)[1]
            self._is_file |= b"filename" in options
            name = options.get(b"filename", options.get(b"name", b""))
            self._name = name.decode("utf-8", "replace")
        elif field == b"content-type":
            self._is_file |= value.strip().lower().startswith(b"image/")
        self._field, self._value = bytearray(), bytearray()

    def _end(self) -> None:
        if not self._is_file:
            return
        if len(self.files) == _MOST_IMAGES:
            raise Refusal(
                413, f"the form holds more than {_MOST_IMAGES} files: send less at a time"
            )
        stem = _NAME.sub("_", PurePath(self._name).stem)[:60].strip(".") or "image"
        taken = {file.name for file in self.files}
        names = chain([stem], (f"{stem}-{i}" for i in count(len(taken))))
        name = next(each for each in names if each not in taken)
        self.files.append(Upload(name, bytes(self._data)))

    def _finish(self) -> None:
        self.whole = True
