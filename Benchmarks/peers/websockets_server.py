"""The same work on python-websockets: `websockets_server.py echo`, or `push SIZE`."""

import asyncio
import random
import sys

import websockets
from websockets.asyncio.server import serve

clients = set()


async def echo(socket):
    async for message in socket:
        await socket.send(message)


async def hold(socket):
    clients.add(socket)
    await socket.wait_closed()
    clients.discard(socket)


async def main():
    is_echo = sys.argv[1] == "echo"
    async with serve(echo if is_echo else hold, "127.0.0.1", 0, compression=None, ping_interval=None, origins=None) as server:
        print(f"ready {server.sockets[0].getsockname()[1]} python-websockets {websockets.__version__}", flush=True)
        while True:
            await asyncio.sleep(1)
            for socket in list(clients):
                await socket.send(str(random.random()).ljust(int(sys.argv[2]), "0"))


asyncio.run(main())
