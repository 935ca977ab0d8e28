// A place in line by REST, where no WebSocket gets through: the same frames, asked for again and again.

/** Between two questions, in milliseconds; a hidden page has more patience. */
const PAUSE = 5_000;
const PAUSE_HIDDEN = 15_000;

/** What the server refused, by its problem details (RFC 9457). */
export class Refusal extends Error {
  constructor(status, { code = "", detail = "", field } = {}, retryAfterSeconds) {
    super(detail || `the server answered ${status}`);
    Object.assign(this, { status, code, field, retryAfterSeconds });
  }
}

/** Asks for a place until it is stopped. */
export class Poller {
  #options;
  #token;
  #told;
  #timer = 0;
  #abort = new AbortController();
  #queue = null;
  #status = null;
  #isStale = false;
  #isIn = false;

  /**
   * @param {object} options as QueueClient's: url, queue, displayName, user, metadata.
   * @param {?string} token of a place that was there before.
   * @param {function} told called with each frame, as docs/protocol.md has it, and with what ends this: a Refusal, or the error of a
   *   server that could not be reached.
   */
  constructor(options, token, told) {
    this.#options = options;
    this.#token = token;
    this.#told = told;
    this.#queue = options.queue;
  }

  start() { this.#step(); }

  stop() {
    clearTimeout(this.#timer);
    this.#abort.abort();
  }

  /** Gives the place back. */
  async leave() {
    clearTimeout(this.#timer);
    try {
      await this.#ask("POST", "leave", {});
      this.#tell({ type: "ended", reason: "left" });
    } catch (error) {
      this.#fail(error);
    }
  }

  async #step() {
    try {
      this.#take(this.#token ? await this.#ask("GET", "position") : await this.#ask("POST", "join", this.#visitor));
      this.#timer = setTimeout(() => this.#step(), globalThis.document?.hidden ? PAUSE_HIDDEN : PAUSE);
    } catch (error) {
      this.#fail(error);
    }
  }

  get #visitor() {
    const { displayName, user, metadata } = this.#options;
    return { displayName, user, metadata };
  }

  #tell(frame) { if (!this.#abort.signal.aborted) this.#told(frame, null); }
  #fail(error) { if (!this.#abort.signal.aborted) this.#told(null, error); }

  #take(answer) {
    this.#token = answer.token ?? this.#token;
    if (answer.status === "admitted") return this.#tell({ ...answer, type: "admitted" });
    if (answer.status !== "waiting") return this.#tell({ type: "ended", reason: answer.reason ?? answer.status });
    this.#queue = answer.queue.id;
    this.#tell({ ...answer, type: this.#isIn ? "position" : "joined" });
    if (this.#isIn && this.#status !== answer.queue.status) this.#tell({ type: "queue", status: answer.queue.status, message: "" });
    [this.#isIn, this.#status] = [true, answer.queue.status];
    const isStale = Boolean(answer.staleSince);
    if (isStale !== this.#isStale) this.#tell({ type: "state", state: isStale ? "stale" : "live", since: answer.staleSince });
    this.#isStale = isStale;
  }

  async #ask(method, what, body) {
    const headers = {};
    if (body) headers["Content-Type"] = "application/json";
    if (this.#token) headers.Authorization = `Bearer ${this.#token}`;
    const answer = await fetch(`${this.#options.url}/v1/queues/${encodeURIComponent(this.#queue)}/${what}`, {
      method, headers, body: body && JSON.stringify(body), credentials: "omit", cache: "no-store", signal: this.#abort.signal,
    });
    const text = await answer.text();
    let said = {};
    try { said = text ? JSON.parse(text) : {}; } catch { /* Somebody between answers for the server. */ }
    if (answer.ok) return said;
    throw new Refusal(answer.status, said, Number(answer.headers.get("Retry-After")) || undefined);
  }
}
