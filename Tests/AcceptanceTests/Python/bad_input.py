"""What bad input gets: the table of the project, row by row."""

import asyncio
import json
import socket
import threading
import time
import urllib.request

import websockets

from harness import KEY, Server


def raw(server, data, wait=3):
    """Sends bytes as they are; returns what comes until the other side closes, or after `wait` seconds."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=wait) as connection:
        connection.sendall(data)
        answer = b""
        try:
            while part := connection.recv(65536):
                answer += part
        except TimeoutError:
            return answer, False
        return answer, True


def problem(server, method, path, body=None, *, status, code, field=None, **more):
    got, headers, data = server.call(method, path, body, **more)
    assert got == status, f"{method} {path} {body}: {got} {data}"
    assert headers["Content-Type"] == "application/problem+json" and data["code"] == code and data["status"] == status, data
    assert data.get("field") == field, data
    return headers, data


def http(server):
    for text, status in [
        (b"GET / HTTP/1.1\r\n\r\n", 400), (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400), (b"\x16\x03\x01\x02\x00\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414), (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 40000 + b"\r\n\r\n", 431),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9999999\r\n\r\n", 413), (b"GET / HTTP/3.0\r\nHost: a\r\n\r\n", 505),
    ]:
        answer, closed = raw(server, text)
        assert answer.startswith(f"HTTP/1.1 {status} ".encode()), (text[:60], answer[:80])
        assert closed, text[:60]
    problem(server, "GET", "/nothing/here", status=404, code="not_found")
    # One spelling of each path: a proxy that keeps strangers from `/metrics` does not know the others.
    for path in ["/metrics/", "//metrics", "/%6detrics", "/metrics%2F", "/./metrics", "/v1//queues", "/v1/queues/", "/v1/%71ueues", "/v1/live/"]:
        status, _, _ = server.call("GET", path)
        assert status in (400, 404), (path, status)
    for path in ["/q/", "/q//", "/v1/queues/", "/v1/keys/"]:
        problem(server, "GET", path, key=None, status=404, code="not_found")
    for path in ["/q/demo", "/q/demo/", "/q/%64emo", "/console", "/console/"]:
        assert server.call("GET", path)[0] == 200, path
    for query in ["user=a%00b", "user=%zz", "user=%ff"]:
        problem(server, "GET", f"/v1/queues/{server.good('GET', '/v1/queues')['items'][0]['id']}/position?{query}", status=400, code="bad_query", field="user")
    problem(server, "GET", "/v1/queues?limit=1&limit=2", status=400, code="bad_query", field="limit")
    # What no route reads is not judged, whatever others hang on a link; but a list that passed over a filter would lie.
    for query in ("utm_campaign=50%off", "probe=1&probe=2", "%zz", "=&&=", "&".join(f"a{number}=1" for number in range(200))):
        for path in ("/q/demo", "/health", "/console", "/ready"):
            assert server.call("GET", f"{path}?{query}", key=None)[0] == 200, (path, query)
    for path, known in (("/v1/sessions", "queue, status, limit, cursor"), ("/v1/queues", "limit, cursor"), ("/v1/keys", "none")):
        for query in ("user=a", "utm_campaign=50%off", "Limit=1"):
            _, said = problem(server, "GET", f"{path}?{query}", status=400, code="invalid_parameter", field=query.split("=")[0])
            assert said["detail"].endswith(f"takes {known}"), said
    problem(server, "GET", "/a" * 17, status=404, code="not_found")
    headers, _ = problem(server, "PUT", "/v1/queues", {}, status=405, code="method_not_allowed")
    assert set(headers["Allow"].split(", ")) == {"GET", "POST", "HEAD", "OPTIONS"}
    problem(server, "POST", "/v1/queues", "a=b", headers={"Content-Type": "text/plain"}, status=415, code="unsupported_media_type")
    status, headers, _ = server.call("HEAD", "/health")
    assert status == 200 and headers["Content-Length"] == "15"
    status, headers, _ = server.call("OPTIONS", "/v1/queues")
    assert status == 204 and "Access-Control-Allow-Origin" not in headers


def bodies(server):
    problem(server, "POST", "/v1/queues", "{", status=400, code="not_json")
    for values in ("[" * 1_200 + "]" * 1_200, "[" + "0," * 1_200 + "0]", "[" + '"\\"",' * 1_200 + "0]"):
        problem(server, "POST", "/v1/queues", f'{{"name":"a","nothing":{values}}}', status=400, code="not_json")
    problem(server, "POST", "/v1/queues", json.dumps({"name": "a", "nothing": ",[{" * 1_200}), status=422, code="invalid_field", field="nothing")
    problem(server, "POST", "/v1/queues", "[]", status=400, code="not_an_object")
    problem(server, "POST", "/v1/queues", {}, status=422, code="missing_field", field="name")
    for field, value in [
        ("name", 5), ("name", ""), ("name", "a" * 300), ("slug", "Not A Slug"), ("slug", "00000000-0000-7000-8000-000000000000"), ("settleSeconds", 601), ("maxConcurrentUsers", 0), ("maxConcurrentUsers", 1.5),
        ("maxConcurrentUsers", "7"), ("releaseRatePerMinute", -1), ("releaseRatePerMinute", True), ("graceSeconds", 1),
        ("opensAt", "tomorrow"), ("redirectURL", "javascript:alert(1)"), ("redirectURL", "https://a@b/"), ("priorityLanes", {}), ("colour", "red"),
    ]:
        problem(server, "POST", "/v1/queues", {"name": "x", field: value}, status=422, code="invalid_field", field=field)
    problem(server, "POST", "/v1/queues", {"name": "x", "priorityLanes": [{"name": "a", "sharePercent": 0}]}, status=422,
            code="invalid_field", field="priorityLanes[0].sharePercent")
    problem(server, "GET", "/v1/queues?limit=0", status=400, code="invalid_parameter", field="limit")
    server.good("POST", "/v1/queues", {"name": "x", "slug": "taken"})
    problem(server, "POST", "/v1/queues", {"name": "x", "slug": "taken"}, status=409, code="slug_taken", field="slug")
    # Two who set different things at the same time both get what they asked for.
    queue = server.queue()["id"]
    settings = [{"maxConcurrentUsers": 7}, {"graceSeconds": 77}, {"name": "seven"}, {"maxWaiting": 70}, {"redirectURL": "https://a.example/"}]
    threads = [threading.Thread(target=server.good, args=("PATCH", f"/v1/queues/{queue}", body)) for body in settings]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    now = server.good("GET", f"/v1/queues/{queue}")
    assert all(now[name] == value for body in settings for name, value in body.items()), now
    assert server.good("PATCH", f"/v1/queues/{queue}", {"maxWaiting": None, "redirectURL": None})["maxWaiting"] is None
    versions(server)
    times(server)
    # The depth of a body is bounded: this must neither trap nor take long.
    assert server.call("POST", "/v1/queues", '{"name":' + "[" * 20000)[0] == 400


def versions(server):
    """Who changes what somebody else has changed meanwhile is told so."""
    queue = server.queue(maxConcurrentUsers=3)["id"]
    path = f"/v1/queues/{queue}"
    tag = server.call("GET", path)[1]["ETag"]
    assert tag.startswith('"') and tag.endswith('"')
    server.good("POST", f"{path}/join", {})
    server.good("POST", f"{path}/pause")
    assert server.call("GET", path)[1]["ETag"] == tag, "an ETag of the settings changes with them alone"
    status, headers, _ = server.call("PATCH", path, {"releaseRatePerMinute": 600}, headers={"If-Match": tag})
    assert status == 200 and headers["ETag"] != tag
    problem(server, "PATCH", path, {"maxConcurrentUsers": 9}, headers={"If-Match": tag}, status=412, code="precondition_failed")
    problem(server, "PATCH", path, {"maxConcurrentUsers": 9}, headers={"If-Match": "W/" + headers["ETag"]}, status=412, code="precondition_failed")
    problem(server, "DELETE", path, headers={"If-Match": tag}, status=412, code="precondition_failed")
    problem(server, "PATCH", path, {}, headers={"If-Match": "abc"}, status=400, code="invalid_if_match")
    problem(server, "PATCH", path, {}, headers={"If-Match": '"a",' * 64 + '"a"'}, status=400, code="invalid_if_match")
    now = server.good("PATCH", path, {"maxConcurrentUsers": 9}, headers={"If-Match": f'"x", {headers["ETag"]}'})
    assert (now["releaseRatePerMinute"], now["maxConcurrentUsers"]) == (600, 9)
    server.good("PATCH", path, {"maxConcurrentUsers": 10}, headers={"If-Match": "*"})
    # A lane's place in the list is decided beside what the others have set by then.
    server.good("PATCH", path, {"priorityLanes": [{"name": "a"}]})
    problem(server, "PATCH", path, {"priorityLanes": [{"name": "b"}]}, status=422, code="invalid_field", field="priorityLanes")
    session = server.good("POST", f"{path}/join", {})["session"]
    server.good("DELETE", path, headers={"If-Match": server.call("GET", path)[1]["ETag"]})
    assert server.good("GET", f"/v1/sessions/{session}")["status"] == "expired"


def times(server):
    path = f"/v1/queues/{server.queue(opensAt='2099-01-01T00:00:00Z')['id']}"
    for field, value in [
        ("closesAt", "2098-12-31T23:59:59Z"), ("closesAt", "2099-01-01T00:00:00Z"), ("closesAt", "2001-01-01T00:00:00Z"),
        ("opensAt", "2030-02-30T12:00:00Z"), ("opensAt", "2030-01-01T24:00:00Z"), ("opensAt", "2030-01-01T12:00:60Z"),
    ]:
        problem(server, "PATCH", path, {field: value}, status=422, code="invalid_field", field=field)
        problem(server, "POST", "/v1/queues", {"name": "x", "opensAt": "2099-01-01T00:00:00Z", field: value}, status=422, code="invalid_field", field=field)
    server.good("PATCH", path, {"closesAt": "2099-01-02T00:00:00+01:00"})
    problem(server, "PATCH", path, {"opensAt": "2099-01-02T00:00:00Z"}, status=422, code="invalid_field", field="closesAt")
    now = server.good("PATCH", path, {"closesAt": None})
    assert now["status"] == "scheduled" and now["closesAt"] is None, now
    assert server.good("PATCH", path, {"opensAt": None})["status"] == "open"
    problem(server, "POST", f"{path}/announcements", {"text": "x", "expiresAt": "2001-01-01T00:00:00Z"}, status=422, code="invalid_field",
            field="expiresAt")


def cursors(server, queue):
    """A cursor that no page gave is no beginning of the list, and one that a page gave goes on where that ended."""
    for path in ("/v1/queues?", "/v1/sessions?", f"/v1/sessions?queue={queue}&", f"/v1/queues/{queue}/announcements?", "/v1/keys?"):
        for cursor in ("", "1", "nonsense", "01a20ee4-4170-7fdd-9aa9-da5bb2f7a91", queue + "x", "-1"):
            problem(server, "GET", f"{path}cursor={cursor}", status=400, code="invalid_parameter", field="cursor")
    for parameter, value in (("after", "x"), ("after", "-1"), ("epoch", "xyz"), ("consumer", "")):
        problem(server, "GET", f"/v1/events?queue={queue}&{parameter}={value}", status=400, code="invalid_parameter", field=parameter)
    for _ in range(3):
        server.good("POST", f"/v1/queues/{queue}/join", {})
    for path, whole in (("/v1/queues?", len(server.good("GET", "/v1/queues?limit=200")["items"])), (f"/v1/sessions?queue={queue}&", 3)):
        seen, cursor = [], None
        while not seen or cursor:
            page = server.good("GET", f"{path}limit=1" + (f"&cursor={cursor}" if cursor else ""))
            seen, cursor = seen + [item["id"] for item in page["items"]], page["cursor"]
        assert len(seen) == len(set(seen)) == whole, (path, seen)


def keys(server):
    for key in (None, "sk_wrong"):
        headers, data = problem(server, "GET", "/v1/queues", key=key, status=401, code="unauthorized")
        assert headers["WWW-Authenticate"] == "Bearer"
    problem(server, "GET", "/v1/queues/00000000-0000-7000-8000-000000000000", status=404, code="no_such_queue")
    problem(server, "GET", "/v1/queues/xyz", status=404, code="no_such_queue")
    queue = server.queue()["id"]
    cursors(server, queue)
    problem(server, "GET", f"/v1/queues/{queue}/position", key="st1.AAAA", status=401, code="unauthorized")
    problem(server, "GET", f"/v1/queues/{queue}/position?session=xyz", status=404, code="no_such_session")
    integrator = server.good("POST", "/v1/keys", {"role": "integrator"})
    problem(server, "POST", "/v1/queues", {"name": "x"}, key=integrator["key"], status=403, code="forbidden")
    server.good("DELETE", f"/v1/keys/{integrator['id']}")
    problem(server, "GET", "/v1/queues", key=integrator["key"], status=401, code="unauthorized")


def joins(server):
    queue = server.queue(maxWaiting=1)["id"]
    first = server.good("POST", f"/v1/queues/{queue}/join", {"user": "ann"})
    again = server.good("POST", f"/v1/queues/{queue}/join", {"user": "ann"})
    assert first["session"] == again["session"], "one place a person"
    headers, _ = problem(server, "POST", f"/v1/queues/{queue}/join", {"user": "bob"}, status=409, code="queue_full")
    assert int(headers["Retry-After"]) > 0
    headers, _ = problem(server, "POST", f"/v1/queues/{queue}/join", {"user": "ann"}, key=None, status=409, code="queue_full")
    problem(server, "POST", f"/v1/queues/{queue}/join", {"lane": "fast"}, key=None, status=422, code="invalid_field", field="lane")
    server.good("POST", f"/v1/queues/{queue}/close")
    headers, _ = problem(server, "POST", f"/v1/queues/{queue}/join", {}, key=None, status=409, code="queue_closed")
    assert int(headers["Retry-After"]) > 0
    problem(server, "POST", f"/v1/queues/{queue}/pause", status=409, code="wrong_status")

    # A stranger who names somebody gets a place of their own.
    queue = server.queue()["id"]
    mine = server.good("POST", f"/v1/queues/{queue}/join", {"user": "ann"})
    theirs = server.good("POST", f"/v1/queues/{queue}/join", {"user": "ann"}, key=None)
    assert mine["session"] != theirs["session"]
    assert server.call("GET", f"/v1/queues/{queue}/position?user=ann", key=theirs["token"])[2]["session"] == theirs["session"]

    once = {"Idempotency-Key": "k1"}
    a = server.good("POST", f"/v1/queues/{queue}/join", {"displayName": "A"}, headers=once)
    b = server.good("POST", f"/v1/queues/{queue}/join", {"displayName": "A"}, headers=once)
    assert a["session"] == b["session"]
    problem(server, "POST", f"/v1/queues/{queue}/join", {"displayName": "B"}, headers=once, status=409, code="idempotency_key_reused")
    problem(server, "POST", f"/v1/queues/{queue}/join", {}, key=None, headers=once, status=400, code="idempotency_needs_key")
    made = [server.good("POST", "/v1/queues", {"name": "once"}, headers={"Idempotency-Key": "k2"})["id"] for _ in range(2)]
    assert made[0] == made[1]
    said = [server.good("POST", f"/v1/queues/{queue}/announcements", {"text": "hi"}, headers={"Idempotency-Key": "k3"})["id"] for _ in range(2)]
    assert said[0] == said[1]
    marks = [server.good("POST", "/v1/system/marks", {"text": "once"}, headers={"Idempotency-Key": "k4"}) for _ in range(2)]
    assert marks[0] == marks[1]
    asked = {"role": "integrator", "label": "once"}
    made = [server.good("POST", "/v1/keys", asked, headers={"Idempotency-Key": "k5"}) for _ in range(2)]
    assert made[0] == made[1] and made[0]["key"] != server.good("POST", "/v1/keys", asked, headers={"Idempotency-Key": "k6"})["key"]
    server.good("GET", "/v1/queues", key=made[0]["key"])
    # To another admin it is another request, so that nobody is told a key of somebody else's.
    admin = server.good("POST", "/v1/keys", {"role": "admin"})["key"]
    problem(server, "POST", "/v1/keys", asked, key=admin, headers={"Idempotency-Key": "k5"}, status=409, code="idempotency_key_reused")
    for path, body in (("/v1/system/marks", {"text": "once"}), ("/v1/keys", {"role": "admin"})):
        problem(server, "POST", path, body, headers={"Idempotency-Key": "k5"}, status=409, code="idempotency_key_reused")
    # What it made is gone, and is not made anew for a request that may be years old.
    server.good("DELETE", f"/v1/keys/{made[0]['id']}")
    problem(server, "POST", "/v1/keys", asked, headers={"Idempotency-Key": "k5"}, status=409, code="idempotency_key_used")

    # An admission is not completed before it was given.
    problem(server, "POST", f"/v1/sessions/{a['session']}/complete", status=409, code="not_admitted")
    assert server.good("DELETE", f"/v1/sessions/{a['session']}")["reason"] == "expired"
    problem(server, "POST", f"/v1/sessions/{a['session']}/complete", status=409, code="session_ended")

    problem(server, "GET", f"/v1/events?queue={queue}&after=999999", status=409, code="log_restarted")
    _, data = problem(server, "GET", f"/v1/events?queue={queue}&after=1&epoch=abc", status=409, code="log_restarted")
    assert data["after"] == 0 and int(data["epoch"], 16)
    problem(server, "GET", f"/v1/events?queue={queue}&after=-1", status=400, code="invalid_parameter", field="after")
    problem(server, "GET", "/v1/events", status=400, code="missing_parameter", field="queue")


def upgrades(server):
    upgrade = b"Host: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    for head, status in [
        (b"GET /v1/live HTTP/1.1\r\nHost: a\r\n\r\n", 426), (b"GET /v1/live HTTP/1.1\r\n" + upgrade + b"Sec-WebSocket-Version: 8\r\n\r\n", 426),
        (b"POST /v1/live HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", 405),
        (b"POST /v1/live HTTP/1.1\r\n" + upgrade + b"Sec-WebSocket-Version: 13\r\nContent-Length: 0\r\n\r\n", 405),
        (b"GET /v1/live HTTP/1.1\r\n" + upgrade + b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: other\r\n\r\n", 400),
        (b"GET /v1/live HTTP/1.1\r\n" + upgrade + b"Sec-WebSocket-Version: 13\r\nOrigin: http://evil.example\r\n\r\n", 403),
        (b"GET /v1/live HTTP/1.1\r\n" + upgrade + b"Sec-WebSocket-Version: 13\r\nOrigin: null\r\n\r\n", 403),
    ]:
        answer, _ = raw(server, head, wait=1)
        assert answer.startswith(f"HTTP/1.1 {status} ".encode()), (head, answer[:80])
        if status == 426:
            assert b"Sec-WebSocket-Version: 13\r\n" in answer, answer


async def live(server):
    async def ends(first, code, error=None, text=True):
        async with websockets.connect(server.live, subprotocols=["stanchion.v1"]) as socket:
            for message in first:
                await socket.send(message)
            frames = []
            try:
                async with asyncio.timeout(60):
                    while True:
                        frames.append(json.loads(await socket.recv()))
            except websockets.ConnectionClosed as closed:
                assert closed.rcvd and closed.rcvd.code == code, (first, closed, frames)
            if error:
                assert frames[-1]["type"] == "error" and frames[-1]["code"] == error, frames
            return frames

    queue = server.queue()["id"]
    began = time.monotonic()
    await ends([], 4001)
    assert time.monotonic() - began > 4  # Limits are kept to the second: of five the first may be nearly over.
    join = json.dumps({"type": "join", "queue": queue})
    await ends(["not json"], 4503, "not_json")
    await ends(["[]"], 4503, "not_an_object")
    await ends([b"\x00"], 4503, "not_text")
    await ends([json.dumps({"type": "dance"})], 4503, "invalid_field")
    await ends([json.dumps({"type": "join"})], 4503, "missing_field")
    await ends([json.dumps({"type": "join", "queue": queue, "lane": "x"})], 4503, "invalid_field")
    await ends([json.dumps({"type": "leave"})], 4503, "no_session")
    await ends([join, join], 4503, "already_entered")
    await ends([json.dumps({"type": "join", "queue": "nowhere"})], 4502, "no_such_queue")
    for token in ("nonsense", "st1.", "st1." + "A" * 112):
        assert await ends([json.dumps({"type": "resume", "token": token})], 4501) == []
    place = server.good("POST", f"/v1/queues/{queue}/join", {}, key=None)
    forged = place["token"][:-4] + ("AAAA" if place["token"][-4:] != "AAAA" else "BBBB")
    assert await ends([json.dumps({"type": "resume", "token": forged})], 4501) == []
    await ends(["x" * 5000], 1009)
    await ends([json.dumps({"type": "ping"})] * 60, 4008, "rate_limited")
    server.good("POST", f"/v1/queues/{queue}/leave", {}, key=place["token"])
    frames = await ends([json.dumps({"type": "resume", "token": place["token"]})], 4500)
    assert frames[-1] == {"type": "ended", "reason": "left"}, frames

    # So does one that is full.
    full = server.queue(maxWaiting=0)["id"]
    async with websockets.connect(server.live) as socket:
        await socket.send(json.dumps({"type": "join", "queue": full}))
        error = json.loads(await socket.recv())
        assert error["code"] == "queue_full" and error["retryAfterSeconds"] > 0, error

    # A queue that is closed says so and when to try again; the connection may stay for that.
    server.good("POST", f"/v1/queues/{queue}/close")
    async with websockets.connect(server.live) as socket:
        await socket.send(join)
        error = json.loads(await socket.recv())
        assert error["code"] == "queue_closed" and error["retryAfterSeconds"] > 0, error
        server.good("POST", f"/v1/queues/{queue}/open")
        await socket.send(join)
        assert json.loads(await socket.recv())["type"] == "joined"

    # A reader of events over a WebSocket whose place is none is told in a frame: a browser cannot see a status.
    for place in ("after=99999", "after=1&epoch=abc"):
        address = f"ws://127.0.0.1:{server.port}/v1/events?queue={queue}&{place}"
        async with websockets.connect(address, additional_headers={"Authorization": f"Bearer {KEY}"}) as socket:
            error = json.loads(await socket.recv())
            assert error["type"] == "error" and error["code"] == "log_restarted" and error["after"] == 0 and error["head"] > 0, error
            try:
                await socket.recv()
                raise AssertionError("more than an error")
            except websockets.ConnectionClosed as closed:
                assert closed.rcvd.code == 4503, closed


with Server() as server:
    http(server)
    bodies(server)
    keys(server)
    joins(server)
    upgrades(server)
    asyncio.run(live(server))
    assert server.call("GET", "/ready")[2]["status"] == "ok"
    assert server.stop() == 0

# Slow requests: a head that never ends, and one of which a byte comes every second. Both end after 15 s, together.
def trickle(server, outcome):
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", server.port), timeout=1) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nX: ")
        while time.monotonic() - began < 25:
            try:
                if answer := connection.recv(65536):
                    outcome.append((answer, time.monotonic() - began))
                    return
            except TimeoutError:
                connection.sendall(b"x")


with Server("--allow-origin", "https://shop.example") as server:
    outcome = []
    slow = threading.Thread(target=trickle, args=(server, outcome))
    slow.start()
    began = time.monotonic()
    answer, closed = raw(server, b"GET / HTTP/1.1\r\nHost:", wait=25)
    assert answer.startswith(b"HTTP/1.1 408 ") and closed and time.monotonic() - began > 13, (answer, time.monotonic() - began)
    slow.join()
    assert outcome and outcome[0][0].startswith(b"HTTP/1.1 408 ") and outcome[0][1] < 20, outcome
    # CORS: the listed origin and no other.
    for origin, allowed in (("https://shop.example", "https://shop.example"), ("https://evil.example", None)):
        status, headers, _ = server.call("OPTIONS", "/v1/queues", key=None, headers={"Origin": origin, "Access-Control-Request-Method": "POST"})
        assert status == 204 and headers["Access-Control-Allow-Origin"] == allowed and headers["Vary"] == "Origin", dict(headers)
    # What passes through is what came, what the server writes it reads, and lines end alike.
    queue = server.queue(slug="values")["id"]
    for text in ('{"id":1546130668394913822,"n":1234567890123456,"f":1.10,"\u00e9":1,"e\u0301":2}', "{}"):
        made = server.call("POST", "/v1/queues/values/join", b'{"user":null,"displayName":null,"lane":null,"metadata":%s}' % text.encode())[2]
        with urllib.request.urlopen(urllib.request.Request(f"{server.url}/v1/sessions/{made['session']}", headers={"Authorization": f"Bearer {KEY}"})) as answer:
            assert f'"metadata":{text}'.encode() in answer.read(), text
    server.good("POST", "/v1/queues/values/join", {"metadata": None}, key=None)
    said = server.good("POST", "/v1/queues/values/announcements", {"text": "a\r\nb\rc\n\td", "severity": None, "expiresAt": None})
    assert said["text"] == "a\nb\nc\n\td" and said["expiresAt"] is None, said
    problem(server, "POST", f"/v1/queues/{queue}/announcements", {"text": None}, status=422, code="missing_field", field="text")
    whole = server.good("GET", "/v1/queues/values")
    settings = {name: whole[name] for name in ("name", "slug", "maxConcurrentUsers", "maxWaiting", "opensAt", "closesAt", "priorityLanes", "redirectURL")}
    assert server.good("PATCH", "/v1/queues/values", {**settings, "graceSeconds": None})["graceSeconds"] == whole["graceSeconds"]
    # A page of a listed origin can read why it was refused, however early that was.
    for text, status in (
        ("POST /v1/queues/demo/join HTTP/1.1\r\nHost: a\r\n%sContent-Length: 9999999\r\n\r\n", 413),
        ("POST /v1/queues/demo/join HTTP/1.1\r\nHost: a\r\n%sTransfer-Encoding: chunked\r\n\r\nx\r\n", 400),
        ("GET /v1/%%zz HTTP/1.1\r\nHost: a\r\n%s\r\n", 400), ("GET /nothing HTTP/1.1\r\nHost: a\r\n%s\r\n", 404),
        ("GET /v1/live HTTP/1.1\r\nHost: a\r\n%s\r\n", 426), ("GET /assets/queue-client.js HTTP/1.1\r\nHost: a\r\n%sConnection: close\r\n\r\n", 200),
    ):
        for origin, allowed in (("https://shop.example", True), ("https://evil.example", False)):
            answer, _ = raw(server, (text % f"Origin: {origin}\r\n").encode(), wait=5)
            head = answer.split(b"\r\n\r\n")[0].lower()
            expected = 403 if status == 426 and not allowed else status
            assert head.startswith(f"http/1.1 {expected} ".encode()), (text, head)
            assert (b"\r\naccess-control-allow-origin: https://shop.example" in head) == allowed and b"\r\nvary: origin" in head, (text, head)
    status, headers, _ = server.call("GET", "/.well-known/jwks.json", key=None, headers={"Origin": "https://any.example"})
    assert status == 200 and headers["Access-Control-Allow-Origin"] == "*", dict(headers)
