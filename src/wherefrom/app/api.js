// What the page asks of its own server. Everything that comes back is data, never markup.

const token = document.querySelector('meta[name="token"]').content;

async function fault(reply) {
  try {
    return new Error((await reply.json()).error);
  } catch {
    return new Error(`The server answered with ${reply.status}.`);
  }
}

async function send(path, fields, signal) {
  let reply;
  try {
    reply = await fetch(path, {
      method: "POST",
      headers: { "Content-Type": "application/json", "X-Wherefrom-Token": token },
      body: JSON.stringify(fields),
      signal,
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("The server does not answer. Is `wherefrom serve` still running?");
  }
  if (!reply.ok) throw await fault(reply);
  return reply;
}

export async function about() {
  const reply = await fetch("/api/run");
  if (!reply.ok) throw await fault(reply);
  return reply.json();
}

export async function post(path, fields, signal) {
  return (await send(path, fields, signal)).json();
}

// One JSON object a line, as they come.
export async function* lines(path, fields, signal) {
  const reply = await send(path, fields, signal);
  const reader = reply.body.pipeThrough(new TextDecoderStream()).getReader();
  let held = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    held += value;
    const whole = held.split("\n");
    held = whole.pop();
    for (const line of whole) if (line) yield JSON.parse(line);
  }
}
