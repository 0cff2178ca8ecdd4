"""Time from the secret link to the first question of the page in Chromium, on a network with a long round trip.

    python -m benchmarks.annotate_start [--round-trip 300] [--runs 5] [--files]

Between browser and page is a proxy that holds each byte for half a round trip in each direction, and the first bytes of
a connection for a whole one more (its handshake). Each run is a new browser profile. --files lists what was loaded, and
when. Exits with 1 if the median time to the first question exceeds five round trips. Needs Chromium, and the extras
annotate and dev.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.browsers import chromium, clip_campaign
from tests.pages import page_of

LIMIT = 5
"""Round trips."""
LOADED = "() => performance.getEntriesByType('resource').map(e => [e.name, e.startTime, e.responseEnd])"


@contextlib.contextmanager
def delayed(port: int, round_trip: float) -> Iterator[int]:
    """The port of a proxy to a port of this machine, with a round trip of so many seconds."""
    loop = asyncio.new_event_loop()

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, begin: float) -> None:
        """Pass bytes on, each after half a round trip, and none before ``begin``."""
        held: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

        async def deliver() -> None:
            while True:
                at, data = await held.get()
                await asyncio.sleep(at - loop.time())
                if not data:
                    return writer.close()
                writer.write(data)

        task = loop.create_task(deliver())
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                held.put_nowait((max(begin, loop.time() + round_trip / 2), data))
        held.put_nowait((loop.time() + round_trip / 2, b""))
        await task

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner, outer = await asyncio.open_connection("127.0.0.1", port)
        with contextlib.suppress(asyncio.CancelledError):
            begin = loop.time() + 1.5 * round_trip  # after the handshake
            await asyncio.gather(carry(reader, outer, begin), carry(inner, writer, begin))

    async def end() -> None:
        """Close all connections."""
        server.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    server = asyncio.run_coroutine_threadsafe(asyncio.start_server(connected, "127.0.0.1", 0), loop).result()
    yield server.sockets[0].getsockname()[1]
    asyncio.run_coroutine_threadsafe(end(), loop).result()
    loop.call_soon_threadsafe(loop.stop)
    thread.join()


def measure(browser: Any, link: str, *, files: bool) -> tuple[float, float]:
    """Seconds from the link to the first question, and to the first picture of its video."""
    with browser.new_context() as context:
        page = context.new_page()
        begin = time.monotonic()
        page.goto(link, wait_until="commit")
        page.locator("#work:not([hidden]) #question").wait_for()
        question = time.monotonic() - begin
        page.wait_for_function("() => document.querySelector('#video').readyState >= 2")
        picture = time.monotonic() - begin
        if files:
            for name, start, end in page.evaluate(LOADED):
                print(f"  {start:6.0f} to {end:6.0f} ms  {name.rpartition('/')[2]}")
        return question, picture


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--round-trip", type=float, default=300.0, help="milliseconds")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--files", action="store_true")
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as home,
        chromium() as browser,
        page_of(clip_campaign(Path(home) / "c", videos=4, pairs=2)) as here,
        delayed(int(here.url.rpartition(":")[2]), options.round_trip / 1000) as port,
    ):
        link = f"http://127.0.0.1:{port}/a/{here.tokens['ann']}"
        found = [measure(browser, link, files=options.files and not run) for run in range(options.runs)]
    question, picture = (statistics.median(times) for times in zip(*found, strict=True))
    print(
        f"round trip {options.round_trip:.0f} ms, median of {options.runs}: first question after {question:.2f} s, ",
        end="",
    )
    print(f"first picture after {picture:.2f} s")
    sys.exit(question > LIMIT * options.round_trip / 1000)


if __name__ == "__main__":
    main()
