// A place in line: connects, joins or resumes, comes back after every kind of loss, and tells what it hears.

const FINAL = 4500;

/** Where storage is forbidden, merely naming it throws. */
function pageStorage() {
  try { return localStorage; } catch { return null; }
}

/**
 * Events (each a CustomEvent whose detail is the frame): joined, position, admitted, announcement, queue, state, ended,
 * error; `connection` with detail "connecting", "open", "waiting" (to come back), "offline" or "closed"; and `leaving`
 * when the place will be given back as soon as there is a connection.
 */
export class QueueClient extends EventTarget {
  #options;
  #socket = null;
  #timer = 0;
  #attempt = 0;
  #comeBackAt = 0;
  #isOver = false;
  #alive = 0;
  #isProbing = false;
  #isLeaving = false;
  /** The server has given or found the place, on this connection. */
  #isIn = false;
  /** Of this page: another one of the same browser may have a place of its own. */
  #token = null;

  /**
   * @param {object} options queue (id or slug); url (of the server, the page's own by default); displayName, user,
   *   metadata, updates; storage (keeps the token; localStorage by default, null for none); socket (a WebSocket class).
   */
  constructor(options) {
    super();
    this.#options = { url: location.origin, storage: pageStorage(), socket: WebSocket, ...options };
  }

  /** Takes or finds the place, and keeps it until `leave` or the end. */
  start() {
    document.addEventListener("visibilitychange", this.#visibility);
    addEventListener("online", this.#online);
    addEventListener("offline", this.#offline);
    addEventListener("pageshow", this.#visibility);
    this.#connect();
  }

  /** Gives the place back; where there is no connection just now, as soon as there is one. */
  leave() {
    this.#isLeaving = true;
    if (!this.#isIn || !this.#send({ type: "leave" })) this.#tell("leaving");
  }

  /** Ends without giving the place back. */
  stop() {
    this.#isOver = true;
    clearTimeout(this.#timer);
    this.#stopExpecting();
    document.removeEventListener("visibilitychange", this.#visibility);
    removeEventListener("online", this.#online);
    removeEventListener("offline", this.#offline);
    removeEventListener("pageshow", this.#visibility);
    this.#drop();
    this.#tell("connection", "closed");
  }

  get #key() { return `stanchion:${this.#options.url}:${this.#options.queue}`; }
  get token() {
    if (this.#token) return this.#token;
    try { return this.#options.storage?.getItem(this.#key) ?? null; } catch { return null; }
  }

  #keep(token) {
    this.#token = token;
    try { this.#options.storage?.setItem(this.#key, token); } catch { /* Full or forbidden: the place lasts as long as the page. */ }
  }

  /** Forgets the place; that of another page stays. */
  #forget() {
    const { storage } = this.#options;
    try {
      if (this.#token && storage?.getItem(this.#key) === this.#token) storage.removeItem(this.#key);
    } catch { /* Nothing was kept. */ }
    this.#token = null;
  }

  #tell(type, detail) { this.dispatchEvent(new CustomEvent(type, { detail })); }

  #send(message) {
    if (this.#socket?.readyState !== 1) return false;
    this.#socket.send(JSON.stringify(message));
    return true;
  }

  #connect() {
    clearTimeout(this.#timer);
    if (this.#isOver || this.#socket) return;
    if (navigator.onLine === false) return this.#tell("connection", "offline");
    this.#tell("connection", "connecting");
    const socket = new this.#options.socket(this.#options.url.replace(/^http/, "ws") + "/v1/live", "stanchion.v1");
    this.#socket = socket;
    // What an old socket still has to say is nobody's business any more.
    const mine = (handler) => (event) => { if (socket === this.#socket) handler(event); };
    socket.onopen = mine(() => this.#enter());
    socket.onmessage = mine((event) => this.#receive(JSON.parse(event.data)));
    socket.onclose = mine((event) => this.#closed(event.code));
    this.#expectWord(10_000);
  }

  #enter() {
    this.#tell("connection", "open");
    const { queue, displayName, user, metadata, updates } = this.#options;
    const { token } = this;
    this.#token = token;
    this.#send(token ? { type: "resume", token, updates } : { type: "join", queue, displayName, user, metadata, updates });
  }

  #receive(frame) {
    // What came while the phone slept says nothing of now: a probe ends with its own answer alone.
    if (!this.#isProbing || frame.type === "state") this.#stopExpecting();
    if (frame.type === "joined") {
      this.#attempt = 0;
      this.#isIn = true;
      this.#keep(frame.token);
      if (this.#isLeaving) this.#send({ type: "leave" });
      if (document.hidden) this.#send({ type: "visibility", hidden: true });
    }
    if (frame.type === "reconnect") this.#comeBackAt = Date.now() + frame.afterSeconds * 1000;
    if (frame.type === "ended") this.#forget();
    if (frame.type === "error" && frame.retryAfterSeconds) {
      this.#comeBackAt = Date.now() + frame.retryAfterSeconds * 1000 * (1 + Math.random());
    }
    this.#tell(frame.type, frame);
  }

  #closed(code) {
    this.#stopExpecting();
    this.#drop();
    if (this.#isOver) return;
    if (code >= FINAL) {
      this.#forget();
      if (code === 4501) this.#tell("ended", { reason: "unauthorized" });
      if (code === 4502) this.#tell("ended", { reason: "no_such_queue" });
      return this.stop();
    }
    // Another page of this browser has the place now: two that take it from each other in turn would be no use.
    if (code === 4003) {
      this.#tell("ended", { reason: "replaced" });
      return this.stop();
    }
    this.#comeBack(30_000);
  }

  /** Full jitter (Brooker, "Exponential Backoff And Jitter"): all phones that lost one server do not come at once. */
  #comeBack(limit) {
    this.#tell("connection", navigator.onLine === false ? "offline" : "waiting");
    const backoff = Math.random() * Math.min(limit, 500 * 2 ** Math.min(this.#attempt++, 10));
    const delay = Math.max(this.#comeBackAt - Date.now(), backoff);
    this.#comeBackAt = 0;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#connect(), delay);
  }

  #drop() {
    const socket = this.#socket;
    this.#socket = null;
    this.#isIn = false;
    if (socket && socket.readyState < 2) socket.close();
  }

  #visibility = () => {
    const hidden = document.hidden;
    this.#send({ type: "visibility", hidden });
    if (!hidden) this.#probe();
  };

  #online = () => {
    this.#stopExpecting();
    this.#drop();
    this.#comeBack(2_000);
  };

  #offline = () => {
    this.#drop();
    this.#stopExpecting();
    clearTimeout(this.#timer);
    this.#tell("connection", "offline");
  };

  /** Gives the socket up when nothing is heard in that time. */
  #expectWord(milliseconds) {
    clearTimeout(this.#alive);
    this.#alive = setTimeout(() => {
      this.#stopExpecting();
      this.#drop();
      this.#comeBack(5_000);
    }, milliseconds);
  }

  #stopExpecting() {
    clearTimeout(this.#alive);
    this.#isProbing = false;
  }

  /** After a sleep the socket may be dead without knowing it: it is asked. */
  #probe() {
    if (!this.#socket) return this.#connect();
    if (this.#socket.readyState !== 1) return;
    this.#send({ type: "ping" });
    this.#isProbing = true;
    this.#expectWord(5_000);
  }
}
