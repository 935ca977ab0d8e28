"""The same echo on uWebSockets, whose library comes with socketify; its callbacks go through Python.

What Python adds is in the figure: uWebSockets called from C++, which no registry has, is cheaper.
"""

import importlib.metadata
import socket

from socketify import App

with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
app = App()
app.ws("/*", {"compression": 0, "idle_timeout": 0, "message": lambda client, message, opcode: client.send(message, opcode)})
app.listen({"port": port, "host": "127.0.0.1"},
           lambda config: print(f"ready {port} uWebSockets in socketify {importlib.metadata.version('socketify')}", flush=True))
app.run()
