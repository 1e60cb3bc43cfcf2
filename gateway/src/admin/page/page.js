// The frame of the page: which view is shown, whether the gateway answers, and who asks.

import { ask, hasToken, onTokenWanted, poll, setToken } from "/page/ask.js";
import { badge, bytes, el, fill, span } from "/page/dom.js";
import { configuration } from "/page/configuration.js";
import { certificates, connections } from "/page/connections.js";
import { door } from "/page/door.js";
import { explain } from "/page/explain.js";
import { metric } from "/page/metrics.js";
import { now } from "/page/now.js";
import { origins } from "/page/origins.js";

// Label and view by the word in the address; those without a label are not in the navigation.
const VIEWS = {
  now: ["Now", now],
  origins: ["Origins", origins],
  configuration: ["Configuration", configuration],
  explain: ["Explain", explain],
  door: ["Outer door", door],
  connections: ["Connections", connections],
  certificates: ["Certificates", certificates],
  metric: [null, metric],
};

const main = document.getElementById("main");
const notice = document.getElementById("notice");
const state = document.getElementById("state");
const views = document.getElementById("views");

let ending = new AbortController();
let rights = { change: false };
let shown = null;

/** Says something that is over soon: to everybody, also to who does not see it. */
function say(text, kind = "info") {
  fill(notice, el("p", { class: `notice ${kind}` }, text));
}

/** The view and its parameters that the address names. */
function place() {
  const [word, query] = location.hash.slice(1).split(/\?(.*)/s);
  return [VIEWS[word] ? word : "now", new URLSearchParams(query ?? "")];
}

/** What a view may use of the frame. */
const frame = {
  say,
  mayChange: () => rights.change,
  /** Puts the parameters of a view into the address, so that a link keeps them. */
  keep(word, parameters) {
    const query = parameters.toString();
    history.replaceState(null, "", `#${word}${query ? `?${query}` : ""}`);
  },
  /** Says how an answer could not be had. */
  failed(error) {
    if (error.name !== "AbortError") say(error.message, "bad");
  },
};

function show() {
  const [word, parameters] = place();
  ending.abort();
  ending = new AbortController();
  fill(notice);
  const [label, view] = VIEWS[word];
  document.title = `${label ?? "Metric"} – Sallyport`;
  for (const link of views.querySelectorAll("a")) {
    if (link.dataset.view === word) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  fill(main);
  view(main, parameters, ending.signal, frame);
  // Whoever went elsewhere goes on reading there.
  if (shown !== null && shown !== word) main.focus({ preventScroll: true });
  if (shown !== word) window.scrollTo(0, 0);
  shown = word;
}

function signIn(refused) {
  ending.abort();
  const field = el("input", { type: "password", id: "token", name: "token", autocomplete: "off", required: true });
  const form = el("form", { class: "sign-in", onsubmit: (event) => {
    event.preventDefault();
    setToken(field.value.trim());
    start();
  } },
  el("h1", {}, "A token is asked for"),
  el("p", {}, refused
    ? "That token is not the right one. Give the one of token_file or of read_token_file."
    : "Give the one of token_file, or of read_token_file to look only. It is kept until this tab is closed."),
  el("label", { for: "token" }, "Token"), field,
  el("button", { type: "submit", class: "primary" }, "Look"));
  fill(main, form);
  field.focus();
}

onTokenWanted(() => {
  const refused = hasToken();
  setToken(null);
  signIn(refused);
});

async function showState() {
  try {
    const process = await ask("/process");
    const up = process.started_unix_s ? Date.now() / 1000 - process.started_unix_s : 0;
    fill(state,
      process.draining ? badge("warn", "draining") : badge("good", "answers"),
      el("span", { class: "wide" }, `${process.version} · up ${span(up)} · ${bytes(process.resident_bytes)}`));
  } catch (error) {
    fill(state, badge("bad", error.status === 401 ? "no token" : "no answer"));
  }
}

async function start() {
  try {
    rights = await ask("/rights");
  } catch (error) {
    if (error.status === 401) return;
    // It may answer in a moment; the view says what is wrong until then.
  }
  show();
}

for (const [word, [label]] of Object.entries(VIEWS)) {
  if (label) views.append(el("li", {}, el("a", { href: `#${word}`, "data-view": word }, label)));
}
document.getElementById("skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});
window.addEventListener("hashchange", show);
start();
poll(showState, 5000, new AbortController().signal);
