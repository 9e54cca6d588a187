// An answer of the server as JSON; what it refuses is raised in its words, with its status.
const BUSY = [429, 503];
const TRIES = 6;

export const pause = (seconds) => new Promise((go) => setTimeout(go, 1000 * seconds));
// Seconds before a try: twice as long each time, and not the same for all maps.
export const rest = (tried) => 2 ** tried * (1 + Math.random() / 4);
export const isBusy = (status, tried) => BUSY.includes(status) && tried < TRIES;

export async function ask(path, { method = "GET", body, key, signal } = {}) {
  const headers = { Accept: "application/json" };
  if (body) headers["Content-Type"] = "application/json";
  if (key) headers["X-API-Key"] = key;
  let answer;
  for (let tried = 0; ; tried++) {
    try {
      answer = await fetch(path, { method, headers, body: body && JSON.stringify(body), signal });
    } catch {
      throw new Error("The server does not answer. Is it running?");
    }
    // Who is only busy says when to ask again; a quota that is used up does not.
    const wait = Number(answer.headers.get("Retry-After"));
    if (!isBusy(answer.status, tried) || !(wait > 0)) break;
    await pause(Math.max(wait, rest(tried)));
  }
  const told = await answer.json().catch(() => ({ detail: `The server answered ${answer.status}.` }));
  if (!answer.ok) throw Object.assign(new Error(told.detail), { status: answer.status });
  return told;
}
