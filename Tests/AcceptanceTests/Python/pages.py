"""The pages in a real browser."""

import json
import re
import signal
import sys

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
    expect(page.locator("#live figure svg").first).to_have_attribute("aria-label", re.compile("Response time: 95 % [0-9.]+ ms"))
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


def weight(server):
    files = ["q/demo"] + [f"assets/{name}" for name in ("style.css", "visitor.js", "queue-client.js", "queue-position.js", "display.js")]
    total = 0
    for path in files:
        status, headers, body = server.call("GET", "/" + path, key=None)
        assert status == 200 and "script-src 'self'" in headers["Content-Security-Policy"] and headers["X-Content-Type-Options"] == "nosniff"
        assert server.call("GET", "/" + path, key=None, headers={"If-None-Match": headers["ETag"]})[0] == 304
        total += len(body)
    assert total < 40_000, total
    charts = [server.call("GET", "/" + path, key=None) for path in ("console/load", "assets/charts.js", "assets/operator.js", "assets/charts.css", "assets/style.css")]
    assert all(status == 200 for status, _, _ in charts) and sum(len(body) for _, _, body in charts) < 60_000


with sync_playwright() as playwright:
    browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
    with Server("--loops", "2") as server:
        weight(server)
        for story in (vectors, sleeps, visitor, two_pages, without_storage, redirects, looks, console, load):
            print(story.__name__, flush=True)
            story(server, browser)
    browser.close()
