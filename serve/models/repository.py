"""Bundles that are loaded again, or taken out, while the server answers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import anyio.to_thread

from roadshift import UserError
from serve.limits import Refusal
from serve.models.catalogue import Catalogue, Model
from serve.runtime.graph import Graph

log = logging.getLogger(__name__)
Opener: TypeAlias = Callable[[], Sequence[Graph]]
"""Reads a folder that the operator named, and opens its bundle's graphs."""
_LOOK_SECONDS = 0.02


class Repository:
    """Changes a catalogue's bundles; `openers` has those that may be changed, by name.

    What a client sends names a bundle that is there, never a place. A new version is used only once
    its files have been compared with their hashes and its golden frames came out; requests that
    began with the one before end with it. Two versions of bundles are in memory at most.
    """

    def __init__(self, catalogue: Catalogue, openers: Mapping[str, Opener]) -> None:
        self._catalogue, self._openers = catalogue, openers
        self._change = asyncio.Lock()
        self._before: set[Model] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def load(self, name: str) -> None:
        """Reads the bundle's folder again, and offers what is there now.

        Raises Refusal: 403 or 404 as `_opener`, 409 for a bundle that is not whole or does not
        reproduce its golden frames on this device; then nothing changes.
        """
        opener = self._opener(name)
        async with self._change:
            await self._drained()
            try:
                graphs, found = await anyio.to_thread.run_sync(_opened, opener, name)
            except Exception as error:
                log.error("%s was not loaded: %s", name, error)
                raise Refusal(
                    409,
                    f"what is in the folder of {name!r} now is damaged, another bundle, or does "
                    "not reproduce its golden frames; the server's log says more. Nothing changed",
                ) from error
            self._end(self._catalogue.put(name, graphs))
            await anyio.to_thread.run_sync(self._catalogue.prepare, name)
            version = self._catalogue.models[name].spec.version
            log.info("%s: version %s is loaded: %s", name, version, found)

    async def unload(self, name: str) -> None:
        """Offers the bundle no more; requests that have begun are answered. Refusal as `load`."""
        self._opener(name)
        async with self._change:
            self._end(self._catalogue.put(name, ()))
            log.info("%s is unloaded", name)

    def _opener(self, name: str) -> Opener:
        """What opens that bundle. Refusal 403 where none may be changed, 404 for an unknown one."""
        if not self._openers:
            raise Refusal(
                403, "this server's models stay as they are: see roadshift serve --model-control"
            )
        if name not in self._openers:
            known = ", ".join(map(repr, self._openers))
            raise Refusal(404, f"unknown bundle {name[:80]!r}: this server has {known}")
        return self._openers[name]

    async def _drained(self) -> None:
        """Waits for the requests that began with versions that are offered no more."""
        while self._before:
            await asyncio.sleep(_LOOK_SECONDS)

    def _end(self, models: Sequence[Model]) -> None:
        """Lets go of versions that are offered no more, each with its last request."""
        self._before |= set(models)
        for model in models:
            task = asyncio.create_task(self._let_go(model))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _let_go(self, model: Model) -> None:
        while model.under_way:
            await asyncio.sleep(_LOOK_SECONDS)
        model.metrics.pending = lambda: 0  # the figures stay, without the graph behind them
        self._before.discard(model)


def _opened(opener: Opener, name: str) -> tuple[Sequence[Graph], str]:
    """The graphs, checked on the golden frames, and how well those come out, in words."""
    graphs = opener()
    if name not in [graph.name for graph in graphs]:
        raise UserError(f"the folder holds bundle {graphs[0].bundle.name!r}; wanted {name!r}")
    return graphs, golden_words(graphs)


def golden_words(graphs: Sequence[Graph]) -> str:
    """Whether every graph reproduces the golden frames, in words; Failure when one does not."""
    return "; ".join(graph.golden_text.format(graph.check_golden()) for graph in graphs)
