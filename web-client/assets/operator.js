// What the operator's pages share: asking the API with a key, and saying what went wrong.

export const $ = (id) => document.getElementById(id);

export async function ask(key, method, path, body) {
  const answer = await fetch(path, {
    method,
    headers: { Authorization: `Bearer ${key}`, ...(body ? { "Content-Type": "application/json" } : {}) },
    body: body && JSON.stringify(body),
  });
  const result = answer.status === 204 ? null : await answer.json();
  if (!answer.ok) throw Object.assign(new Error(result?.detail ?? answer.statusText), { status: answer.status });
  return result;
}

export function problem(words) {
  $("problem").textContent = words;
  $("problem").hidden = !words;
}
