"""What /metrics says, read by Prometheus' own tool: names, units, help texts, and that strangers cannot make series."""

import json
import re
import socket
import subprocess

from websockets.sync.client import connect

from harness import Server, wait_for


def series(text):
    return {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line and line[0] != "#"}


with Server() as server:
    def scrape():
        return server.call("GET", "/metrics")[2].decode()

    queue = server.queue(slug="test")["id"]
    for number in range(3):
        server.good("POST", f"/v1/queues/{queue}/join", {"user": str(number)})
    for path in ["/v1/queues/nonsense", f"/v1/queues/{queue[:-1]}0/nowhere", "/q/made-up", "/q/made-up-too", "/what?ever"]:
        server.call("GET", path)
    server.call("POST", f"/v1/queues/{queue}/join", b"{")
    server.call("GET", "/v1/live")

    text = scrape()
    lint = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True)
    assert lint.returncode == 0 and not lint.stderr, lint.stderr
    families = re.findall(r"^# TYPE (\S+)", text, re.M)
    assert families == re.findall(r"^# HELP (\S+) .", text, re.M), "some have no help"

    seen = series(text)
    requests = "stanchion_http_requests_total"
    assert seen[f'{requests}{{route="/v1/queues/{{id}}/join",method="POST",class="2xx"}}'] == 3
    assert seen[f'{requests}{{route="/v1/queues/{{id}}/join",method="POST",class="4xx"}}'] == 1
    assert seen[f'{requests}{{route="/v1/queues/{{id}}",method="GET",class="4xx"}}'] == 1
    assert seen[f'{requests}{{route="none",method="any",class="4xx"}}'] >= 2
    assert seen['stanchion_http_request_duration_seconds_count{route="/v1/queues/{id}/join",method="POST"}'] == 4
    assert seen.get('stanchion_http_problems_total{code="not_json"}') == 1, [one for one in seen if "problems" in one]
    assert seen['stanchion_store_appends_total{outcome="committed"}'] >= 4
    assert seen['stanchion_store_operation_duration_seconds_count{operation="append"}'] >= 4
    assert seen["process_resident_memory_bytes"] > 1e6 and seen["process_cpu_seconds_total"] > 0

    assert seen["stanchion_store_down"] == 0 and seen["stanchion_bus_down"] == 0 and seen["stanchion_processors"] >= 1
    assert 0 < seen["stanchion_memory_used_bytes"] < seen["stanchion_memory_limit_bytes"]

    # Whatever strangers ask for, there is not one series more.
    for number in range(50):
        server.call("GET", f"/{number}")
        server.call("GET", f"/v1/queues/{number}")
        server.call("GET", f"/q/{number}")
    assert series(scrape()).keys() == seen.keys()
    assert "made-up" not in text and "nonsense" not in text

    # Figures of single queues are for those who may see the queues.
    status, _, anybody = server.call("GET", "/metrics", key=None)
    assert status == 200 and b"stanchion_connections_open" in anybody and b"stanchion_queue_" not in anybody
    assert server.call("GET", "/metrics", key="wrong" * 8)[0] == 401
    integrator = server.good("POST", "/v1/keys", {"role": "integrator"})["key"]
    assert b"stanchion_queue_waiting" in server.call("GET", "/metrics", key=integrator)[2]

    # Each queue has its own figures.
    assert seen['stanchion_queue_waiting{queue="test"}'] == 3 and seen['stanchion_queue_joins_total{queue="test"}'] == 3
    assert seen['stanchion_queue_events_total{queue="test"}'] >= 4
    assert seen['stanchion_loop_busy_seconds_total{loop="0"}'] > 0
    counted = [value for name, value in seen.items() if name.startswith("stanchion_network_received_bytes_total")]
    assert 1_000 < sum(counted) < 100_000, counted

# What happens to people: one is told of the admission and leaves, one does not come, one breaks the protocol.
with Server() as server:
    queue = server.queue(slug="fast", releaseRatePerMinute=6_000, admissionTTLSeconds=10)["id"]

    def count(name):
        return server.metric(f"stanchion_{name}")

    with connect(server.live, subprotocols=["stanchion.v1"]) as visitor:
        visitor.send(json.dumps({"type": "join", "queue": "fast"}))
        while json.loads(visitor.recv(10))["type"] != "admitted":
            pass
    wait_for(lambda: count('websocket_closes_total{code="1000"}') == 1, what="the client's close")
    assert count("admission_delay_seconds_count") == 1 and count("visitor_wait_seconds_count") == 1
    assert 0 <= count("visitor_wait_seconds_sum") < 10 and count("admission_delay_seconds_sum") < 10
    with connect(server.live, subprotocols=["stanchion.v1"]) as visitor:
        visitor.send("nonsense")
        assert json.loads(visitor.recv(10))["type"] == "error"
    wait_for(lambda: count('websocket_closes_total{code="4503"}') == 1, what="the server's close")
    visitor = socket.create_connection(("127.0.0.1", server.port))
    visitor.sendall(b"GET /v1/live HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n")
    assert visitor.recv(1_000).startswith(b"HTTP/1.1 101")
    visitor.close()
    wait_for(lambda: count('websocket_closes_total{code="1006"}') == 1, what="an end without a close frame")
    ends = {name: value for name, value in series(server.call("GET", "/metrics")[2].decode()).items() if "closes_total" in name}
    assert sum(ends.values()) == 3, ends
    session = server.good("POST", f"/v1/queues/{queue}/join", {"user": "one"})["session"]
    wait_for(lambda: count("release_lag_seconds_count") >= 1 or count('events_total{type="admitted"}') == 2, what="a second admission")
    server.good("POST", f"/v1/sessions/{session}/complete")
    wait_for(lambda: count('events_total{type="no_show"}') == 1, what="the first one's time to come")
    assert count('events_total{type="completed"}') == 1 and count('events_total{type="joined"}') == 2
    assert server.call("POST", f"/v1/sessions/{session}/complete")[0] == 200
    assert server.call("POST", "/v1/queues/demo/join", {"lane": "none"}) and count('commands_total{outcome="failed"}') == 0

# As many of them as a setting allows, and the others together; a queue that is gone has none.
with Server("--metrics-queues", "3") as server:
    queues = [server.queue(slug=f"q{number}")["id"] for number in range(5)]
    for number, queue in enumerate(queues):
        for user in range(number + 1):
            server.good("POST", f"/v1/queues/{queue}/join", {"user": str(user)})

    def waiting():
        return {name: value for name, value in series(server.call("GET", "/metrics")[2].decode()).items() if "queue_waiting" in name and "demo" not in name}

    prefix = "stanchion_queue_waiting"
    assert waiting() == {f'{prefix}{{queue="q0"}}': 1, f'{prefix}{{queue="q1"}}': 2, f'{prefix}{{queue=".others"}}': 12}, waiting()
    server.good("DELETE", f"/v1/queues/{queues[0]}")
    assert waiting() == {f'{prefix}{{queue="q1"}}': 2, f'{prefix}{{queue="q2"}}': 3, f'{prefix}{{queue=".others"}}': 9}, waiting()
