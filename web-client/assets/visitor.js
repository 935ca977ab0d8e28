// The visitor's page: one queue, one place in it.

import { QueueClient } from "./queue-client.js";
import "./queue-position.js";

const $ = (id) => document.getElementById(id);
const queue = decodeURIComponent(location.pathname.match(/\/q\/([^/]*)\/?$/)?.[1] ?? "");
const title = document.title;
let client;
let context = null;
/** What the person should know, by what told so: the queue's status, a server that cannot write, a refusal, a browser that forgets. */
let still = { queue: "", state: "", error: "", kept: "" };

const endings = {
  left: "You have left the line.",
  expired: "Your place has expired.",
  completed: "You are done here. Thank you.",
  closed: "The queue has closed.",
  unauthorized: "Your place could not be found.",
  no_such_queue: "There is no such queue.",
  replaced: "Your place is open in another window.",
};

/** After a restart the line waits so many seconds for those who were in it; 0 or unknown: nothing is said of it. */
let settleSeconds = 0;

/** What is said of the connection. That a place is safe is said where it is. */
function connectionWords(state) {
  if (state === "connecting") return "Connecting…";
  if (state === "polling") return "Live updates do not get through here: your place is looked up every few seconds.";
  if (state === "refused") return "This site may not use the queue's server. Whoever runs it has to allow this address.";
  if (state !== "waiting" && state !== "offline") return "";
  const lost = state === "offline" ? "You are offline." : "The connection was lost.";
  if (turn) return `${lost} It is still your turn; trying again…`;
  // Refused: what for is said elsewhere.
  if (!["network", "offline", "restarting"].includes(client.reason)) return "Trying again…";
  const until = client.safeUntil;
  if (until === null) return `${lost} Trying again…`;
  if (until < Date.now()) return `${lost} Your place may have expired meanwhile; trying to come back…`;
  const restart = state === "waiting" && settleSeconds
    ? ` If the server has restarted, the line waits up to ${settleSeconds} seconds for everyone who was in it.` : "";
  return `${lost} Your place is safe until ${when(until)}; coming back…${restart}`;
}

/** A time of today, or of another day with its date. */
function when(moment) {
  const date = new Date(moment);
  const isToday = date.toDateString() === new Date().toDateString();
  return date.toLocaleString([], { hour: "numeric", minute: "2-digit", ...(isToday ? {} : { weekday: "short", day: "numeric", month: "short" }) });
}

function show(id, visible = true) { $(id).hidden = !visible; }
function text(id, words) { if ($(id).textContent !== words) $(id).textContent = words; }

function notice(words) {
  Object.assign(still, words);
  const all = Object.values(still).filter(Boolean).join(" ");
  text("notice", all);
  show("notice", all !== "");
}

/** What is shown of the connection is looked at anew as time passes. */
let shown = "connecting";
/** The admission, where it is the person's turn. */
let turn = null;
/** A turn leads in once: a second time would break off what the browser is about to show. */
let hasGoneIn = false;

function start() {
  for (const id of ["turn", "over"]) show(id, false);
  notice({ queue: "", state: "", error: "", kept: "" });
  document.title = title;
  [turn, shown, hasGoneIn] = [null, "connecting", false];
  client = new QueueClient({ queue });
  $("position").client = client;
  const on = (type, handler) => client.addEventListener(type, (event) => handler(event.detail));
  on("connection", (state) => {
    // A try of many is no news.
    if (state !== "connecting" || shown === "open") shown = state;
    text("connection", connectionWords(shown));
  });
  on("joined", (frame) => {
    text("name", frame.queue.name);
    settleSeconds = frame.queue.settleSeconds ?? 0;
    notice({ queue: statusWords[frame.queue.status] ?? "", state: "", error: "" });
    show("position");
    show("leave");
    document.title = title;
  });
  on("leaving", () => notice({ error: "You leave the line as soon as you are online again." }));
  on("forgetful", () => notice({ kept: "This browser lets the page keep nothing: your place lasts as long as this page is open." }));
  on("queue", (frame) => notice({ queue: frame.status === "open" ? "" : frame.message || (statusWords[frame.status] ?? "") }));
  on("state", (frame) => notice({ state: frame.state === "stale" ? frame.message ?? "Updates are delayed." : "" }));
  on("announcement", announce);
  on("admitted", admitted);
  on("ended", (frame) => over(endings[frame.reason] ?? "Your place has ended."));
  on("error", (frame) => notice({ error: frame.message + (frame.retryAfterSeconds ? ": trying again soon." : ".") }));
  client.start();
}

const statusWords = {
  paused: "The queue is paused. Your place is safe.",
  scheduled: "The queue has not opened yet. Your place is safe.",
};

const announced = new Set();
function announce(frame) {
  const left = frame.expiresAt ? Date.parse(frame.expiresAt) - Date.now() : Infinity;
  if (announced.has(frame.id) || left <= 0) return;
  announced.add(frame.id);
  const words = document.createElement("p");
  words.className = `notice ${frame.severity}`;
  words.textContent = frame.text;
  words.title = when(Date.parse(frame.publishedAt));
  $("words").prepend(words);
  // Timers have room for 24 days.
  if (left < 2 ** 31) setTimeout(() => words.remove(), left);
}

function admitted(frame) {
  const isNews = turn === null;
  turn = frame;
  show("position", false);
  show("turn");
  document.title = "It is your turn!";
  if (isNews && $("bell").checked) ring();
  if (frame.redirect) {
    $("go").href = frame.redirect;
    show("go");
  }
  countDown();
  goIn();
}

/** Into the shop, in place of this page: whoever comes back from there must not be sent there again. */
function goIn() {
  if (hasGoneIn || !turn?.redirect || document.hidden || Date.parse(turn.expiresAt) <= Date.now()) return;
  hasGoneIn = true;
  location.replace(turn.redirect);
}

function countDown() {
  if (!turn) return;
  const seconds = Math.max(0, Math.ceil((Date.parse(turn.expiresAt) - Date.now()) / 1000));
  const left = seconds < 3600 ? ` (${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")} left)` : "";
  text("until", seconds ? `Your admission is good until ${when(turn.expiresAt)}${left}.` : "Your admission has expired.");
}

function ring() {
  if (!context) return;
  const tone = context.createOscillator();
  const gain = context.createGain();
  tone.frequency.value = 660;
  gain.gain.setValueAtTime(0.2, context.currentTime);
  gain.gain.exponentialRampToValueAtTime(0.001, context.currentTime + 1.2);
  tone.connect(gain).connect(context.destination);
  tone.start();
  tone.stop(context.currentTime + 1.2);
}

function over(words) {
  turn = null;
  document.title = title;
  for (const id of ["position", "turn", "leave", "notice"]) show(id, false);
  text("why", words);
  show("over");
}

setInterval(() => {
  countDown();
  text("connection", connectionWords(shown));
}, 1000);
document.addEventListener("visibilitychange", goIn);
// A browser lets a page sound only after the person has touched it: the box is that touch.
$("bell").addEventListener("change", () => { if ($("bell").checked) context ??= new AudioContext(); });
$("leave").addEventListener("click", () => client.leave());
$("again").addEventListener("click", start);
start();
