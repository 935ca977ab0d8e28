"""The pages in a real browser."""

import datetime
import gzip
import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect, sync_playwright

from harness import KEY, PROJECT, Server, wait_for

PICTURES = sys.argv[1] if len(sys.argv) > 1 else None


def number(page):
    return page.evaluate("document.querySelector('queue-position').position")


def axe(page, name):
    violations = [f"{item['id']}: {item['help']}: {node['html']}" for item in Axe().run(page).response["violations"] for node in item["nodes"]]
    assert not violations, f"{name}: " + "\n".join(violations)


def context(browser, **more):
    made = browser.new_context(viewport={"width": 390, "height": 780}, **more)
    made.set_default_timeout(15_000)
    return made


def open_page(made, url):
    page = made.new_page()
    page.errors = []
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    page.on("console", lambda message: message.type == "error" and "ERR_" not in message.text and "WebSocket" not in message.text and "401" not in message.text and "412" not in message.text and page.errors.append(message.text))
    page.goto(url)
    return page


def visitor(server, browser):
    queue = server.queue(slug="line", name="Tickets", graceSeconds=600, priorityLanes=[{"name": "fast", "sharePercent": 100}])["id"]
    others = [server.good("POST", f"/v1/queues/{queue}/join", {"user": f"u{n}"}) for n in range(5)]
    page = open_page(context(browser), f"{server.url}/q/line")
    expect(page.locator("h1")).to_have_text("Tickets")
    wait_for(lambda: number(page) == 6, what="position 6")
    axe(page, "waiting")

    # It falls as others leave, by itself.
    server.good("POST", f"/v1/queues/{queue}/leave", {"user": "u0"})
    wait_for(lambda: number(page) == 5, what="position 5")
    expect(page.locator("queue-position [part=position]")).to_have_text("5")

    # The place is kept over a reload, over being offline, and when the server is killed.
    page.reload()
    wait_for(lambda: number(page) == 5, what="the same place after a reload")
    page.context.set_offline(True)
    expect(page.locator("#connection")).to_contain_text("offline")
    server.good("POST", f"/v1/queues/{queue}/leave", {"user": "u1"})
    page.context.set_offline(False)
    wait_for(lambda: number(page) == 4, what="the place after being offline")
    page.context.set_offline(True)
    expect(page.locator("#connection")).to_contain_text("offline")
    server.good("POST", f"/v1/queues/{queue}/join", {"user": "vip", "lane": "fast"})
    page.context.set_offline(False)
    wait_for(lambda: number(page) == 5, what="that somebody with priority came meanwhile")
    server.good("POST", f"/v1/queues/{queue}/leave", {"user": "vip"})
    wait_for(lambda: number(page) == 4, what="the place as before")
    server.kill()
    expect(page.locator("#connection")).to_contain_text("place is safe")
    expect(page.locator("#connection")).to_contain_text("the line waits up to 15 seconds for everyone who was in it")
    if PICTURES:
        page.screenshot(path=f"{PICTURES}/lost.png")
    server.start()
    wait_for(lambda: page.locator("#connection").text_content() == "", what="the connection after the kill")
    wait_for(lambda: number(page) == 4, what="the place after the kill")

    # The phone slept, and its socket is dead without knowing it: on waking the page asks, and gives it up.
    server.process.send_signal(signal.SIGSTOP)
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    expect(page.locator("#connection")).to_contain_text("place is safe", timeout=15_000)
    server.process.send_signal(signal.SIGCONT)
    wait_for(lambda: page.locator("#connection").text_content() == "", what="the connection after the sleep")
    # What fell by itself in the silence may be too low, and waits there for the truth; the place is the same.
    assert 1 <= number(page) <= 4
    assert server.good("GET", f"/v1/queues/{queue}")["waiting"] == 4

    server.good("POST", f"/v1/queues/{queue}/announcements", {"text": "<b>Ten minutes</b> break", "severity": "warning"})
    expect(page.locator("#words")).to_have_text("<b>Ten minutes</b> break")
    server.good("POST", f"/v1/queues/{queue}/pause")
    expect(page.locator("#notice")).to_contain_text("paused")
    server.good("POST", f"/v1/queues/{queue}/resume")
    expect(page.locator("#notice")).to_be_hidden()

    # A hidden page gets no positions and still its turn.
    page.locator("#bell").check()
    server.good("PATCH", f"/v1/queues/{queue}", {"releaseRatePerMinute": 6000})
    # The line waits for those in front, whom the kill has disconnected too.
    expect(page.locator("#turn")).to_be_visible(timeout=30_000)
    expect(page).to_have_title("It is your turn!")
    axe(page, "turn")
    page.reload()
    expect(page.locator("#turn")).to_be_visible()
    session = server.good("GET", f"/v1/sessions?queue={queue}&status=admitted")["items"]
    mine = next(item for item in session if item["user"] is None)
    server.good("POST", f"/v1/sessions/{mine['id']}/complete")
    expect(page.locator("#why")).to_contain_text("done")
    axe(page, "over")
    page.locator("#again").click()
    wait_for(lambda: number(page) or page.locator("#turn").is_visible(), what="a new place")
    assert not page.errors, page.errors
    page.context.close()


def two_pages(server, browser):
    """Two pages of one browser, opened at once, have a place each, and what one does with its own is no matter of the other's."""
    queue = server.queue(slug="twice", name="Twice", graceSeconds=600)["id"]
    made = context(browser)
    first, second = open_page(made, f"{server.url}/q/twice"), made.new_page()
    wait_for(lambda: number(first) == 1, what="the first page's place")
    # It came before the first one's answer did.
    first.evaluate("localStorage.clear()")
    second.goto(f"{server.url}/q/twice")
    wait_for(lambda: number(second) == 2, what="the second page's place")
    first.locator("#leave").click()
    expect(first.locator("#why")).to_contain_text("left")
    wait_for(lambda: number(second) == 1, what="the second one moves up")
    second.reload()
    wait_for(lambda: number(second) == 1, what="the same place after a reload")
    waiting = server.good("GET", f"/v1/queues/{queue}")["waiting"]
    assert waiting == 1, waiting

    # Whoever leaves while offline is told so, and has left when there is a connection again.
    made.set_offline(True)
    expect(second.locator("#connection")).to_contain_text("offline")
    second.locator("#leave").click()
    expect(second.locator("#notice")).to_contain_text("as soon as you are online")
    assert server.good("GET", f"/v1/queues/{queue}")["waiting"] == 1
    made.set_offline(False)
    expect(second.locator("#why")).to_contain_text("left")
    assert server.good("GET", f"/v1/queues/{queue}")["waiting"] == 0
    made.close()


def without_storage(server, browser):
    """Where the browser forbids pages to keep anything, the place lasts as long as the page, over lost connections too."""
    server.queue(slug="forgets", name="Forgets", graceSeconds=600)
    made = context(browser)
    made.add_init_script("Object.defineProperty(window, 'localStorage', { get() { throw new DOMException('forbidden', 'SecurityError'); } })")
    page = open_page(made, f"{server.url}/q/forgets")
    wait_for(lambda: number(page) == 1, what="a place")
    expect(page.locator("#notice")).to_contain_text("your place lasts as long as this page is open")
    made.set_offline(True)
    expect(page.locator("#connection")).to_contain_text("offline")
    made.set_offline(False)
    wait_for(lambda: page.locator("#connection").text_content() == "" and number(page) == 1, what="the same place")
    assert server.good("GET", "/v1/queues/forgets")["waiting"] == 1
    page.locator("#leave").click()
    expect(page.locator("#why")).to_contain_text("left")
    assert not page.errors, page.errors
    made.close()


def redirects(server, browser):
    server.queue(slug="gate", redirectURL=f"{server.url}/health", releaseRatePerMinute=6000)
    page = open_page(context(browser), f"{server.url}/q/gate")
    page.wait_for_url("**/health?admission=ey*")
    page.context.close()


def looks(server, browser):
    queue = server.queue(slug="looks", name="A queue with a rather long name for a small phone")["id"]
    server.good("POST", f"/v1/queues/{queue}/announcements", {"text": "Donaudampfschifffahrtsgesellschaft" * 5, "severity": "critical"})
    for scheme in ("light", "dark"):
        made = browser.new_context(viewport={"width": 320, "height": 640}, color_scheme=scheme, reduced_motion="reduce")
        for path in ("/", "/q/looks", "/console"):
            page = open_page(made, server.url + path)
            if path == "/q/looks":
                wait_for(lambda: number(page), what="a position")
            assert page.evaluate("document.documentElement.scrollWidth") <= 320, f"{path} scrolls sideways"
            axe(page, f"{path} {scheme}")
            assert not page.errors, page.errors
        made.close()
    # By keyboard alone: to the button that leaves, and out.
    page = open_page(context(browser), f"{server.url}/q/looks")
    wait_for(lambda: number(page), what="a position")
    expect(page.locator("#leave")).to_be_visible()
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "leave"
    page.keyboard.press("Enter")
    expect(page.locator("#why")).to_contain_text("left")
    page.context.close()


def console(server, browser):
    queue = server.queue(slug="ops", name="Ops", releaseRatePerMinute=60)["id"]
    made = context(browser)
    watcher = open_page(made, f"{server.url}/q/ops")
    page = open_page(made, f"{server.url}/console")
    page.locator("#key").fill("wrong-key")
    page.locator("#sign-in button").click()
    expect(page.locator("#problem")).to_have_text("This key is not valid.")
    # The answer about the queue that is chosen first comes after another one was chosen.
    first, held = server.good("GET", "/v1/queues")["items"][0]["id"], []
    page.route(f"**/v1/queues/{first}", lambda route: held.append(route))
    page.locator("#key").fill(KEY)
    with page.expect_request(f"**/v1/queues/{first}"):
        page.locator("#sign-in button").click()
    page.locator("#queue").select_option(label="Ops (ops)")
    expect(page.locator("#status")).to_have_text("open")
    with page.expect_response(f"**/v1/queues/{first}"):
        held[0].continue_()
    page.unroute(f"**/v1/queues/{first}")
    # Whatever the page makes of it, it has made by the time of a later answer.
    page.evaluate("fetch('/ready').then((answer) => answer.text())")
    expect(page.locator("#link a")).to_have_attribute("href", "/q/ops")
    expect(page.locator("#rate")).to_have_value("60")
    expect(page.locator("#status")).to_have_text("open")
    expect(page.locator("#events")).to_contain_text("configured")
    axe(page, "console")
    page.locator("[data-verb=pause]").click()
    expect(page.locator("#status")).to_have_text("paused")
    expect(watcher.locator("#notice")).to_contain_text("paused")
    page.locator("#rate").fill("7")
    page.locator("#pace button").click()
    expect(page.locator("#done")).to_have_text("Set.")
    assert server.good("GET", f"/v1/queues/{queue}")["releaseRatePerMinute"] == 7
    # Somebody else sets the cap: a stale form says so, and sends only what was changed in it.
    server.good("PATCH", f"/v1/queues/{queue}", {"maxConcurrentUsers": 41})
    page.locator("#rate").fill("9")
    # A second click that comes before the answer must not set it all the same.
    page.locator("#pace button").dblclick()
    expect(page.locator("#problem")).to_contain_text("Somebody has changed this queue meanwhile: 7 releases a minute, 41 inside.")
    expect(page.locator("#cap")).to_have_value("41")
    page.locator("#pace button").click()
    expect(page.locator("#done")).to_have_text("Set.")
    now = server.good("GET", f"/v1/queues/{queue}")
    assert (now["releaseRatePerMinute"], now["maxConcurrentUsers"]) == (9, 41), now
    # What a restart costs the line is a setting, with its bounds.
    expect(page.locator("#settle")).to_have_value("15")
    expect(page.locator("#settle")).to_have_accessible_description(re.compile("ahead of those who were in line before"))
    page.locator("#settle").fill("601")
    page.locator("#pace button").click()
    assert not page.evaluate("document.getElementById('settle').checkValidity()")
    # What is typed, and sent, while an answer is on its way is neither lost nor taken for somebody else's.
    held = []
    page.route(f"**/v1/queues/{queue}", lambda route: route.continue_() if held else held.append((route, route.fetch())))
    page.locator("#settle").fill("600")
    page.locator("#pace button").click()
    wait_for(lambda: page.evaluate("1") and held, what="the answer")
    assert server.good("GET", f"/v1/queues/{queue}")["settleSeconds"] == 600
    page.locator("#settle").fill("0")
    page.locator("#pace button").click()
    held[0][0].fulfill(response=held[0][1])
    # The page is only served while it is asked for something.
    wait_for(lambda: page.evaluate("1") and server.good("GET", f"/v1/queues/{queue}")["settleSeconds"] == 0, what="the setting")
    page.unroute(f"**/v1/queues/{queue}")
    expect(page.locator("#done")).to_have_text("Set.")
    assert not page.locator("#problem").text_content()
    # What was meant for a queue goes to no other one that is chosen before it is sent.
    held.clear()
    page.route(f"**/v1/queues/{queue}",
               lambda route: route.continue_() if held or route.request.method != "PATCH" else held.append(route))
    for seconds in ("7", "8"):
        page.locator("#settle").fill(seconds)
        page.locator("#pace button").click()
    page.locator("#queue").select_option(value=first)
    expect(page.locator("#link a")).not_to_have_attribute("href", "/q/ops")
    held[0].continue_()
    expect(page.locator("#problem")).to_have_text("Another queue was chosen meanwhile. Nothing was set.")
    page.unroute(f"**/v1/queues/{queue}")
    assert [server.good("GET", f"/v1/queues/{one}")["settleSeconds"] for one in (queue, first)] == [7, 15]
    page.locator("#queue").select_option(value=queue)
    expect(page.locator("#status")).to_have_text("paused")
    page.locator("#text").fill("Hello, line")
    page.locator("#speak button").click()
    expect(watcher.locator("#words")).to_contain_text("Hello, line")
    expect(page.locator("#events")).to_contain_text("announced Hello, line")
    page.locator("[data-verb=resume]").click()
    expect(page.locator("#status")).to_have_text("open")
    assert KEY not in page.url
    page.reload()
    expect(page.locator("#work")).to_be_visible()
    page.locator("#sign-out").click()
    expect(page.locator("#sign-in")).to_be_visible()
    assert page.evaluate("sessionStorage.length") == 0
    assert not page.errors, page.errors
    made.close()


def load(server, browser):
    """Charts and key figures of what really happens, a mark, and what it says of an hour that the store knows."""
    queue = server.queue(slug="busy", name="Busy", releaseRatePerMinute=600)["id"]
    for number in range(20):
        server.good("POST", f"/v1/queues/{queue}/join", {"user": f"busy{number}"})
    page = open_page(context(browser), f"{server.url}/console/load")
    page.locator("#key").fill("wrong-key")
    page.locator("#sign-in button").click()
    expect(page.locator("#problem")).to_have_text("This key is not valid.")
    page.locator("#key").fill(KEY)
    page.locator("#sign-in button").click()
    # A period ends every ten seconds, and the page looks as often.
    line = page.locator("#live figure", has=page.get_by_text("Response time")).locator("path.line0")
    expect(line).to_have_count(1, timeout=30_000)
    row = page.locator("#kpis tr", has=page.get_by_role("rowheader", name="api response time p95"))
    expect(row.locator("td").nth(1)).to_contain_text("ms, ok")
    expect(row.locator("td").nth(1)).to_have_class("ok")
    expect(page.locator("#kpis tr", has=page.get_by_text("network utilization")).locator("td").last).not_to_contain_text("ok")
    page.locator("#text").fill("twice the pace")
    page.locator("#mark button").click()
    expect(page.locator("#done")).to_have_text("Set.")
    expect(page.locator("#effects td", has_text="twice the pace")).to_be_visible()
    expect(page.locator("#live figure svg").first).to_have_attribute("aria-label", re.compile("Response time: 95 % [0-9.]+ ms"), timeout=30_000)
    axe(page, "load")
    if PICTURES:
        page.set_viewport_size({"width": 1280, "height": 900})
        page.screenshot(path=f"{PICTURES}/load.png", full_page=True)
    page.reload()
    expect(page.locator("#work")).to_be_visible()
    assert not page.errors, page.errors
    page.context.close()


def vectors(server, browser):
    """The display model in JavaScript says what the one in Swift says."""
    page = open_page(context(browser), server.url)
    wrong = page.evaluate("""async (vectors) => {
        const { Display } = await import("/assets/display.js");
        const wrong = [];
        for (const { name, steps } of vectors) {
            const display = new Display();
            for (const { at, position, rate, reason, shows } of steps) {
                if (position !== undefined) display.receive(position, rate, at, reason);
                if (shows !== undefined && display.value(at) !== shows) wrong.push(`${name} at ${at}: ${display.value(at)}`);
            }
        }
        return wrong;
    }""", json.load(open(f"{PROJECT}/Tests/Vectors/display.json")))
    assert not wrong, wrong
    page.context.close()


def sleeps(server, browser):
    """The phone slept. What its kernel has kept since is no sign of life: only the answer to the ping is, and without one the
    page comes back over another connection."""
    page = open_page(context(browser), server.url)
    told = page.evaluate("""async () => {
        const { QueueClient } = await import("/assets/queue-client.js");
        const told = [];
        class Socket {
            readyState = 0;
            static all = [];
            constructor() {
                Socket.all.push(this);
                setTimeout(() => { this.readyState = 1; this.onopen({}); });
            }
            hear(frame) { this.onmessage({ data: JSON.stringify(frame) }); }
            send(text) {
                const { type } = JSON.parse(text);
                if (type === "join") this.hear({ type: "joined", token: "t", queue: {} });
                if (type === "ping") setTimeout(() => this.ping?.());
            }
            close() { this.readyState = 3; }
        }
        const client = new QueueClient({ queue: "q", storage: null, socket: Socket });
        const until = (state) => new Promise((done) => client.addEventListener("connection", ({ detail }) => detail === state && done()));
        const opened = until("open");
        client.start();
        await opened;
        await new Promise((done) => setTimeout(done, 100));
        client.addEventListener("connection", ({ detail }) => told.push(detail));
        const wake = () => document.dispatchEvent(new Event("visibilitychange"));
        const [first] = Socket.all;
        // It is alive: nothing happens.
        first.ping = () => { first.hear({ type: "position", position: 3, rate: 0 }); first.hear({ type: "state", state: "ok" }); };
        wake();
        await new Promise((done) => setTimeout(done, 6000));
        told.push("alive");
        // It is dead, and a frame was on its way before.
        first.ping = () => first.hear({ type: "position", position: 2, rate: 0 });
        const lost = until("waiting");
        wake();
        await Promise.race([lost, new Promise((done) => setTimeout(done, 10000))]);
        client.stop();
        return told;
    }""")
    assert told == ["alive", "waiting", "closed"], told
    page.context.close()


def no_sockets(server, browser):
    """Where something on the way lets no WebSocket through, the place is taken and looked up by REST, and nothing else is different."""
    queue = server.queue(slug="walled", name="Walled", graceSeconds=600)["id"]
    first = server.good("POST", f"/v1/queues/{queue}/join", {"user": "first"})
    made = context(browser)
    made.add_init_script("""
        window.tries = [];
        window.WebSocket = class {
            constructor() { tries.push(performance.now()); this.readyState = 0; setTimeout(() => { this.readyState = 3; this.onclose({ code: 1006 }); }, 50); }
            close() {}
        };""")
    page = open_page(made, f"{server.url}/q/walled")
    wait_for(lambda: number(page) == 2, what="a place by REST")
    expect(page.locator("#connection")).to_contain_text("every few seconds")
    # One more as soon as the server has answered, and the next one in a minute.
    assert page.evaluate("tries.length") in (2, 3)
    server.good("POST", f"/v1/queues/{queue}/leave", {"session": first["session"]})
    wait_for(lambda: number(page) == 1, what="that it falls")
    server.good("POST", f"/v1/queues/{queue}/pause")
    expect(page.locator("#notice")).to_contain_text("paused", timeout=20_000)
    server.good("POST", f"/v1/queues/{queue}/resume")
    page.reload()
    wait_for(lambda: number(page) == 1, what="the same place after a reload")
    assert server.good("GET", f"/v1/queues/{queue}")["waiting"] == 1
    page.locator("#leave").click()
    expect(page.locator("#why")).to_contain_text("left")
    wait_for(lambda: server.good("GET", f"/v1/queues/{queue}")["waiting"] == 0, what="that the place is free")
    page.locator("#again").click()
    wait_for(lambda: number(page) == 1, what="a new place")
    server.good("PATCH", f"/v1/queues/{queue}", {"releaseRatePerMinute": 6000})
    expect(page.locator("#turn")).to_be_visible(timeout=20_000)
    assert not page.errors, page.errors
    made.close()


def odd_answers(server, browser):
    """What somebody on the way answers is not the server's word, and a turn by REST leads in once."""
    shop = SlowShop()
    queue = server.queue(slug="odd", name="Odd", graceSeconds=600, redirectURL=shop.url)["id"]
    made = context(browser)
    made.add_init_script("window.WebSocket = class { readyState = 0; constructor() { setTimeout(() => this.onclose({ code: 1006 })); } close() {} };")
    page = open_page(made, f"{server.url}/q/odd")
    wait_for(lambda: number(page) == 1, what="a place")
    asked = []

    def login(route):
        asked.append(route.request.url)
        route.fulfill(status=200, content_type="text/html", body="<h1>Please log in</h1>")

    page.route("**/v1/**", login)
    wait_for(lambda: page.evaluate("1") and asked, what="a look at the place")
    expect(page.locator("#connection")).to_contain_text("Your place is safe until")
    page.unroute("**/v1/**")
    expect(page.locator("#connection")).to_contain_text("every few seconds", timeout=40_000)
    assert number(page) == 1 and server.good("GET", f"/v1/queues/{queue}")["waiting"] == 1
    # A shop that takes its time is asked once, however often the place is looked up meanwhile.
    page.unroute_all()
    server.good("PATCH", f"/v1/queues/{queue}", {"releaseRatePerMinute": 6000})
    wait_for(lambda: shop.asked, what="the way in")
    before = places_asked_for(server)
    wait_for(lambda: places_asked_for(server) >= before + 2, what="two more looks at the place")
    assert len(shop.asked) == 1, shop.asked
    shop.close()
    made.close()


def places_asked_for(server):
    return server.metric('stanchion_http_requests_total{route="/v1/queues/{id}/position",method="GET",class="2xx"}')


class SlowShop:
    """Takes what it is asked, and does not answer."""

    def __init__(self):
        self.listener, self.asked, self.held = socket.create_server(("127.0.0.1", 0)), [], []
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}/in"
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.held.append(connection)
            threading.Thread(target=self.read, args=(connection,), daemon=True).start()

    def read(self, connection):
        try:
            # A browser opens connections in advance, and says nothing on them.
            if line := connection.makefile("rb").readline():
                self.asked.append(line)
        except OSError:
            pass

    def close(self):
        for connection in self.held:
            connection.close()
        self.listener.close()


def not_allowed(server, browser):
    """A proxy that hides the name by which browsers know the server: the page says what is wrong, and the log does."""
    server.queue(slug="hidden", name="Hidden", graceSeconds=600)
    made = context(browser)
    page = made.new_page()
    # As a proxy would that says another Host.
    page.route("**/v1/**", lambda route: route.fulfill(status=403, content_type="application/problem+json", body=json.dumps(
        {"code": "origin_not_allowed", "detail": "the page's origin is not allowed", "status": 403})))
    page.add_init_script("window.WebSocket = class { readyState = 0; constructor() { setTimeout(() => this.onclose({ code: 1006 })); } close() {} };")
    page.goto(f"{server.url}/q/hidden")
    expect(page.locator("#connection")).to_contain_text("This site may not use the queue's server")
    assert "safe" not in page.locator("main").inner_text()
    made.close()
    for _ in range(3):
        assert server.call("POST", "/v1/queues/hidden/join", {}, key=None, headers={"Origin": "https://evil.example"})[0] == 403
    lines = wait_for(lambda: [line for line in server.output if "origin_not_allowed" in line], what="a line in the log")
    assert len(lines) == 1 and "https://evil.example" in lines[0] and f"127.0.0.1:{server.port}" in lines[0], lines


def comes_back_to_nothing(server, browser):
    """A place that ended while no page was open is replaced by a new one; one that ends under the person's eyes is not."""
    queue = server.queue(slug="again", name="Again", graceSeconds=600)["id"]
    for end in ("removed", "forged"):
        made = context(browser)
        page = open_page(made, f"{server.url}/q/again")
        wait_for(lambda: number(page) == 1, what="a place")
        page.goto("about:blank")
        session = next(item for item in server.good("GET", f"/v1/sessions?queue={queue}&status=waiting")["items"])
        if end == "forged":
            page.goto(f"{server.url}/ready")
            page.evaluate("for (const key of Object.keys(localStorage)) localStorage.setItem(key, 'st1.nonsense')")
        server.good("DELETE", f"/v1/sessions/{session['id']}")
        page.goto(f"{server.url}/q/again")
        wait_for(lambda: number(page) == 1, what="a new place")
        page.locator("#leave").click()
        expect(page.locator("#why")).to_contain_text("left")
        made.close()


def says_safe_while_it_is(server, browser):
    """That a place is safe is said of a place that is held, and for no longer than it is kept."""
    server.queue(slug="brief", name="Brief", graceSeconds=5)
    made = context(browser)
    page = made.new_page()
    page.add_init_script("window.WebSocket = class { readyState = 0; constructor() { setTimeout(() => this.onclose({ code: 1006 })); } close() {} };")
    page.route("**/v1/**", lambda route: route.abort())
    page.goto(f"{server.url}/q/brief")
    expect(page.locator("#connection")).to_contain_text("Trying again")
    assert "safe" not in page.locator("main").inner_text()
    page.close()
    page = open_page(made, f"{server.url}/q/brief")
    wait_for(lambda: number(page) == 1, what="a place")
    made.set_offline(True)
    expect(page.locator("#connection")).to_contain_text("Your place is safe until")
    expect(page.locator("queue-position [part=wait]")).to_be_visible()
    expect(page.locator("#connection")).to_contain_text("may have expired", timeout=15_000)
    made.set_offline(False)
    made.close()


def the_turn(server, browser):
    """A turn that comes while the page is hidden is in its title, and leads in when the person looks; from there nobody is led back."""
    queue = server.queue(slug="turns", name="Turns", redirectURL=f"{server.url}/health", graceSeconds=600, admissionTTLSeconds=259_200)["id"]
    made = context(browser)
    made.add_init_script("window.isHidden = true; Object.defineProperty(document, 'hidden', { get: () => window.isHidden });")
    page = made.new_page()
    page.goto(f"{server.url}/console")
    page.goto(f"{server.url}/q/turns")
    wait_for(lambda: number(page) == 1, what="a place")
    server.good("POST", f"/v1/queues/{queue}/announcements", {"text": "soon over", "expiresAt": in_seconds(3)})
    expect(page.locator("#words")).to_contain_text("soon over")
    expect(page.locator("#words")).not_to_contain_text("soon over", timeout=10_000)
    server.good("PATCH", f"/v1/queues/{queue}", {"releaseRatePerMinute": 6000})
    expect(page).to_have_title("It is your turn!", timeout=20_000)
    expect(page.locator("#until")).to_have_text(re.compile(r"good until \w+.* \w+.*\d+:\d\d"))
    page.evaluate("window.isHidden = false; document.dispatchEvent(new Event('visibilitychange'))")
    page.wait_for_url("**/health?admission=ey*")
    page.go_back()
    page.wait_for_url("**/console")
    made.close()


def in_seconds(seconds):
    return (datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=seconds)).isoformat()


def full(server, browser):
    """Whoever finds the queue full stays, and has a place within the time that was told, over the same connection."""
    queue = server.queue(slug="full", name="Full", maxWaiting=1, graceSeconds=600)["id"]
    one = server.good("POST", f"/v1/queues/{queue}/join", {"user": "one"})
    made = context(browser)
    page = made.new_page()
    sockets = []
    page.on("websocket", lambda socket: sockets.append(socket))
    page.goto(f"{server.url}/q/full")
    expect(page.locator("#notice")).to_contain_text("full")
    assert "safe" not in page.locator("main").inner_text()
    server.good("DELETE", f"/v1/sessions/{one['session']}")
    wait_for(lambda: page.evaluate("1") and number(page) == 1, what="a place", seconds=60)
    assert len(sockets) == 1
    made.close()


def as_a_library(server, browser):
    """What stops can be started again; an offline browser that is not is found out; each type is one that there is."""
    page = open_page(context(browser), server.url)
    told = page.evaluate("""async () => {
        const { QueueClient } = await import("/assets/queue-client.js");
        Object.defineProperty(navigator, "onLine", { get: () => false });
        const client = new QueueClient({ queue: "demo" });
        const joined = () => new Promise((done) => client.addEventListener("joined", ({ detail }) => done(detail.session), { once: true }));
        const told = [];
        for (let round = 0; round < 2; round++) {
            const session = joined();
            client.start();
            told.push(await session);
            client.stop();
        }
        return told;
    }""")
    assert told[0] == told[1], told
    page.context.close()
    types = open(f"{PROJECT}/web-client/types/queue-client.d.ts").read()
    source = open(f"{PROJECT}/web-client/assets/queue-client.js").read()
    public = set(re.findall(r"^  (?:get )?([a-z]\w+)\(", source, re.M)) - {"constructor", "if", "for"}
    assert all(re.search(rf"\b{name}\b", types) for name in public), public
    states = set(re.findall(r'#connection\((?:isOffline \? )?"(\w+)"', source)) | {"waiting", "closed"}
    assert all(f'"{state}"' in types for state in states), states
    assert all(f"{frame}:" in types for frame in ("joined", "position", "admitted", "announcement", "queue", "state", "reconnect", "ended", "error", "leaving", "forgetful"))
    # Where there is no page, importing does nothing.
    subprocess.run(["node", "--input-type=module", "-e", "import('./queue-client.mjs').then(() => import('./queue-position.mjs'))"], check=True,
                   cwd=as_modules(f"{PROJECT}/web-client/assets")) if shutil.which("node") else None


def as_modules(folder):
    """Copies that Node takes for modules by their names."""
    made = tempfile.mkdtemp(prefix="stanchion-")
    for name in ("queue-client", "queue-position", "polling", "display"):
        with open(f"{folder}/{name}.js") as source, open(f"{made}/{name}.mjs", "w") as target:
            target.write(re.sub(r'from "\./(\w[\w-]*)\.js"', r'from "./\1.mjs"', source.read()))
    return made


def weight(server, browser):
    """A first visit is four requests and 12 kB, head and all; a second one is one. What is in an asset is in its name."""
    made = context(browser)
    seen = []
    made.on("response", lambda response: seen.append((response.url, response.request.sizes(), response.headers, response.status)))
    page = open_page(made, f"{server.url}/q/demo")
    wait_for(lambda: number(page), what="a position")
    wire = sum(sizes["responseHeadersSize"] + sizes["responseBodySize"] for _, sizes, _, _ in seen)
    assert len(seen) <= 3 and wire <= 12_000, (wire, [url for url, *_ in seen])
    for url, _, headers, _ in seen:
        is_page = url.endswith("/demo")
        assert headers["content-encoding"] == "gzip" and headers["vary"] == "Accept-Encoding", (url, headers)
        assert headers["cache-control"] == ("no-cache" if is_page else "public, max-age=31536000, immutable"), (url, headers)
        if is_page:
            host = server.url.split("//")[1]
            assert f"connect-src 'self' ws://{host} wss://{host};" in headers["content-security-policy"], headers
            assert "script-src 'self'" in headers["content-security-policy"] and "frame-ancestors 'none'" in headers["content-security-policy"]
    page.close()
    assets = [url.rsplit("/", 1)[1] for url, *_ in seen if "/assets/" in url]
    seen.clear()
    page = made.new_page()
    page.goto(f"{server.url}/q/demo")
    wait_for(lambda: number(page), what="a position")
    asked = [url for url, sizes, _, status in seen if sizes["responseHeadersSize"] and "/assets/" in url]
    assert len(seen) - len(asked) == 1 and all(made_from_cache(page, url) for url in asked), seen
    made.close()
    for name in assets:
        stem, version, kind = name.split(".")
        # By another version's name, while a new one is rolled out: what is here, and nobody keeps it.
        for path, caching in ((name, "immutable"), (f"{stem}.{kind}", "no-cache"), (f"{stem}.0123456789abcdef.{kind}", "no-store")):
            status, headers, body = server.call("GET", f"/assets/{path}", key=None)
            assert status == 200 and caching in headers["Cache-Control"] and "Content-Encoding" not in headers, (path, headers)
            assert server.call("GET", f"/assets/{path}", key=None, headers={"If-None-Match": headers["ETag"]})[0] == 304
        status, headers, body = server.call("GET", f"/assets/{name}", key=None, headers={"Accept-Encoding": "br, gzip;q=0.5"})
        assert headers["Content-Encoding"] == "gzip" and gzip.decompress(body) == server.call("GET", f"/assets/{name}", key=None)[2]
        assert "Content-Encoding" not in server.call("GET", f"/assets/{name}", key=None, headers={"Accept-Encoding": "gzip;q=0, br"})[1]
    for name in ("none.js", "a.b.c.js", "visitor.0123456789abcdef.css", "visitor..js"):
        assert server.call("GET", f"/assets/{name}", key=None)[0] == 404, name


def made_from_cache(page, url):
    return page.evaluate("(url) => performance.getEntriesByName(url).some((entry) => entry.transferSize === 0)", url)


def below_a_path(browser):
    """A proxy shows the server below a path, which it may take away or not."""
    with Server("--base-path", "/wait/here/", "--frame-ancestors", "self, https://*.shop.example") as server:
        server.queue(slug="t", name="Below", graceSeconds=600)
        page = open_page(context(browser), f"{server.url}/wait/here/q/t?utm_campaign=50%off")
        wait_for(lambda: number(page) == 1, what="a place below the path")
        assert all(url.startswith(f"{server.url}/wait/here/") for url in page.evaluate("performance.getEntriesByType('resource').map((one) => one.name)"))
        page.locator("#leave").click()
        expect(page.locator("#why")).to_contain_text("left")
        assert not page.errors, page.errors
        page.goto(f"{server.url}/wait/here/")
        page.locator("a", has_text="Run queues").click()
        page.wait_for_url("**/wait/here/console")
        page.locator("#key").fill(KEY)
        page.locator("#sign-in button").click()
        expect(page.locator("#status")).to_have_text("open")
        page.locator("#queue").select_option(label="Below (t)")
        expect(page.locator("#link a")).to_have_attribute("href", "/wait/here/q/t")
        expect(page.locator("#events")).to_contain_text("left")
        assert not page.errors, page.errors
        page.context.close()
        for path, status in (("/q/t", 200), ("/wait/here/health", 200), ("/wait/hereabouts", 404), ("/wait/health", 404), ("/wait/here", 200),
                             ("/wait/here?x", 200), ("/wait/here/v1/live", 426), ("/wait/here/wait/here/health", 404)):
            assert server.call("GET", path, key=None)[0] == status, path
        ancestors = [server.call("GET", path, key=None)[1]["Content-Security-Policy"].split("frame-ancestors ")[1] for path in ("/q/t", "/console")]
        assert ancestors == ["'self' https://*.shop.example", "'none'"], ancestors
        made = server.call("POST", "/v1/queues", {"name": "new"})[1]
        assert made["Location"].startswith("/wait/here/v1/queues/") and server.call("GET", made["Location"])[0] == 200


with sync_playwright() as playwright:
    browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
    below_a_path(browser)
    with Server("--loops", "2") as server:
        for story in (weight, vectors, sleeps, visitor, two_pages, without_storage, no_sockets, odd_answers, not_allowed, comes_back_to_nothing,
                      says_safe_while_it_is, the_turn, full, as_a_library, redirects, looks, console, load):
            print(story.__name__, flush=True)
            story(server, browser)
    browser.close()
