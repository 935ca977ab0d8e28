// The operator's page. The key stays in this tab's storage and goes nowhere but into the Authorization header.

import { $, BASE, ask, askWhole, problem } from "./operator.js";

const call = (method, path, body) => ask(key, method, path, body);
let key = sessionStorage.getItem("stanchion:key");
let queues = [];
let following = null;
/** The settings that the form was filled with, whose they are, and their version. */
let shown = null;
/** How often a submission of the form has failed, or the operator has signed out: what was submitted before that is not sent. */
let obstacles = 0;

/** Runs what a button asks for, and says how it went. */
async function attempt(work, done = "") {
  try {
    problem("");
    $("done").textContent = "";
    await work();
    $("done").textContent = done;
  } catch (error) {
    if (error.status === 401) signOut();
    problem(error.status === 401 ? "This key is not valid." : error.message);
  }
}

async function signIn() {
  queues = (await call("GET", "/v1/queues?limit=200")).items;
  sessionStorage.setItem("stanchion:key", key);
  $("sign-in").hidden = true;
  $("work").hidden = false;
  $("queue").replaceChildren(...queues.map((queue) => new Option(`${queue.name} (${queue.slug})`, queue.id)));
  if (queues.length) choose();
  else problem("There is no queue yet: make one with POST /v1/queues.");
}

function signOut() {
  obstacles += 1;
  following?.abort();
  sessionStorage.removeItem("stanchion:key");
  key = null;
  $("sign-in").hidden = false;
  $("work").hidden = true;
}

async function choose() {
  following?.abort();
  following = new AbortController();
  const { signal } = following;
  $("events").replaceChildren();
  const queue = await showSettings();
  // Another queue has been chosen while this one was on its way.
  if (signal.aborted) return;
  const link = document.createElement("a");
  link.href = `${BASE}/q/${queue.slug}`;
  link.textContent = "visitors' page";
  $("link").replaceChildren(link);
  await refresh();
  if (!signal.aborted) follow(queue.id, Math.max(0, queue.seq - 20), queue.epoch, signal);
}

/** The settings in the form, and where each stands. */
const paceFields = { releaseRatePerMinute: "rate", maxConcurrentUsers: "cap", settleSeconds: "settle" };

const paceValues = () => Object.fromEntries(Object.entries(paceFields).map(([name, field]) => [name, $(field).value]));

/** Fills the form with what the queue `id` is like, but for fields whose value is not the `known` one: the operator has changed them. */
function fillForm(id, { result, version }, known) {
  // The form is that of the queue that is chosen, and answers may overtake each other.
  if ($("queue").value !== id) return;
  shown = { id, version };
  for (const [name, field] of Object.entries(paceFields)) {
    shown[name] = result[name];
    if ($(field).value === known[name]) $(field).value = result[name];
  }
}

async function showSettings(known = paceValues()) {
  const id = $("queue").value;
  const answer = await askWhole(key, "GET", `/v1/queues/${id}`);
  fillForm(id, answer, known);
  return answer.result;
}

/** Sends what the operator has changed in the form of the queue `id`, meant for the settings that the form showed. */
async function setPace(id, wanted) {
  if ($("queue").value !== id || shown?.id !== id) throw new Error("Another queue was chosen meanwhile. Nothing was set.");
  const edited = Object.fromEntries(Object.entries(wanted).map(([name, value]) => [name, +value]).filter(([name, value]) => value !== shown[name]));
  if (!Object.keys(edited).length) return;
  try {
    fillForm(id, await askWhole(key, "PATCH", `/v1/queues/${id}`, edited, shown.version), wanted);
  } catch (error) {
    if (error.status !== 412) throw error;
    for (const name in edited) delete wanted[name];
    const now = await showSettings(wanted);
    throw new Error(`Somebody has changed this queue meanwhile: ${now.releaseRatePerMinute} releases a minute, ${now.maxConcurrentUsers} inside. Nothing was set; press Set again to set yours.`);
  }
}

let refreshing = 0;
/** Many events at once are one look. */
function refreshSoon() {
  refreshing ||= setTimeout(() => { refreshing = 0; refresh().catch(() => {}); }, 500);
}

async function refresh() {
  const id = $("queue").value;
  const stats = await call("GET", `/v1/queues/${id}/stats`);
  if ($("queue").value !== id) return;
  $("status").textContent = stats.status;
  const wait = stats.averageWaitSeconds;
  const numbers = {
    "In line": stats.waiting,
    "Out of sight": stats.absent,
    "Inside": `${stats.currentUsers} / ${stats.maxConcurrentUsers}`,
    "Capacity": stats.capacityStatus,
    "Releases a minute": stats.releaseRatePerMinute,
    "Average wait": wait === null ? "–" : wait < 90 ? `${Math.round(wait)} s` : `${Math.round(wait / 60)} min`,
  };
  $("numbers").replaceChildren(...Object.entries(numbers).map(([name, value]) => {
    const cell = document.createElement("div");
    const term = document.createElement("dt");
    const detail = document.createElement("dd");
    term.textContent = name;
    detail.textContent = value;
    cell.append(term, detail);
    return cell;
  }));
  const can = { scheduled: ["open", "close"], open: ["pause", "close"], paused: ["resume", "close"], closed: ["open"] }[stats.status];
  for (const button of $("verbs").children) button.disabled = !can.includes(button.dataset.verb);
}

/** Follows the queue's log. EventSource cannot send a key, so the stream is read by hand. */
async function follow(id, after, epoch, signal) {
  while (!signal.aborted) {
    try {
      const answer = await fetch(`${BASE}/v1/events?queue=${id}&after=${after}&epoch=${epoch}`, { headers: { Authorization: `Bearer ${key}` }, signal });
      if (answer.status === 409) ({ after, epoch } = await answer.json());
      if (answer.ok) {
        const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
        let rest = "";
        for (let part; !(part = await reader.read()).done;) {
          const lines = (rest + part.value).split("\n");
          rest = lines.pop();
          for (const line of lines) {
            if (!line.startsWith("data: ")) continue;
            const event = JSON.parse(line.slice(6));
            after = event.seq ?? after;
            heard(event);
          }
        }
      }
    } catch (error) {
      if (signal.aborted) return;
    }
    await new Promise((later) => setTimeout(later, 1000 + 2000 * Math.random()));
  }
}

function heard(event) {
  const item = document.createElement("li");
  const what = event.announcement?.text ?? (event.ticket ? `#${event.ticket}` : event.tickets ? `${event.tickets.reduce((n, r) => n + r.count, 0)} visitors` : "");
  item.textContent = `${event.at?.slice(11, 19) ?? ""} ${event.type} ${what}`;
  $("events").prepend(item);
  while ($("events").children.length > 50) $("events").lastChild.remove();
  refreshSoon();
}

$("sign-in").addEventListener("submit", (event) => {
  event.preventDefault();
  key = $("key").value.trim();
  $("key").value = "";
  attempt(signIn);
});
$("sign-out").addEventListener("click", signOut);
$("queue").addEventListener("change", () => attempt(choose));
$("verbs").addEventListener("click", (event) => {
  const verb = event.target.dataset.verb;
  if (verb === "close" && !confirm("Close the queue? Everyone in line is sent away.")) return;
  if (verb) attempt(async () => { await call("POST", `/v1/queues/${$("queue").value}/${verb}`); await refresh(); });
});
/** Submissions of the form are sent one after the other: each is meant for the settings that the one before has made. */
let pacing = Promise.resolve();
$("pace").addEventListener("submit", (event) => {
  event.preventDefault();
  const [id, wanted, made] = [$("queue").value, paceValues(), obstacles];
  pacing = pacing.then(() => made === obstacles && attempt(async () => {
    try {
      await setPace(id, wanted);
    } catch (error) {
      obstacles += 1;
      throw error;
    }
    await refresh();
  }, "Set."));
});
$("speak").addEventListener("submit", (event) => {
  event.preventDefault();
  attempt(async () => {
    await call("POST", `/v1/queues/${$("queue").value}/announcements`, { text: $("text").value, severity: $("severity").value });
    $("text").value = "";
  }, "Announced.");
});
if (key) attempt(signIn);
