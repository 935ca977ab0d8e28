// A place in line by REST, where no WebSocket gets through: the frames of a place, asked for again and again. Announcements do not come.

/** Between two questions, in milliseconds; a hidden page has more patience. */
const PAUSE = 5_000;
const PAUSE_HIDDEN = 15_000;
/** For an answer, in milliseconds. */
const PATIENCE = 10_000;
/** What a session can be; an answer that says anything else is not the server's. */
const STATES = ["waiting", "admitted", "completed", "left", "expired"];

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
  #position = 0;
  #isAsking = false;

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
    // What it is told first may be worse than what was shown.
    if (token) this.#position = -1;
  }

  start() { this.#step(); }

  /** Does not wait for the next time. */
  now() {
    if (!this.#isIn || this.#isAsking) return;
    clearTimeout(this.#timer);
    this.#step();
  }

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
    this.#isAsking = true;
    try {
      this.#take(this.#token ? await this.#ask("GET", "position") : await this.#ask("POST", "join", this.#visitor));
      this.#timer = setTimeout(() => this.#step(), globalThis.document?.hidden ? PAUSE_HIDDEN : PAUSE);
    } catch (error) {
      this.#fail(error);
    } finally {
      this.#isAsking = false;
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
    if (!answer.queue) return this.#tell({ type: "ended", reason: answer.reason ?? answer.status });
    this.#queue = answer.queue.id;
    if (answer.status === "admitted") {
      if (!this.#isIn) this.#tell({ ...answer, type: "joined", position: 1, waiting: 1, rate: 0, wait: null });
      this.#isIn = true;
      return this.#tell({ ...answer, type: "admitted" });
    }
    // Only a frame with a reason may raise what is shown.
    const reason = this.#position !== 0 && answer.position > this.#position ? "priority_lane" : undefined;
    this.#position = answer.position;
    this.#tell({ ...answer, type: this.#isIn ? "position" : "joined", ...(reason ? { reason } : {}) });
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
    const request = new AbortController();
    const end = () => request.abort();
    const timer = setTimeout(end, PATIENCE);
    this.#abort.signal.addEventListener("abort", end);
    try {
      const answer = await fetch(`${this.#options.url}/v1/queues/${encodeURIComponent(this.#queue)}/${what}`, {
        method, headers, body: body && JSON.stringify(body), credentials: "omit", cache: "no-store", signal: request.signal,
      });
      const text = await answer.text();
      let said = {};
      try { said = JSON.parse(text); } catch { /* Nothing, or what somebody between says. */ }
      if (answer.status === 204 || (answer.ok && STATES.includes(said.status))) return said;
      // A page that asks for a login, say: it answers everything.
      if (answer.ok) throw new Error("the answer is not the server's");
      throw new Refusal(answer.status, said, Number(answer.headers.get("Retry-After")) || undefined);
    } finally {
      clearTimeout(timer);
      this.#abort.signal.removeEventListener("abort", end);
    }
  }
}
