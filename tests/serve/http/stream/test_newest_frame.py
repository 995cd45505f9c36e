"""The newest frame wins."""

import asyncio

from serve.http.stream.newest_frame import NewestFrame


def test_a_newer_frame_replaces_one_that_was_not_taken():
    async def run():
        lost = []
        slot = NewestFrame(lambda: lost.append(1))
        for content in (b"a", b"b", b"c"):
            slot.put(content)
        frame = await slot.take()
        assert (frame.number, frame.content, slot.dropped, len(lost)) == (3, b"c", 2, 2)
        waiting = asyncio.ensure_future(slot.take())
        await asyncio.sleep(0)
        assert not waiting.done()
        slot.put(b"d")
        assert (await waiting).number == 4
        assert slot.dropped == 2

    asyncio.run(run())


def test_the_end_drops_what_was_not_taken():
    async def run():
        lost = []
        slot = NewestFrame(lambda: lost.append(1))
        waiting = asyncio.ensure_future(slot.take())
        await asyncio.sleep(0)
        slot.end()
        assert await waiting is None
        slot.put(b"a")
        slot.end()
        assert await slot.take() is None
        assert (slot.dropped, len(lost)) == (1, 1)

    asyncio.run(run())
