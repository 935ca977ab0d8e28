// <queue-position>: the number, how many wait, and for how long. Set its `client` to a QueueClient.
// Parts for styling: position, label, waiting, wait.

import { Display, remaining, waitInWords } from "./display.js";

const style = new CSSStyleSheet();
style.replaceSync(`
  :host { display: block; text-align: center; font-variant-numeric: tabular-nums; }
  [part=position] { font-size: clamp(4rem, 24vw, 9rem); font-weight: 700; line-height: 1.1; }
  [part=label], [part=waiting], [part=wait] { margin: 0.25rem 0; }
  .quiet { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
`);

/** One timer for all elements: a page with ten of them wakes as often as a page with one. */
const elements = new Set();
let timer = 0;
function tick() {
  for (const element of elements) element.update();
}

/** The spoken text changes at most this often: a number that falls every second is noise to who listens. */
const SPOKEN_MILLISECONDS = 30_000;

export class QueuePosition extends HTMLElement {
  #client = null;
  #display = new Display();
  #frame = null;
  #frameAt = 0;
  #spokenAt = -Infinity;
  #nodes = {};
  #abort = null;

  constructor() {
    super();
    const root = this.attachShadow({ mode: "open" });
    root.adoptedStyleSheets = [style];
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
      if (event.detail === "waiting" || event.detail === "offline") this.#display.hold(performance.now());
    }, { signal: this.#abort.signal });
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
    this.update();
  }

  update() {
    const now = performance.now();
    const position = this.#display.value(now);
    const frame = this.#frame;
    if (position === null) return;
    const wait = waitInWords(remaining(frame.wait, (now - this.#frameAt) / 1000));
    this.#write("label", "Your position");
    this.#write("position", String(position));
    this.#write("waiting", `${Math.max(frame.waiting, position)} in line`);
    this.#write("wait", wait ? `Wait: ${wait}` : "No estimate while the line stands still");
    if (now - this.#spokenAt < SPOKEN_MILLISECONDS && position > 3) return;
    this.#spokenAt = now;
    this.#write("spoken", `You are number ${position} in line.${wait ? ` The wait is ${wait}.` : ""}`);
  }

  #write(name, text) {
    const node = this.#nodes[name];
    if (node.textContent !== text) node.textContent = text;
  }
}

customElements.define("queue-position", QueuePosition);
