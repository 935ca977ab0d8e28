"""A wire to another port of this machine, which can be cut without a word, or be long. `wire.py PORT TARGET SECONDS` is what it runs."""

import asyncio
import os
import signal
import socket
import subprocess
import sys

from databases import free_port, wait_for


class Wire:
    """Passes connections on to another port, in a process of its own: frozen, it is a network that says nothing.

    What is carried takes `seconds` in each direction.
    """

    def __init__(self, target, seconds=0.0):
        self.port = free_port()
        self.process = subprocess.Popen([sys.executable, os.path.abspath(__file__), str(self.port), str(target), str(seconds)])
        wait_for(self.answers, what="a wire that begins")

    def answers(self):
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
            return True
        except OSError:
            return False

    def cut(self):
        self.process.send_signal(signal.SIGSTOP)

    def mend(self):
        self.process.send_signal(signal.SIGCONT)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()


async def pump(reader, writer, seconds):
    try:
        while data := await reader.read(65536):
            if seconds:
                await asyncio.sleep(seconds)
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()


async def carry(port, target, seconds):
    async def serve(reader, writer):
        try:
            there, back = await asyncio.open_connection("127.0.0.1", target)
        except OSError:
            writer.transport.abort()
            return
        await asyncio.gather(pump(reader, back, seconds), pump(there, writer, seconds))

    async with await asyncio.start_server(serve, "127.0.0.1", port, backlog=200) as server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(carry(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])))
