"""Self-checks of a server's frames, where a request asks for one and, in idle time, of every n-th.

The drawing takes the reconstructor's own line before the shared device.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import prometheus_client
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry, Histogram

from export.bundle.graphs import RECONSTRUCTOR
from serve.limits import Refusal
from serve.models.catalogue import Catalogue, Model
from serve.models.self_check.self_check import UNUSUAL, SelfChecked
from serve.models.workers import Workers, until

log = logging.getLogger(__name__)
_SCORES = (-2, -1, 0, 1, UNUSUAL, 2, 3, 4, 6, 8)


class SelfCheckMonitor:
    """Checks frames of all models of a catalogue that have what it takes; counts what comes out."""

    def __init__(
        self, catalogue: Catalogue, workers: Workers, registry: CollectorRegistry, every: int
    ) -> None:
        """`workers` compare; of a model's frames that nobody asks about, one in `every` is checked
        (0: none)."""
        self._catalogue, self._workers, self._every = catalogue, workers, every
        self._since = Counter[str]()
        self._watching: asyncio.Task[None] | None = None
        self._scores = Histogram(
            "roadshift_monitor_score",
            "How little labels explain their frame: standard deviations above usual frames",
            ["model"],
            buckets=_SCORES,
            registry=registry,
        )
        self._unusual = prometheus_client.Counter(
            "roadshift_monitor_unusual",
            "Checked frames that are less explained than 95 % of usual frames",
            ["model"],
            registry=registry,
        )

    @staticmethod
    def can_check(model: Model) -> bool:
        """Whether its bundle has a reconstructor, and what usual frames score."""
        return model.reconstructor is not None

    def require(self, model: Model) -> None:
        """Raises Refusal 400 for a model whose frames cannot be checked."""
        if not self.can_check(model):
            raise Refusal(
                400,
                f"{model.spec.name!r} cannot check itself: that takes a reconstructor, exported "
                "with what usual frames score",
            )

    async def check(
        self,
        model: Model,
        image: NDArray[np.uint8],
        labels: NDArray[np.uint8],
        deadline: float | None = None,
        *,
        first: bool = False,
    ) -> SelfChecked:
        """Of a frame [h,w,3] and the labels [h,w] that the model gave it.

        Raises Refusal: 400 as `require` (a stream's next frame may meet another version), 429 and
        504 as the reconstructor's line.
        """
        self.require(model)
        assert model.reconstructor is not None
        assert model.self_check is not None
        line, output, compare = model.reconstructor.line, RECONSTRUCTOR.output, model.self_check
        drawn = (await line.run(labels[None], (output,), deadline, first=first))[output][0]
        with until(deadline, "while its frame was checked"):
            found = await self._workers.run(lambda: compare(image, drawn))
        self._scores.labels(model.spec.name).observe(found.score)
        self._unusual.labels(model.spec.name).inc(int(found.score > UNUSUAL))
        return found

    def see(
        self, model: Model, images: NDArray[np.uint8], outputs: Mapping[str, NDArray[Any]]
    ) -> None:
        """Takes the first of those images [n,h,w,3], if it is time again and nobody waits."""
        if not self._every or "labels" not in outputs or not self.can_check(model):
            return
        self._since[model.spec.name] += len(images)
        if self._since[model.spec.name] >= self._every and not self._busy:
            self._since[model.spec.name] = 0
            watched = self._watch(model, images[0], outputs["labels"][0])
            self._watching = asyncio.create_task(watched)

    @property
    def _busy(self) -> bool:
        under_way = self._watching is not None and not self._watching.done()
        return under_way or any(model.line.taken for model in self._catalogue.models.values())

    async def _watch(
        self, model: Model, image: NDArray[np.uint8], labels: NDArray[np.uint8]
    ) -> None:
        try:
            await self.check(model, image, labels)
        except Exception as error:  # nobody waits for it
            log.warning("a frame of %s was not checked: %s", model.spec.name, error)
