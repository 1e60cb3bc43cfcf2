// Asking the gateway: with the token that was given, if one was, and of nobody but the gateway.

const KEY = "sallyport-token";

/** What went wrong, with the status of the answer; 0 where there was none. */
export class Failure extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

let whenTokenIsWanted = () => {};

/** Calls `handler` when a token is asked for that was not given. */
export function onTokenWanted(handler) {
  whenTokenIsWanted = handler;
}

/** Keeps the token for as long as this tab is open; without one, forgets it. */
export function setToken(token) {
  if (token) sessionStorage.setItem(KEY, token);
  else sessionStorage.removeItem(KEY);
}

/** Whether a token was given. */
export function hasToken() {
  return sessionStorage.getItem(KEY) !== null;
}

async function request(path, options = {}) {
  const token = sessionStorage.getItem(KEY);
  const headers = token ? { authorization: `Bearer ${token}` } : {};
  let response;
  try {
    response = await fetch(path, { ...options, headers, cache: "no-store", redirect: "error" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Failure(0, "the gateway does not answer");
  }
  if (!response.ok) {
    if (response.status === 401) whenTokenIsWanted();
    throw new Failure(response.status, await detail(response));
  }
  return response;
}

async function detail(response) {
  const text = await response.text().catch(() => "");
  try {
    return JSON.parse(text).detail ?? text;
  } catch {
    return text || `the gateway answered ${response.status}`;
  }
}

/** The answer to a question, as JSON. */
export async function ask(path, options) {
  const response = await request(path, options);
  return response.status === 204 ? null : response.json();
}

/** The answer to a question, as text. */
export async function askText(path, options) {
  return (await request(path, options)).text();
}

const BACK_OFF_MS = [500, 1000, 2000, 5000];

/**
 * Calls `take` with each event of `path` until `signal` says otherwise, and `told` with whether it is
 * connected. A connection that is lost is made again.
 */
export async function stream(path, take, told, signal) {
  for (let failures = 0; !signal.aborted; failures += 1) {
    try {
      const response = await request(path, { signal });
      for await (const data of events(response.body)) {
        failures = 0;
        told(true);
        take(JSON.parse(data));
      }
    } catch (error) {
      if (signal.aborted) return;
      told(false, error.message);
      if (error.status === 401 || error.status === 400) return;
    }
    await pause(BACK_OFF_MS[Math.min(failures, BACK_OFF_MS.length - 1)], signal);
  }
}

/** The data of server-sent events. EventSource cannot send a token. */
async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let kept = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      kept += value;
      const whole = kept.split("\n\n");
      kept = whole.pop();
      for (const event of whole) {
        const lines = event.split("\n").filter((line) => line.startsWith("data:"));
        if (lines.length > 0) yield lines.map((line) => line.slice(5).trimStart()).join("\n");
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

function pause(milliseconds, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, milliseconds);
    signal.addEventListener("abort", () => { clearTimeout(timer); resolve(); }, { once: true });
  });
}

/** Calls `task` now and every `milliseconds` while the page is seen, until `signal` says otherwise. */
export function poll(task, milliseconds, signal) {
  let running = false;
  const once = async () => {
    if (running || signal.aborted || document.hidden) return;
    running = true;
    try {
      await task();
    } finally {
      running = false;
    }
  };
  const timer = setInterval(once, milliseconds);
  document.addEventListener("visibilitychange", once, { signal });
  signal.addEventListener("abort", () => clearInterval(timer), { once: true });
  return once();
}
