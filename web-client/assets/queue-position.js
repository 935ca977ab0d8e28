// <queue-position>: the number, how many wait, and for how long. Set its `client` to a QueueClient.
// Parts for styling: position, label, waiting, wait.

import { Display, remaining, waitInWords } from "./display.js";

const STYLE = `
  :host { display: block; text-align: center; font-variant-numeric: tabular-nums; }
  [part=position] { font-size: clamp(4rem, 24vw, 9rem); font-weight: 700; line-height: 1.1; }
  [part=label], [part=waiting], [part=wait] { margin: 0.25rem 0; }
  .quiet { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
`;
/** Made with the first element: where there is no document, importing this does nothing. */
let sheet = null;
function style() {
  if (!sheet) {
    sheet = new CSSStyleSheet();
    sheet.replaceSync(STYLE);
  }
  return sheet;
}

/** One timer for all elements: a page with ten of them wakes as often as a page with one. */
const elements = new Set();
let timer = 0;
function tick() {
  for (const element of elements) element.update();
}

/** The spoken text changes at most this often: a number that falls every second is noise to who listens. */
const SPOKEN_MILLISECONDS = 30_000;

export class QueuePosition extends (globalThis.HTMLElement ?? Object) {
  #client = null;
  #display = new Display();
  #frame = null;
  #frameAt = 0;
  #spokenAt = -Infinity;
  /** When there was word last, where there is none now. */
  #asOf = null;
  #nodes = {};
  #abort = null;

  constructor() {
    super();
    const root = this.attachShadow({ mode: "open" });
    root.adoptedStyleSheets = [style()];
    const add = (name, tag = "p") => {
      const node = document.createElement(tag);
      node.setAttribute("part", name);
      node.setAttribute("aria-hidden", "true");
      root.append(node);
      this.#nodes[name] = node;
    };
    add("label");
    add("position", "div");
    add("waiting");
    add("wait");
    const spoken = document.createElement("p");
    spoken.className = "quiet";
    spoken.setAttribute("role", "status");
    root.append(spoken);
    this.#nodes.spoken = spoken;
  }

  /** The client that is listened to. */
  get client() { return this.#client; }
  set client(client) {
    this.#abort?.abort();
    this.#abort = new AbortController();
    this.#client = client;
    this.#display = new Display();
    this.#frame = null;
    for (const type of ["joined", "position"]) {
      client?.addEventListener(type, (event) => this.#receive(event.detail), { signal: this.#abort.signal });
    }
    client?.addEventListener("connection", (event) => {
      if (event.detail === "waiting" || event.detail === "offline") this.#freeze(true);
    }, { signal: this.#abort.signal });
    client?.addEventListener("state", (event) => {
      if (event.detail.state === "stale") return this.#freeze(false);
      [this.#asOf, this.#frameAt] = [null, performance.now()];
      this.update();
    }, { signal: this.#abort.signal });
  }

  /** Nothing is known of what happens now: the wait stands, and says as of when. The number stands where the connection is lost; otherwise
   * the server reckons with its falling. */
  #freeze(isLost) {
    const now = performance.now();
    if (isLost) this.#display.hold(now);
    if (!this.#frame || this.#asOf) return;
    this.#frame = { ...this.#frame, wait: this.#wait(now) };
    this.#asOf = new Date();
    this.update();
  }

  /** What is left of the wait that was told, in the frame's own form. */
  #wait(now) {
    const left = remaining(this.#frame.wait, this.#asOf ? 0 : (now - this.#frameAt) / 1000);
    return left && { p50Seconds: left.p50, p90Seconds: left.p90 };
  }

  /** The number that is shown now; null before the first frame. */
  get position() { return this.#display.value(performance.now()); }

  connectedCallback() {
    elements.add(this);
    timer ||= setInterval(tick, 200);
    this.update();
  }

  disconnectedCallback() {
    elements.delete(this);
    if (elements.size) return;
    clearInterval(timer);
    timer = 0;
  }

  #receive(frame) {
    const now = performance.now();
    // A place that was found again continues what was shown.
    this.#display.receive(frame.position, frame.rate, now, frame.reason);
    this.#frame = frame;
    this.#frameAt = now;
    this.#asOf = null;
    this.update();
  }

  update() {
    const now = performance.now();
    const position = this.#display.value(now);
    const frame = this.#frame;
    if (position === null) return;
    const wait = waitInWords(remaining(this.#wait(now), 0));
    const asOf = this.#asOf ? ` (as of ${this.#asOf.toLocaleTimeString([], { hour: "numeric", minute: "2-digit" })})` : "";
    this.#write("label", "Your position");
    this.#write("position", String(position));
    this.#write("waiting", `${Math.max(frame.waiting, position)} in line`);
    this.#write("wait", wait ? `Wait: ${wait}${asOf}` : "No estimate while the line stands still");
    if (now - this.#spokenAt < SPOKEN_MILLISECONDS && position > 3) return;
    this.#spokenAt = now;
    this.#write("spoken", `You are number ${position} in line.${wait ? ` The wait is ${wait}.` : ""}`);
  }

  #write(name, text) {
    const node = this.#nodes[name];
    if (node.textContent !== text) node.textContent = text;
  }
}

globalThis.customElements?.define("queue-position", QueuePosition);
