// What the operator's pages share: asking the API with a key, and saying what went wrong.

export const $ = (id) => document.getElementById(id);

/** Where the server is, below whatever path a proxy shows it. */
export const BASE = new URL("..", import.meta.url).pathname.replace(/\/$/, "");

export const ask = async (key, method, path, body) => (await askWhole(key, method, path, body)).result;

/** The same with the version (`ETag`) of what was asked for; `version` says which one a change is meant for. */
export async function askWhole(key, method, path, body, version) {
  const answer = await fetch(BASE + path, {
    method,
    headers: {
      Authorization: `Bearer ${key}`,
      ...(body ? { "Content-Type": "application/json" } : {}),
      ...(version ? { "If-Match": version } : {}),
    },
    body: body && JSON.stringify(body),
  });
  const result = answer.status === 204 ? null : await answer.json();
  if (!answer.ok) throw Object.assign(new Error(result?.detail ?? answer.statusText), { status: answer.status });
  return { result, version: answer.headers.get("ETag") };
}

export function problem(words) {
  $("problem").textContent = words;
  $("problem").hidden = !words;
}
