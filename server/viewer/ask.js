// Answers of the server; what it refuses is raised in words, with its status. A busy server is asked again.
const BUSY = [429, 503];
const TRIES = 6;
const WORDS = {
  401: "This map needs a key.",
  403: "This key does not open this map.",
  429: "Too many requests at once. Wait a moment, then try again.",
  503: "The server is busy. Wait a moment, then try again.",
};

// The key of whoever looks; it is kept in the page only.
export const access = { key: "" };

export const pause = (seconds) => new Promise((go) => setTimeout(go, 1000 * seconds));
// Seconds before a try: twice as long each time, and not the same for all maps.
const rest = (tried) => 2 ** tried * (1 + Math.random() / 4);

async function refused(answer) {
  const said = await answer.json().catch(() => ({}));
  const words = WORDS[answer.status] ?? `The server answered ${answer.status}.`;
  return Object.assign(new Error(said.detail ?? words), { status: answer.status, candidates: said.candidates ?? [] });
}

// `patient`: also where a busy server does not say when to ask again, as tiles do.
async function sent(path, { method = "GET", body, signal, accept, patient = false } = {}) {
  const headers = accept ? { Accept: accept } : {};
  if (body) headers["Content-Type"] = "application/json";
  if (access.key) headers["X-API-Key"] = access.key;
  for (let tried = 0; ; tried++) {
    let answer;
    try {
      answer = await fetch(path, { method, headers, body: body && JSON.stringify(body), signal });
    } catch (error) {
      if (signal?.aborted) throw error;
      if (method !== "GET" || tried > 0) throw new Error("The server does not answer. Is it running?");
      // A connection may break once, on a train or where a busy server closes one that it took for idle.
      await pause(rest(tried));
      continue;
    }
    if (answer.ok) return answer;
    // Who is only busy says when to ask again; a quota that is used up does not.
    const wait = Number(answer.headers.get("Retry-After"));
    if (!BUSY.includes(answer.status) || tried >= TRIES || !(patient || wait > 0)) throw await refused(answer);
    await pause(Math.max(wait, rest(tried)));
    signal?.throwIfAborted();
  }
}

export const ask = async (path, how = {}) => (await sent(path, { accept: "application/json", ...how })).json();
export const fetched = (path, how = {}) => sent(path, how);
// For addresses that the browser opens without our headers.
export const keyed = (path) => (access.key ? `${path}${path.includes("?") ? "&" : "?"}${new URLSearchParams({ api_key: access.key })}` : path);
