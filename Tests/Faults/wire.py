"""`wire.py PORT TARGET`: passes TCP connections on to another port of this machine."""

import asyncio
import sys


async def pump(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()


async def serve(reader, writer):
    try:
        there, back = await asyncio.open_connection("127.0.0.1", int(sys.argv[2]))
    except OSError:
        writer.transport.abort()
        return
    await asyncio.gather(pump(reader, back), pump(there, writer))


async def main():
    async with await asyncio.start_server(serve, "127.0.0.1", int(sys.argv[1]), backlog=200) as server:
        await server.serve_forever()


asyncio.run(main())
