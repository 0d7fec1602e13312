import { $, make } from "./dom.js";
// Everything from the examples reaches the page as text nodes: no HTML is ever parsed from it.

const { source, tables, examples } = JSON.parse(document.getElementById("examples").textContent);
const state = { filter: "all", index: examples[0]?.index };

const clear = (id) => { $(id).replaceChildren(); return $(id); };

// ---- which examples ------------------------------------------------------------------------------------------------

const FILTERS = {
  all: () => true,
  "one mutation": (e) => e.kinds.length === 1,
  "several": (e) => e.kinds.length > 1,
  "random program": (e) => e.start === "random program",
  stop: (e) => e.start === "stop",
  "breaks a test": (e) => e.breaks === true,
  "breaks none": (e) => e.breaks === false,
  "left out": (e) => e.dropped !== null,
};
const listed = () => examples.filter(FILTERS[state.filter]);

function outcome(e) {
  if (e.dropped !== null) return ["", "–", `left out: ${e.dropped}`];
  if (e.start === "stop") return ["good", "✓", "clean: the answer is to stop"];
  if (e.breaks === null) return ["", "?", "no test was run"];
  return e.breaks ? ["bad", "✕", "breaks a test"] : ["unsure", "~", "breaks no test"];
}

function showList() {
  const some = listed();
  if (!some.some((e) => e.index === state.index)) state.index = some[0]?.index;
  $("examples-note").textContent = `${some.length}`;
  clear("filters").append(...Object.keys(FILTERS).filter((name) => examples.some(FILTERS[name])).map((name) => {
    const button = make("button", { type: "button", onclick: () => { state.filter = name; show(); } }, name);
    button.setAttribute("aria-pressed", name === state.filter);
    return button;
  }));
  clear("list").append(...some.map((e) => {
    const [className, mark, words] = outcome(e);
    const button = make("button", { type: "button", onclick: () => { state.index = e.index; show(); } },
      make("span", { className: "name" }, `${e.index} ${e.name}`),
      make("span", { className: "dots" }, make("i", { className, title: words }, mark)));
    button.setAttribute("role", "option");
    button.setAttribute("aria-selected", e.index === state.index);
    return button;
  }));
  const chosen = $("list").querySelector("[aria-selected=true]"), box = $("list");
  if (chosen) box.scrollTop = Math.max(0, chosen.offsetTop - box.offsetTop - box.clientHeight / 2);
}

// ---- one of them ---------------------------------------------------------------------------------------------------

const visible = (text) => text.replaceAll("\n", "⏎").replaceAll(" ", "␣");
const shown = (text) => text.trim() ? text.trim() : visible(text);

function edit(step, ...more) {
  const old = make("code", { className: "old" }, shown(step.old)), fresh = make("code", { className: "new" }, shown(step.new));
  const what = !step.old ? ["insert ", fresh] : !step.new ? ["delete ", old] : [old, " → ", fresh];
  return make("li", {}, make("span", { className: "note" }, `line ${step.line} `), ...what, ...more);
}

function showExample() {
  for (const id of ["program", "answers", "path", "sees", "tests"]) clear(id);
  const e = examples.find((one) => one.index === state.index);
  $("name").textContent = e ? `${e.index} ${e.name}` : "no such example";
  if (!e) return;
  const [, , words] = outcome(e);
  $("origin").textContent = e.origin;
  $("how").textContent = [e.start, e.kinds.join(", "), words].filter(Boolean).join(" · ");
  $("program").append(make("div", { className: "rows" }, ...e.diff.map((line) =>
    make("div", { className: `row ${{ "+": "added", "-": "removed" }[line[0]] ?? ""}` }, line))));
  $("answers").append(...e.targets.map((target) => edit(target, make("span", { className: "note" },
    `${target.op} ${target.category}${target.new && !target.written ? " (site only)" : ""}`))));
  if (!e.targets.length) $("answers").append(make("li", {}, "stop"));
  $("path").append(...e.path.map((step) => edit(step)));
  $("path-note").textContent = e.path.length === 1 ? "1 edit" : `${e.path.length} edits`;
  $("sees-note").textContent = `${e.prefix} tokens; ${e.suffix} are written in ${e.edits === 1 ? "1 edit" : `${e.edits} edits`}`;
  showTokens(e);
  $("tests-note").textContent = e.shows.length ? `model input: ${e.shows.join(", ")}` : "none in the model input";
  const marks = { pass: "✓", fail: "✕", error: "!", timeout: "…", skip: "–" };
  $("tests").append(...e.tests.map((test) => {
    const item = make("li", { className: test.status }, make("span", { className: "mark", title: test.status }, marks[test.status] ?? "?"),
      make("span", { className: "name mono" }, test.name));
    if (test.message) item.append(make("pre", { className: "message" }, test.message));
    return item;
  }));
  if (!e.tests.length) $("tests").append(make("li", {}, make("span"), make("span", { className: "name" }, "none")));
}

function showTokens(e) {
  let part = null;
  for (const token of e.sees) {
    if (!part || ["<intent>", "<spec>", "<obs>", "<program>"].includes(token.special && token.text)) {
      part = make("div");
      $("sees").append(part);
    }
    const space = !token.special && !token.text.trim();
    const text = token.special ? token.text : visible(token.text);
    part.append(make("i", { className: [token.special ? "special" : space ? "space" : "", token.mark].join(" ") }, text));
    if (!token.special && token.text.includes("\n")) part.append(make("br"));
  }
}

// ---- the figures ---------------------------------------------------------------------------------------------------

function showTables() {
  for (const [title, [head, ...lines]] of Object.entries(tables)) {
    const row = (cells, first, other) => make("tr", {}, ...cells.map((cell, i) => make(i ? other : first, {}, cell)));
    const table = make("table", {}, make("thead", {}, row(head, "th", "th")),
      make("tbody", {}, ...lines.map((cells) => row(cells, "th", "td"))));
    $("tables").append(make("section", { className: "card" }, make("h2", {}, title), make("div", { className: "scroll" }, table)));
  }
}

function show() {
  showList();
  showExample();
}

$("title").textContent = `kelp data inspect ${source}`;
$("drawn").textContent = examples.length === 1 ? "1 example" : `${examples.length} examples, drawn from everywhere`;
showTables();
show();
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const some = listed(), at = some.findIndex((e) => e.index === state.index);
  const next = some[at + ({ ArrowUp: -1, ArrowDown: 1 }[event.key] ?? NaN)];
  if (!next) return;
  state.index = next.index;
  show();
  event.preventDefault();
});
