// The visitor's page: one queue, one place in it.

import { QueueClient } from "./queue-client.js";
import "./queue-position.js";

const $ = (id) => document.getElementById(id);
const queue = decodeURIComponent(location.pathname.split("/")[2] ?? "");
const title = document.title;
let client;
let context = null;
/** Why nothing moves, by what told so: the queue's status, and a server that cannot write. */
let still = { queue: "", state: "", error: "" };

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

const connections = {
  connecting: "Connecting…",
  open: "",
  waiting: "The connection was lost. Your place is safe; coming back…",
  offline: "You are offline. Your place is safe for a while.",
  closed: "",
};

function show(id, visible = true) { $(id).hidden = !visible; }
function text(id, words) { if ($(id).textContent !== words) $(id).textContent = words; }

function notice(words) {
  Object.assign(still, words);
  const all = Object.values(still).filter(Boolean).join(" ");
  text("notice", all);
  show("notice", all !== "");
}

function start() {
  for (const id of ["turn", "over"]) show(id, false);
  notice({ queue: "", state: "", error: "" });
  document.title = title;
  client = new QueueClient({ queue });
  $("position").client = client;
  const on = (type, handler) => client.addEventListener(type, (event) => handler(event.detail));
  let isLost = false;
  on("connection", (state) => {
    if (state !== "connecting") isLost = state === "waiting" || state === "offline";
    const shown = state === "connecting" && isLost ? "waiting" : state;
    text("connection", connections[shown] + (shown === "waiting" ? restartCost() : ""));
  });
  on("joined", (frame) => {
    text("name", frame.queue.name);
    settleSeconds = frame.queue.settleSeconds ?? 0;
    notice({ queue: statusWords[frame.queue.status] ?? "", state: "", error: "" });
    show("position");
    show("leave");
  });
  on("leaving", () => notice({ error: "You leave the line as soon as you are online again." }));
  on("queue", (frame) => notice({ queue: frame.status === "open" ? "" : frame.message }));
  on("state", (frame) => notice({ state: frame.state === "stale" ? frame.message : "" }));
  on("announcement", announce);
  on("admitted", admitted);
  on("ended", (frame) => over(endings[frame.reason] ?? "Your place has ended."));
  on("error", (frame) => notice({ error: frame.message + (frame.retryAfterSeconds ? ": trying again soon." : ".") }));
  client.start();
}

function restartCost() {
  return settleSeconds ? ` If the server has restarted, the line waits up to ${settleSeconds} seconds for everyone who was in it.` : "";
}

const statusWords = {
  paused: "The queue is paused. Your place is safe.",
  scheduled: "The queue has not opened yet. Your place is safe.",
};

const announced = new Set();
function announce(frame) {
  if (announced.has(frame.id)) return;
  announced.add(frame.id);
  const words = document.createElement("p");
  words.className = `notice ${frame.severity}`;
  words.textContent = frame.text;
  $("words").prepend(words);
}

function admitted(frame) {
  show("position", false);
  show("turn");
  text("until", `Your admission is good until ${new Date(frame.expiresAt).toLocaleTimeString()}.`);
  if ($("bell").checked) {
    document.title = "It is your turn!";
    ring();
  }
  if (!frame.redirect) return;
  $("go").href = frame.redirect;
  show("go");
  if (!document.hidden) location.assign(frame.redirect);
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
  for (const id of ["position", "turn", "leave", "notice"]) show(id, false);
  text("why", words);
  show("over");
}

// A browser lets a page sound only after the person has touched it: the box is that touch.
$("bell").addEventListener("change", () => { if ($("bell").checked) context ??= new AudioContext(); });
$("leave").addEventListener("click", () => client.leave());
$("again").addEventListener("click", start);
start();
