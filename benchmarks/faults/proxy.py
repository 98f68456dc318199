"""A TCP proxy whose cable can be cut: between the processes under test and Postgres or RabbitMQ."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Self

_CHUNK_BYTES = 1 << 16

Open = Callable[[], Coroutine[Any, Any, tuple[asyncio.StreamReader, asyncio.StreamWriter]]]


class Proxy:
    """Forwards every connection to `port` on 127.0.0.1, until it is told to break or to hold them.

    It runs on a thread of its own, as a context manager. `address` is a path of a Unix socket, or host and port;
    a server behind it that is down looks to the client like a connection that is closed at once.
    """

    def __init__(self, address: str | tuple[str, int]) -> None:
        self.port = 0
        self._address = address
        self._loop = asyncio.new_event_loop()
        self._flowing = asyncio.Event()
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._wait_for(self._listen())
        return self

    def __exit__(self, *_: object) -> None:
        self._wait_for(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def cut(self) -> int:
        """Resets all connections (RST, as a router that restarts does); returns how many. New ones may come."""
        return int(self._wait_for(self._cut()))

    def hold(self) -> None:
        """Lets no byte through in either direction and closes nothing, until `release`."""
        self._loop.call_soon_threadsafe(self._flowing.clear)

    def release(self) -> None:
        """What was held goes on where it stopped."""
        self._loop.call_soon_threadsafe(self._flowing.set)

    def _wait_for(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=10)

    async def _listen(self) -> None:
        self._flowing.set()
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        assert self._server is not None
        self._server.close()
        self._flowing.set()
        await self._cut()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _cut(self) -> int:
        count = len(self._writers) // 2
        for writer in self._writers:
            writer.transport.abort()
        return count

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if isinstance(self._address, str):
                back = await asyncio.open_unix_connection(self._address)
            else:
                back = await asyncio.open_connection(*self._address)
        except OSError:
            writer.transport.abort()
            return
        both = {writer, back[1]}
        self._writers |= both
        try:
            await asyncio.gather(self._pump(reader, back[1]), self._pump(back[0], writer))
        finally:
            for end in both:
                end.transport.abort()
            self._writers -= both

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(_CHUNK_BYTES):
                await self._flowing.wait()
                writer.write(data)
                await writer.drain()
        except OSError:
            pass  # cut, or the server died: the other direction ends with this one
        writer.close()
