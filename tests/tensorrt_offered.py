"""What the objects of the TensorRT double have in common: one version's names, and no others."""

from __future__ import annotations

from typing import Any, ClassVar


class Offered:
    """An object with the names of its class in that version, and no others."""

    _class: ClassVar[str]

    def __init__(self, trt: Any) -> None:
        self._trt = trt

    def _gate(self, name: str) -> None:
        if not name.startswith("_") and name not in self._trt._api[self._class]:
            raise AttributeError(f"{self._class} of TensorRT {self._trt._version} has no {name}")

    def __getattribute__(self, name: str) -> Any:
        if not name.startswith("_"):
            self._gate(name)
        return object.__getattribute__(self, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if not name.startswith("_"):
            self._gate(name)
            self._trt._calls.append((f"{self._class}.{name}", value))
        object.__setattr__(self, name, value)

    def _did(self, name: str, *values: Any) -> None:
        self._trt._calls.append((f"{self._class}.{name}", *values))
