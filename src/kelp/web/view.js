// The page of `kelp view`: a list of traces, one of them, a repair that goes on, or a function to try.

import { $, make } from "./dom.js";
import { addNode, addPatch, openTrace, setSites } from "./trace.js";

const SAY_EVERY = 5000; // milliseconds between what a screen reader says of a search
const query = new URLSearchParams(location.search);
let going = null; // the events of the repair that goes on
let saidAt = 0;

async function ask(address, body) {
  const sent = body === undefined ? {} : { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
  let answer;
  try { answer = await fetch(address, sent); } catch { throw new Error("kelp view does not answer: it has ended."); }
  const content = await answer.json();
  if (!answer.ok) throw new Error(content.error);
  return content;
}

function complain(error) {
  $("problem").textContent = error === null ? "" : error.message;
  $("problem").hidden = error === null;
}

// ---- a repair that goes on ----------------------------------------------------------------------------------------

function progress(text) {
  $("progress").textContent = text;
  if (Date.now() - saidAt < SAY_EVERY) return;
  saidAt = Date.now();
  $("said").textContent = text;
}

function shown(content, live) {
  $("trace-page").hidden = false;
  document.title = `${content.title} – Kelp`;
  openTrace(content, live);
}

const ACTIONS = {
  progress: ({ text }) => progress(text),
  start: ({ trace }) => shown(trace, true),
  node: ({ node }) => addNode(node),
  sites: ({ node, sites }) => setSites(node, sites),
  patch: ({ patch }) => addPatch(patch),
  done: ({ trace }) => { end(`${trace.status}, after ${trace.runs} test runs`); shown(trace, false); },
  error: ({ text }) => { end("stopped"); complain(new Error(text)); },
};

function end(words) {
  going.close();
  going = null;
  $("live").hidden = true;
  $("said").textContent = words;
}

function watch(id) {
  complain(null);
  going?.close();
  $("trace-page").hidden = true;
  $("live").hidden = false;
  $("live").scrollIntoView({ block: "nearest" });
  saidAt = 0;
  progress("Starting");
  $("stop").onclick = () => ask(`repairs/${id}/stop`, {}).catch(complain);
  going = new EventSource(`repairs/${id}/events`);
  going.onmessage = (event) => {
    const message = JSON.parse(event.data);
    ACTIONS[message.kind](message);
  };
  // The browser tries again for ever: only the server can say whether it is there.
  going.onerror = () => ask("about").catch(({ message }) => { if (going) ACTIONS.error({ text: message }); });
}

// ---- the pages ----------------------------------------------------------------------------------------------------

async function showList(folder) {
  $("list").hidden = false;
  const traces = await ask("traces");
  $("list-note").textContent = traces.length ? folder : `${folder} holds no page of kelp repair --trace.`;
  $("list-items").replaceChildren(...traces.map((trace) => {
    const good = trace.patches > 0;
    const more = `${trace.file}  ${trace.function} · tests ${trace.tests} · ${trace.runs} test runs, ${trace.seconds.toFixed(1)} s`;
    const link = make("a", { href: `?trace=${encodeURIComponent(trace.name)}` },
      make("span", { className: "name" }, trace.name),
      make("span", { className: good ? "status good" : "status" }, trace.status),
      make("span", { className: "more" }, more));
    return make("li", {}, link);
  }));
}

function showTry() {
  $("try").hidden = false;
  const start = async (event) => {
    event.preventDefault();
    try {
      const { id } = await ask("repairs", { source: $("source").value, tests: $("tests-source").value });
      watch(id);
    } catch (error) { complain(error); }
  };
  $("form").addEventListener("submit", start);
  $("form").addEventListener("keydown", (event) => { if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) start(event); });
}

async function main() {
  const about = await ask("about");
  $("to-list").hidden = !about.folder;
  $("to-program").hidden = !about.program;
  $("to-program").textContent = about.program ?? "";
  const name = query.get("trace") ?? about.trace;
  const place = query.has("try") ? "try" : query.has("trace") ? "trace" : query.has("list") ? "list" : about.first;
  const link = $(`to-${place}`) ?? null;
  if (link) link.ariaCurrent = "page";
  if (place === "try") showTry();
  else if (place === "list") await showList(about.folder);
  else if (place === "trace") shown(await ask(`trace?name=${encodeURIComponent(name)}`), false);
  else watch((await ask("repairs", {})).id);
}

main().catch(complain);
