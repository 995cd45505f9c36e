"""A file that is needed again later, whatever becomes of its name."""

from __future__ import annotations

import hashlib
import os
import weakref
from pathlib import Path

from roadshift import Failure


class KeptFile:
    """A file, held open: who deletes or replaces it leaves this one as it was.

    `sha256` is what it must hold. Raises Failure when it cannot be opened.
    """

    def __init__(self, path: Path, sha256: str) -> None:
        self._name, self._sha256 = f"{path.name} of {path.parent}", sha256
        try:
            self._open = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise Failure(f"could not open {self._name}: {error.strerror or error}") from error
        weakref.finalize(self, os.close, self._open)

    def read(self) -> bytes:
        """All of it; Failure when somebody wrote into it."""
        content = bytearray()
        while part := os.pread(self._open, 1 << 30, len(content)):
            content += part
        if hashlib.sha256(content).hexdigest() != self._sha256:
            raise Failure(f"{self._name} was changed after it was checked: export it again")
        return bytes(content)
