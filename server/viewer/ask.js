// An answer of the server as JSON; what it refuses is raised in its words, with its status.
export async function ask(path, { method = "GET", body, key } = {}) {
  const headers = { Accept: "application/json" };
  if (body) headers["Content-Type"] = "application/json";
  if (key) headers["X-API-Key"] = key;
  let answer;
  try {
    answer = await fetch(path, { method, headers, body: body && JSON.stringify(body) });
  } catch {
    throw new Error("The server does not answer. Is it running?");
  }
  const told = await answer.json().catch(() => ({ detail: `The server answered ${answer.status}.` }));
  if (!answer.ok) throw Object.assign(new Error(told.detail), { status: answer.status });
  return told;
}
