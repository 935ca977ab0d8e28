// A place in line: connects, joins or resumes, comes back after every kind of loss, and tells what it hears.

import { Poller, Refusal } from "./polling.js";

const FINAL = 4500;
/** So many sockets in a row on which the server said nothing: something between lets none through. */
const SILENT_SOCKETS = 2;
/** While places are asked for by REST a socket is tried again after so long, in milliseconds. */
const SOCKET_AGAIN = 60_000;
/** A browser that says that it is offline may be wrong. */
const OFFLINE_TRY = 15_000;
/** Refusals that say that the place is no more, by the reason that is told for it. */
const ENDS = { no_such_queue: "no_such_queue", unauthorized: "unauthorized", no_such_session: "expired", session_ended: "expired" };
/** Refusals that say that this page may not speak to the server. */
const STRANGERS = ["origin_not_allowed", "unknown_host"];

/** Where storage is forbidden, merely naming it throws. */
function pageStorage() {
  try { return localStorage; } catch { return null; }
}

/** Of the server that this module comes from, whatever path a proxy shows it under. */
function ownServer() {
  try {
    const here = new URL("..", import.meta.url);
    if (here.protocol.startsWith("http")) return here.href.replace(/\/$/, "");
  } catch { /* A module without an address. */ }
  return globalThis.location?.origin;
}

/**
 * Events, each a CustomEvent:
 * - the server's frames, of which the detail is the frame: joined, position, admitted, announcement, queue, state, reconnect, ended,
 *   error;
 * - `connection`: "connecting", "open", "polling" (by REST), "waiting" (to come back), "offline", "refused" or "closed"; `reason` says
 *   why;
 * - `leaving`: the place will be given back as soon as there is a connection;
 * - `forgetful`: the browser lets the page keep nothing, so the place lasts as long as the page.
 */
export class QueueClient extends EventTarget {
  #options;
  #socket = null;
  #poller = null;
  #timer = 0;
  #again = 0;
  #attempt = 0;
  #silent = 0;
  #comeBackAt = 0;
  #isOver = true;
  #alive = 0;
  #isProbing = false;
  #isLeaving = false;
  /** The server has given or found the place, on this connection. */
  #isIn = false;
  /** Of this page: another one of the same browser may have a place of its own. */
  #token = null;
  /** Whether this page has had the place confirmed: otherwise it may have ended while no page was open. */
  #isConfirmed = false;
  #graceSeconds = 0;
  /** When there was word last. */
  #heardAt = 0;
  /** What the server has refused, where the browser does not let go of it. */
  #deadToken = null;
  #reason = null;
  #isForgetful = false;
  /** The socket's end is that of a place that nobody has any more. */
  #wantsNew = false;
  /** A socket is tried as soon as the server answers by REST, and then now and then. */
  #mayTrySocket = false;

  /**
   * @param {object} options queue (id or slug); url (of the server, by default the one that this module comes from); displayName, user,
   *   metadata, updates; storage (keeps the token; localStorage by default, null for none); socket (a WebSocket class).
   */
  constructor(options) {
    super();
    this.#options = { url: options.url ?? ownServer(), storage: pageStorage(), socket: globalThis.WebSocket, ...options };
  }

  /** Takes or finds the place, and keeps it until `leave` or the end. */
  start() {
    if (!this.#isOver) return;
    this.#isOver = false;
    [this.#attempt, this.#silent, this.#comeBackAt, this.#reason] = [0, 0, 0, null];
    [this.#isLeaving, this.#wantsNew] = [false, false];
    globalThis.document?.addEventListener("visibilitychange", this.#visibility);
    globalThis.addEventListener?.("online", this.#online);
    globalThis.addEventListener?.("offline", this.#offline);
    globalThis.addEventListener?.("pageshow", this.#visibility);
    this.#connect();
  }

  /** Gives the place back; where there is no connection just now, as soon as there is one. */
  leave() {
    this.#isLeaving = true;
    if (this.#poller && this.#isIn) return this.#poller.leave();
    if (!this.#isIn || !this.#send({ type: "leave" })) this.#tell("leaving");
  }

  /** Ends without giving the place back; `start` finds it again. */
  stop() {
    if (this.#isOver) return;
    this.#isOver = true;
    clearTimeout(this.#timer);
    clearTimeout(this.#again);
    this.#stopExpecting();
    this.#stopPolling();
    globalThis.document?.removeEventListener("visibilitychange", this.#visibility);
    globalThis.removeEventListener?.("online", this.#online);
    globalThis.removeEventListener?.("offline", this.#offline);
    globalThis.removeEventListener?.("pageshow", this.#visibility);
    this.#drop();
    this.#tell("connection", "closed");
  }

  get #key() { return `stanchion:${this.#options.url}:${this.#options.queue}`; }
  get token() {
    if (this.#token) return this.#token;
    try {
      const kept = this.#options.storage?.getItem(this.#key) ?? null;
      return kept === this.#deadToken ? null : kept;
    } catch { return null; }
  }

  /** Why the connection is in the state that was told last: a code, or null. */
  get reason() { return this.#reason; }

  /** Until when the place is safe without a connection, in milliseconds since 1970; null where no place is known of. */
  get safeUntil() {
    if (!this.token || !this.#isConfirmed) return null;
    return this.#isIn ? Infinity : this.#heardAt + this.#graceSeconds * 1000;
  }

  #keep(token) {
    this.#token = token;
    this.#isConfirmed = true;
    let isKept = false;
    try {
      this.#options.storage?.setItem(this.#key, token);
      isKept = Boolean(this.#options.storage);
    } catch { /* Full or forbidden. */ }
    if (!isKept && !this.#isForgetful) this.#tell("forgetful");
    this.#isForgetful = !isKept;
  }

  /** Forgets the place; that of another page stays. */
  #forget() {
    const { storage } = this.#options;
    this.#deadToken = this.#token ?? this.#deadToken;
    try {
      if (this.#token && storage?.getItem(this.#key) === this.#token) storage.removeItem(this.#key);
    } catch { /* Nothing was kept. */ }
    [this.#token, this.#isConfirmed, this.#isLeaving] = [null, false, false];
  }

  #tell(type, detail) { this.dispatchEvent(new CustomEvent(type, { detail })); }

  #connection(state, reason = null) {
    this.#reason = reason;
    this.#tell("connection", state);
  }

  #send(message) {
    if (this.#socket?.readyState !== 1) return false;
    this.#socket.send(JSON.stringify(message));
    return true;
  }

  // MARK: The socket

  #connect(isTold = true) {
    clearTimeout(this.#timer);
    if (this.#isOver || this.#socket) return;
    if (isTold) this.#connection("connecting", this.#reason);
    let socket;
    try {
      socket = new this.#options.socket(this.#options.url.replace(/^http/, "ws") + "/v1/live", "stanchion.v1");
    } catch { // A page of HTTPS may open none to HTTP, and a policy may forbid all.
      return this.#failed();
    }
    this.#socket = socket;
    // What an old socket still has to say is nobody's business any more.
    const mine = (handler) => (event) => { if (socket === this.#socket) handler(event); };
    let hasSpoken = false;
    socket.onopen = mine(() => this.#enter());
    socket.onmessage = mine((event) => {
      hasSpoken = true;
      this.#silent = 0;
      this.#receive(JSON.parse(event.data));
    });
    socket.onclose = mine((event) => (hasSpoken || event.code >= 4000 ? this.#closed(event.code) : this.#failed()));
    this.#expectWord(10_000);
  }

  #enter() {
    if (!this.#poller) this.#connection("open");
    const { queue, displayName, user, metadata, updates } = this.#options;
    const { token } = this;
    this.#token = token;
    this.#send(token ? { type: "resume", token, updates } : { type: "join", queue, displayName, user, metadata, updates });
  }

  #receive(frame) {
    this.#heardAt = Date.now();
    // What came while the phone slept says nothing of now: a probe ends with its own answer alone.
    if (!this.#isProbing || frame.type === "state") this.#stopExpecting();
    if (frame.type === "joined") {
      if (this.#poller) this.#connection("open");
      this.#stopPolling();
      this.#joined(frame);
      if (this.#isLeaving) this.#send({ type: "leave" });
      if (globalThis.document?.hidden) this.#send({ type: "visibility", hidden: true });
    }
    if (frame.type === "reconnect") this.#comeBackAt = Date.now() + frame.afterSeconds * 1000;
    if (frame.type === "ended" && this.#isReplacedByNew(frame.reason)) {
      this.#wantsNew = true;
      return;
    }
    if (frame.type === "ended") this.#forget();
    if (frame.type === "error" && frame.retryAfterSeconds) this.#joinLater(frame.retryAfterSeconds);
    this.#tell(frame.type, frame);
  }

  #joined(frame) {
    this.#attempt = 0;
    this.#isIn = true;
    this.#graceSeconds = frame.queue?.graceSeconds ?? 0;
    this.#keep(frame.token);
  }

  /** A place that ended while no page was open is nobody's news: whoever opens the page now wants a new one. */
  #isReplacedByNew(reason) {
    if (this.#isConfirmed || this.#isLeaving || !this.#token || reason === "closed" || reason === "no_such_queue") return false;
    this.#forget();
    return true;
  }

  /** The server waits on the open socket for so long, and some seconds more. */
  #joinLater(seconds) {
    const delay = seconds * 1000 + Math.random() * 3_000;
    // Should the socket be closed before.
    this.#comeBackAt = Date.now() + delay;
    const socket = this.#socket;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      if (!socket || socket !== this.#socket) return;
      if (this.#isIn && this.#isLeaving) this.#send({ type: "leave" });
      if (this.#isIn) return;
      this.#enter();
      this.#expectWord(10_000);
    }, delay);
  }

  #closed(code) {
    this.#stopExpecting();
    const wantsNew = this.#wantsNew || (code === 4501 && this.#isReplacedByNew("unauthorized"));
    this.#wantsNew = false;
    this.#drop();
    if (this.#isOver) return;
    if (wantsNew) return this.#connect();
    if (code >= FINAL) return this.#end({ 4501: "unauthorized", 4502: "no_such_queue" }[code]);
    // Another page of this browser has the place now: two that take it from each other in turn would be no use.
    if (code === 4003) return this.#end("replaced");
    this.#comeBack(30_000, code === 1012 ? "restarting" : "network");
  }

  /** It is over; `reason` where nothing has told it yet. */
  #end(reason) {
    if (reason !== "replaced") this.#forget();
    if (reason) this.#tell("ended", { reason });
    this.stop();
  }

  /** No socket came about, or the server said nothing on it. */
  #failed() {
    this.#stopExpecting();
    this.#drop();
    if (this.#isOver) return;
    this.#silent += 1;
    if (this.#poller) return this.#trySocketLater();
    if (this.#silent >= SILENT_SOCKETS) return this.#poll();
    this.#comeBack(30_000, "network");
  }

  /** Full jitter (Brooker, "Exponential Backoff And Jitter"): all phones that lost one server do not come at once. */
  #comeBack(limit, reason) {
    if (this.#poller) return this.#trySocketLater();
    const isOffline = globalThis.navigator?.onLine === false;
    this.#connection(isOffline ? "offline" : "waiting", isOffline ? "offline" : reason);
    const backoff = Math.random() * Math.min(limit, 500 * 2 ** Math.min(this.#attempt++, 10));
    const delay = Math.max(this.#comeBackAt - Date.now(), isOffline ? OFFLINE_TRY + backoff : backoff);
    this.#comeBackAt = 0;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#connect(!isOffline), delay);
  }

  #drop() {
    const socket = this.#socket;
    this.#socket = null;
    if (!this.#poller) this.#isIn = false;
    if (socket && socket.readyState < 2) socket.close();
  }

  // MARK: Without a socket

  #poll() {
    const { token } = this;
    this.#token = token;
    const poller = new Poller(this.#options, token, (frame, error) => {
      if (poller !== this.#poller) return;
      if (error) this.#refused(error); else this.#polled(frame);
    });
    this.#poller = poller;
    this.#mayTrySocket = true;
    poller.start();
  }

  #trySocketLater() {
    clearTimeout(this.#again);
    this.#again = setTimeout(() => { if (this.#poller) this.#connect(false); }, SOCKET_AGAIN);
  }

  #stopPolling() {
    clearTimeout(this.#again);
    if (this.#poller) this.#isIn = false;
    this.#poller?.stop();
    this.#poller = null;
  }

  #polled(frame) {
    this.#heardAt = Date.now();
    if (this.#reason !== "socket_blocked") this.#connection("polling", "socket_blocked");
    // The server is there: a restart, and not something between, may be what kept sockets from it.
    if (this.#mayTrySocket) this.#connect(false);
    this.#mayTrySocket = false;
    if (frame.type === "joined") {
      this.#joined(frame);
      if (this.#isLeaving) this.#poller.leave();
    } else if (frame.token) {
      this.#keep(frame.token);
    }
    if (frame.type !== "ended") return this.#tell(frame.type, frame);
    const isNew = this.#isReplacedByNew(frame.reason);
    this.#stopPolling();
    if (isNew) return this.#poll();
    this.#end(frame.reason);
  }

  #refused(error) {
    this.#stopPolling();
    if (!(error instanceof Refusal)) return this.#comeBack(30_000, "network");
    const { code, message, field, retryAfterSeconds } = error;
    if (ENDS[code]) return this.#isReplacedByNew(ENDS[code]) ? this.#poll() : this.#end(ENDS[code]);
    if (code) this.#tell("error", { type: "error", code, message, field, retryAfterSeconds });
    // Trying again is of no use before somebody has set something.
    if (STRANGERS.includes(code)) this.#comeBackAt = Date.now() + SOCKET_AGAIN;
    if (retryAfterSeconds) this.#comeBackAt = Date.now() + retryAfterSeconds * 1000 * (1 + Math.random());
    this.#comeBack(30_000, code || "network");
    if (STRANGERS.includes(code)) this.#connection("refused", code);
  }

  // MARK: What the browser says

  #visibility = () => {
    const hidden = document.hidden;
    this.#send({ type: "visibility", hidden });
    if (!hidden) this.#probe();
  };

  #online = () => {
    this.#stopExpecting();
    this.#stopPolling();
    this.#drop();
    this.#silent = 0;
    this.#comeBack(2_000, "network");
  };

  #offline = () => {
    this.#stopPolling();
    this.#drop();
    this.#stopExpecting();
    this.#comeBack(2_000, "offline");
  };

  /** Gives the socket up when nothing is heard in that time. */
  #expectWord(milliseconds) {
    clearTimeout(this.#alive);
    this.#alive = setTimeout(() => {
      this.#stopExpecting();
      if (this.#isIn && !this.#poller) {
        this.#drop();
        this.#comeBack(5_000, "network");
      } else {
        this.#failed();
      }
    }, milliseconds);
  }

  #stopExpecting() {
    clearTimeout(this.#alive);
    this.#isProbing = false;
  }

  /** After a sleep the socket may be dead without knowing it: it is asked. */
  #probe() {
    if (this.#poller) return this.#poller.now();
    if (!this.#socket) return this.#connect();
    if (this.#socket.readyState !== 1) return;
    this.#send({ type: "ping" });
    this.#isProbing = true;
    this.#expectWord(5_000);
  }
}
