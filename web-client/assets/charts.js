// The operator's page about load: the last hour by the ten seconds, days by the hour, and what changes did.

import { $, ask, problem } from "./operator.js";

const call = (method, path, body) => ask(key, method, path, body);
let key = sessionStorage.getItem("stanchion:key");

// What is drawn: a title, a unit, and the names of lines with the members of a point that they show.
const LIVE = [
  ["Response time", "s", { "95 %": "responseP95", "99 %": "responseP99", half: "responseP50" }],
  ["Throughput", "a minute", { requests: "requestsPerMinute", joins: "joinsPerMinute" }],
  ["Errors", "%", { "of requests": "errorShare" }],
  ["Connected", "", { connections: "connections" }],
  ["In line", "", { waiting: "waiting", inside: "inside" }],
  ["Wait of those let in", "s", { mean: "waitSeconds" }],
  ["Capacity in use", "%", { processor: "processor", memory: "memory", pool: "pool" }],
  ["Store", "s", { "query, 95 %": "queryP95" }],
];
const TRENDS = [
  ["Capacity in use", "%", { processor: "processor", memory: "memory", disk: "disk", pool: "pool" }],
  ["Growth", "a minute", { requests: "requestsPerMinute", joins: "joinsPerMinute" }],
  ["People", "", { connections: "connections", "in line, most": "waitingMost" }],
  ["Response time", "s", { "95 %": "responseP95", "99 %": "responseP99" }],
  ["Errors", "%", { "of requests": "errorShare" }],
  ["Wait of those let in", "s", { mean: "waitSeconds" }],
];
const EFFECTS = [["requestsPerMinute", "a minute"], ["responseP95", "s"], ["errorShare", "%"], ["processor", "%"]];
const UNITS = { seconds: "s", share: "%", per_minute: "a minute", people: "" };

async function attempt(work) {
  try {
    await work();
    problem("");
    return true;
  } catch (error) {
    if (error.status === 401) signOut();
    problem(error.status === 401 ? "This key is not valid." : error.message);
    return false;
  }
}

function make(name, properties = {}, ...children) {
  const element = Object.assign(document.createElement(name), properties);
  element.append(...children);
  return element;
}

function draw(name, attributes) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [attribute, value] of Object.entries(attributes)) element.setAttribute(attribute, value);
  return element;
}

/** A figure for people: three digits, and its unit. */
function words(value, unit) {
  if (value === null || value === undefined) return "–";
  if (unit === "%") return `${(100 * value).toLocaleString("en", { maximumSignificantDigits: 3 })} %`;
  if (unit !== "s") return `${value.toLocaleString("en", { maximumSignificantDigits: value < 1000 ? 3 : 6, maximumFractionDigits: 1 })} ${unit}`.trim();
  if (value === 0) return "0 s";
  if (value < 1) return `${(1000 * value).toLocaleString("en", { maximumSignificantDigits: 3 })} ms`;
  return value < 90 ? `${value.toPrecision(3)} s` : `${Math.round(value / 60)} min`;
}

/** 1, 2 or 5 times a power of ten, and no less than `value`. */
function roundUp(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((step) => step * power).find((step) => step >= value);
}

const [WIDTH, HEIGHT, LEFT, BOTTOM] = [480, 150, 4, 18];

/** One chart: its lines over the same time, with gaps where nothing was measured. */
function chart(title, unit, lines, points, marks = []) {
  const names = Object.keys(lines);
  const values = points.flatMap((point) => names.map((name) => point[lines[name]])).filter((value) => value > 0);
  const top = values.length ? roundUp(Math.max(...values)) : 1;
  const times = points.map((point) => Date.parse(point.at));
  const [first, last] = [times[0] ?? 0, times.at(-1) ?? 1];
  const x = (time) => LEFT + (WIDTH - 2 * LEFT) * (last > first ? (time - first) / (last - first) : 1);
  const y = (value) => (HEIGHT - BOTTOM) * (1 - value / top) + 2;

  const newest = names.map((name) => `${name} ${words(points.at(-1)?.[lines[name]], unit)}`);
  const svg = draw("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT + 4}`, role: "img", "aria-label": `${title}: ${newest.join(", ")}` });
  for (const part of [0, 0.5, 1]) {
    svg.append(draw("line", { x1: 0, x2: WIDTH, y1: y(part * top), y2: y(part * top), class: "grid" }));
    if (part) svg.append(Object.assign(draw("text", { x: LEFT, y: y(part * top) + 12 }), { textContent: words(part * top, unit) }));
  }
  for (const mark of marks) {
    const time = Date.parse(mark.at);
    if (time < first || time > last) continue;
    const line = draw("line", { x1: x(time), x2: x(time), y1: 0, y2: HEIGHT - BOTTOM, class: "mark" });
    line.append(Object.assign(draw("title", {}), { textContent: mark.text }));
    svg.append(line);
  }
  names.forEach((name, index) => {
    let path = "";
    let isDown = false;
    points.forEach((point, number) => {
      const value = point[lines[name]];
      const isThere = value !== null && value !== undefined;
      if (isThere) path += `${isDown ? "L" : "M"}${x(times[number]).toFixed(1)} ${y(value).toFixed(1)}${isDown ? "" : "h.1"}`;
      isDown = isThere;
    });
    if (path) svg.append(draw("path", { d: path, class: `line line${index}` }));
  });
  for (const [time, anchor] of [[first, "start"], [last, "end"]]) {
    if (!points.length || (anchor === "start" && first === last)) continue;
    const label = last - first > 86_400_000 ? new Date(time).toLocaleDateString() : new Date(time).toLocaleTimeString();
    svg.append(Object.assign(draw("text", { x: x(time), y: HEIGHT, "text-anchor": anchor }), { textContent: label }));
  }
  const legend = make("ul", {}, ...names.map((name, index) => make("li", { className: `line${index}` }, newest[index])));
  return make("figure", {}, make("figcaption", { textContent: title }), svg, legend);
}

function charts(container, kinds, points, marks) {
  container.replaceChildren(...kinds.map(([title, unit, lines]) => chart(title, unit, lines, points, marks)));
}

async function showKPIs() {
  const { kpis, errorBudget } = await call("GET", "/v1/system/kpis");
  $("budget").textContent = errorBudget.left === null
    ? "Nothing was asked in the last 30 days: there is no error budget yet."
    : `${words(errorBudget.left, "%")} of the error budget of ${errorBudget.days} days is left (${errorBudget.failed} of ${errorBudget.requests} requests failed).`;
  $("budget").className = errorBudget.state;
  $("kpis").tBodies[0].replaceChildren(...kpis.map((kpi) => make("tr", {},
    make("th", { scope: "row", textContent: kpi.name.replace(/[._]/g, " ") }),
    make("td", { textContent: words(kpi.target, UNITS[kpi.unit]) }),
    ...kpi.windows.map((window) => make("td", { className: window.state, textContent: window.state === "no_data" ? "no data" : `${words(window.value, UNITS[kpi.unit])}, ${window.state}` })))));
}

async function showHour() {
  charts($("live"), LIVE, (await call("GET", "/v1/system/history?minutes=60&points=180")).points);
}

let trends = { points: [], marks: [] };

async function showDays() {
  trends = await call("GET", `/v1/system/trends?days=${$("days").value}`);
  charts($("trends"), TRENDS, trends.points, trends.marks);
  $("effects").tBodies[0].replaceChildren(...trends.marks.toReversed().map((mark) => make("tr", {},
    make("td", { textContent: new Date(mark.at).toLocaleString() }), make("td", { textContent: mark.text }),
    ...EFFECTS.map(([member, unit]) => make("td", { textContent: effect(Date.parse(mark.at), member, unit) })))));
}

/** The means of as long a time before a moment as after it. The point that the moment is in is neither. */
function effect(moment, member, unit) {
  const ends = trends.points.map((point) => ({ ...point, end: Date.parse(point.at) }));
  const span = Math.min(86_400_000, (ends.at(-1)?.end ?? moment) - moment);
  const mean = (wanted) => {
    const some = ends.filter((point) => wanted(point.end - 1000 * point.seconds, point.end) && point[member] !== null);
    return some.length ? some.reduce((sum, point) => sum + point[member] * point.seconds, 0) / some.reduce((sum, point) => sum + point.seconds, 0) : null;
  };
  const before = mean((start, end) => end <= moment && start >= moment - span - 3_600_000);
  const after = mean((start, end) => start >= moment && end <= moment + span);
  return `${words(before, unit)} → ${words(after, unit)}`;
}

let timer = 0;
async function show(turn = 0) {
  clearTimeout(timer);
  const isGood = await attempt(async () => {
    await Promise.all([showKPIs(), showHour(), ...(turn % 30 ? [] : [showDays()])]);
    sessionStorage.setItem("stanchion:key", key);
    $("sign-in").hidden = true;
    $("work").hidden = false;
  });
  if (key) timer = setTimeout(() => show(isGood ? turn + 1 : 0), document.hidden ? 60_000 : 10_000);
}

function signOut() {
  clearTimeout(timer);
  sessionStorage.removeItem("stanchion:key");
  key = null;
  $("sign-in").hidden = false;
  $("work").hidden = true;
}

$("sign-in").addEventListener("submit", (event) => {
  event.preventDefault();
  key = $("key").value.trim();
  $("key").value = "";
  show();
});
$("days").addEventListener("change", () => attempt(showDays));
$("mark").addEventListener("submit", (event) => {
  event.preventDefault();
  attempt(async () => {
    await call("POST", "/v1/system/marks", { text: $("text").value });
    $("text").value = "";
    $("done").textContent = "Set.";
    await showDays();
  });
});
if (key) show();
