"""Random frames, sound and broken, to `stanchion echo` and to the parser of python-websockets: both must hear the same."""

import codecs
import logging
import re
import socket
import struct
import subprocess
import zlib

from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Opcode
from websockets.protocol import OPEN, SERVER, Protocol

from harness import PROGRAM, clean_environment, rng

TEXT, BINARY, CONTINUATION, CLOSE, PING, PONG = 1, 2, 0, 8, 9, 10
LIMIT = 1 << 16  # Longer than anything here: what is too long has tests of its own.
TEXTS = ["", "a", "position", "κόσμε", "\U0001f600 and \u2028", "x" * 125, "y" * 126, "z" * 4000]
DEFLATE = "permessage-deflate; client_no_context_takeover; server_no_context_takeover"


def frame(first, payload, length_bytes=None):
    mask = rng.randbytes(4)
    if length_bytes is None:
        length_bytes = 0 if len(payload) < 126 else 2 if len(payload) < 65536 else 8
    length = (bytes([0x80 | len(payload)]) if length_bytes == 0
              else bytes([0x80 | (126 if length_bytes == 2 else 127)]) + len(payload).to_bytes(length_bytes, "big"))
    return bytes([first]) + length + mask + bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))


def compressed(data):
    packer = zlib.compressobj(rng.randint(0, 9), wbits=-15)
    packed = packer.compress(data[:len(data) // 2]) + packer.flush(zlib.Z_SYNC_FLUSH) + packer.compress(data[len(data) // 2:])
    return (packed + packer.flush(zlib.Z_SYNC_FLUSH))[:-4]


def message(deflates):
    """A sound message in fragments, with control frames in between."""
    is_text = rng.random() < 0.6
    data = rng.choice(TEXTS).encode() if is_text else rng.randbytes(rng.choice([0, 1, 125, 126, 1000, 5000]))
    packs = deflates and rng.random() < 0.5
    # Surrogates are left out: Python waits for their third byte. In a compressed text it is noticed when the text is whole, and by theirs with each fragment.
    if is_text and not packs and rng.random() < 0.08:
        data += rng.choice([b"\xff", b"\xc0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82"])
    flags = TEXT if is_text else BINARY
    if packs:
        data, flags = compressed(data), flags | 0x40
    cuts = sorted(rng.randint(0, len(data)) for _ in range(rng.choice([0, 0, 1, 2, 5])))
    pieces = [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)])]
    bytes_ = b""
    for index, piece in enumerate(pieces):
        first = (flags if index == 0 else CONTINUATION) | (0x80 if index == len(pieces) - 1 else 0)
        bytes_ += frame(first, piece)
        if rng.random() < 0.2:
            bytes_ += frame(0x80 | rng.choice([PING, PONG]), rng.randbytes(rng.randint(0, 125)))
    return bytes_


def broken():
    return rng.choice([
        lambda: frame(rng.choice([0x83, 0x87, 0x8B, 0x8F]), b""),  # An opcode that nobody gave a meaning.
        lambda: frame(0x80 | rng.choice([0x10, 0x20, 0x70]) | TEXT, b"a"),  # Reserved bits.
        lambda: frame(0x80 | 0x40 | PING, b""),
        lambda: frame(0x80, b"a"),  # Continues nothing, or ends what is begun.
        lambda: frame(TEXT, b"a") + frame(0x80 | TEXT, b"b"),
        lambda: frame(PING, b""),  # A control frame in fragments.
        lambda: frame(0x80 | PING, rng.randbytes(126)),
        lambda: bytes([0x80 | TEXT, 1]) + b"a",  # No mask.
        lambda: frame(0x80 | CLOSE, b"\x03"),
        lambda: frame(0x80 | CLOSE, struct.pack(">H", rng.choice([0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535]))),
        lambda: frame(0x80 | CLOSE, b"\x03\xe8\xff"),
    ])()


def expected(sent, deflates):
    """What python-websockets hears in it, as an echo server would answer: messages, pongs, and at last the code."""
    logger = logging.getLogger("second")
    logger.disabled = True
    peer = Protocol(SERVER, state=OPEN, max_size=LIMIT, logger=logger)
    if deflates:
        peer.extensions = [PerMessageDeflate(True, True, 15, 15)]
    answers, opcode, data, text, inside = [], None, b"", None, False
    # Frame by frame as it grows, so that what was heard before an error is known.
    peer.receive_data(sent)
    for event in peer.events_received():
        if event.opcode is Opcode.PING:
            answers.append((PONG, bytes(event.data)))
        elif event.opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
            if event.opcode is not Opcode.CONT:
                opcode, data, text = int(event.opcode), b"", codecs.getincrementaldecoder("utf-8")()
            data += event.data
            try:
                if opcode == TEXT:
                    text.decode(event.data, event.fin)
            except UnicodeDecodeError:
                return answers, 1007
            inside = not event.fin
            if event.fin:
                answers.append((opcode, data))
    if peer.close_rcvd is not None and inside:
        return answers, None  # A close inside a message: they call it an error, RFC 6455 does not.
    return answers, peer.close_sent.code if peer.close_sent else None


def heard(data):
    """The frames of a server, which masks nothing."""
    answers = []
    while data:
        assert len(data) >= 2, data
        length, start = data[1], 2
        assert length < 127, "a mask, or a longer message than anything that was sent"
        if length == 126:
            length, start = struct.unpack(">H", data[2:4])[0], 4
        assert len(data) >= start + length, "half a frame"
        payload = data[start:start + length]
        if data[0] & 0x40:
            payload = zlib.decompressobj(wbits=-15).decompress(payload + b"\0\0\xff\xff")
        if data[0] & 0x0F == CLOSE:
            assert len(data) == start + length, "something behind the close"
            return answers, struct.unpack(">H", payload[:2])[0] if payload else 1005
        answers.append((data[0] & 0x0F, payload))
        data = data[start + length:]
    return answers, None


def ask(port, sent, deflates):
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(("GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                            + (f"Sec-WebSocket-Extensions: {DEFLATE}\r\n" if deflates else "") + "\r\n").encode())
        data = b""
        while b"\r\n\r\n" not in data:
            data += connection.recv(4096)
        head, data = data.split(b"\r\n\r\n", 1)
        assert deflates == (b"permessage-deflate" in head), head
        cuts = sorted(rng.randint(0, len(sent)) for _ in range(rng.randint(0, 4)))
        try:
            for start, end in zip([0, *cuts], [*cuts, len(sent)]):
                connection.sendall(sent[start:end])
            while part := connection.recv(65536):
                data += part
        except ConnectionError:
            pass  # It had heard enough.
        return heard(data)


def shown(answers):
    return [(opcode, len(data), data[:20]) for opcode, data in answers[0]], answers[1]


server = subprocess.Popen([PROGRAM, "echo", "--listen", "127.0.0.1:0"], stderr=subprocess.PIPE, text=True, env=clean_environment())
port = int(re.search(r":(\d+)/", server.stderr.readline())[1])
errors = 0
try:
    for number in range(1_000):
        deflates = rng.random() < 0.4
        sent = b"".join(message(deflates) for _ in range(rng.randint(0, 4)))
        if rng.random() < 0.5:
            sent += broken() + message(deflates)
        last = rng.choice([1000, 1001, 1002, 1003, 1007, 1011, 3000, 4999])
        sent += frame(0x80 | CLOSE, struct.pack(">H", last) + b"done")
        ours, theirs = ask(port, sent, deflates), expected(sent, deflates)
        if ours[0] != theirs[0] or theirs[1] not in (None, ours[1]):
            raise AssertionError(f"case {number}: {sent.hex()}\nours {shown(ours)}\ntheirs {shown(theirs)}")
        errors += ours[1] != last
    assert errors > 200, errors  # Otherwise nothing of what is broken was tried.
finally:
    server.kill()
