"use strict";
// Everything from the trace reaches the page as text nodes: no HTML is ever parsed from it.

const trace = JSON.parse(document.getElementById("trace").textContent);
const nodes = new Map(trace.nodes.map((node) => [node.id, node]));
const parentOf = (node) => nodes.get(node.parent);

// Only the start brings its source; the others are their parent's with one edit. Offsets in the trace are UTF-8 bytes,
// JavaScript counts UTF-16 units: `at` is where the edit begins in those.
const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
for (const node of trace.nodes) {
  if (!node.edit) continue;
  const before = parentOf(node).source;
  node.at = decoder.decode(encoder.encode(before).subarray(0, node.edit.start)).length;
  node.source = before.slice(0, node.at) + node.edit.new + before.slice(node.at + node.edit.old.length);
}

const $ = (id) => document.getElementById(id);

function make(tag, properties, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

// ---- what the trace says ------------------------------------------------------------------------------------------

const passes = (outcome) => outcome.status === "pass" || outcome.status === "skip";
const passed = (node) => (node.outcomes || []).filter(passes).length;
const byRun = [...trace.nodes].sort((a, b) => (a.run ?? Infinity) - (b.run ?? Infinity) || a.id - b.id);
const start = trace.nodes[0];
const total = trace.tests.length;
const patched = new Set(trace.patches.map((patch) => patch.node));

function pathTo(node) {
  const path = [];
  for (let at = node; at; at = parentOf(at)) path.unshift(at);
  return path;
}

// Where the path leads: the chosen patch, or the best try when nothing passed.
function goal(patch) {
  if (trace.patches.length) return nodes.get(trace.patches[patch].node);
  const better = (a, b) => passed(b) - passed(a) || (b.log_prob ?? -Infinity) - (a.log_prob ?? -Infinity);
  return [...trace.nodes].sort(better)[0];
}

function lineOf(node) {
  return parentOf(node).first_line + node.source.slice(0, node.at).split("\n").length - 1;
}

// ---- Python, colored ---------------------------------------------------------------------------------------------

const words = (text) => new Set(text.split(" "));
const KEYWORDS = words("and as assert async await break class continue def del elif else except finally for from " +
  "global if import in is lambda nonlocal not or pass raise return try while with yield True False None");
const BUILTINS = words("abs all any bool bytes callable chr dict divmod enumerate filter float frozenset getattr hasattr " +
  "hash id int isinstance issubclass iter len list map max min next object open ord pow print range repr reversed round " +
  "self cls set setattr slice sorted str sum super tuple type vars zip");
const TOKEN = new RegExp([
  /(?<comment>#[^\n]*)/,
  /(?<string>[rbuft]{0,2}(?:"""(?:\\[^]|[^\\])*?(?:"""|(?![^]))|'''(?:\\[^]|[^\\])*?(?:'''|(?![^]))|"(?:\\[^]|[^"\\\n])*"?|'(?:\\[^]|[^'\\\n])*'?))/,
  /(?<number>0[xob][\da-f_]+|(?:\d[\d_]*\.?[\d_]*|\.\d[\d_]*)(?:e[+-]?\d+)?j?)/,
  /(?<word>[\p{L}_][\p{L}\p{N}\p{M}_]*)/,
  /(?<at>@)/,
].map((part) => part.source).join("|"), "giu");

// [start, end, class] of every token that has a color.
function tokens(source) {
  const found = [];
  let before = "";
  for (const match of source.matchAll(TOKEN)) {
    const { comment, string, number, word, at } = match.groups;
    let kind = null;
    if (comment !== undefined) kind = "c";
    else if (string !== undefined) kind = "s";
    else if (number !== undefined) kind = "n";
    else if (at !== undefined) kind = /(^|\n)[ \t]*$/.test(source.slice(Math.max(0, match.index - 200), match.index)) ? "a" : null;
    else if (before === "def" || before === "class") kind = "d";
    else if (before === "@") kind = "a";
    else if (KEYWORDS.has(word)) kind = "k";
    else if (BUILTINS.has(word) && source[match.index - 1] !== ".") kind = "b";
    if (kind) found.push([match.index, match.index + match[0].length, kind]);
    before = at !== undefined && kind ? "@" : word;
  }
  return found;
}

const tokensOf = new Map();
function pieces(node, from, to, mark) {
  if (!tokensOf.has(node.id)) tokensOf.set(node.id, tokens(node.source));
  const out = [];
  const push = (start, end, kind) => start < end && out.push({ text: node.source.slice(start, end), kind, mark });
  let at = from;
  for (const [start, end, kind] of tokensOf.get(node.id)) {
    if (end <= at) continue;
    if (start >= to) break;
    push(at, Math.max(start, at), null);
    push(Math.max(start, at), Math.min(end, to), kind);
    at = Math.min(end, to);
  }
  push(at, to, null);
  return out;
}

// ---- the program, with the edit that made it ----------------------------------------------------------------------

function programPieces(node) {
  const source = node.source;
  if (!node.edit) return pieces(node, 0, source.length, "");
  const from = node.at, until = from + node.edit.new.length;
  return [
    ...pieces(node, 0, from, ""),
    ...pieces(parentOf(node), from, from + node.edit.old.length, "del"),
    ...pieces(node, from, until, "ins"),
    ...pieces(node, until, source.length, ""),
  ];
}

// Rows of pieces. A row's number is its line in the new program; a row with nothing but removed text has none.
function programRows(node) {
  const rows = [];
  let row = { pieces: [], line: null };
  let line = node.first_line;
  let numbered = false;
  const close = (mark) => {
    const kept = row.pieces.some((piece) => piece.mark !== "del");
    if (!numbered && (kept || mark !== "del")) { row.line = line; numbered = true; }
    rows.push(row);
    row = { pieces: [], line: null };
    if (mark !== "del") { line += 1; numbered = false; }
  };
  for (const piece of programPieces(node)) {
    const parts = piece.text.split("\n");
    parts.forEach((text, i) => {
      const shown = text.replace(/\r$/, "");
      if (shown) row.pieces.push({ ...piece, text: shown });
      if (i < parts.length - 1) close(piece.mark);
    });
  }
  if (row.pieces.length) close("");
  return rows;
}

function rowElement({ pieces: list, line }) {
  const row = make("div", { className: "row" });
  if (line !== null) row.dataset.line = line;
  let group = null;
  for (const piece of list) {
    const text = piece.kind ? make("span", { className: piece.kind }, piece.text) : piece.text;
    if (!piece.mark) { row.append(text); group = null; continue; }
    if (!group || group.localName !== piece.mark) { group = make(piece.mark, {}); row.append(group); }
    group.append(text);
  }
  const marks = new Set(list.map((piece) => piece.text.trim() ? piece.mark : piece.mark || null).filter((mark) => mark !== null));
  if (marks.has("del") || marks.has("ins")) {
    row.classList.add(marks.size > 1 ? "changed" : marks.has("del") ? "removed" : "added");
  }
  return row;
}

// The row of the function under repair: in a long file, the place to look at first.
function definition(rows) {
  const name = trace.function ? trace.function.split(".").at(-1) : "";
  return name && [...rows.children].find((row) => row.querySelector(".d")?.textContent === name);
}

function showProgram(node) {
  const rows = make("div", { className: "rows" }, ...programRows(node).map(rowElement));
  const box = $("program");
  box.replaceChildren(rows);
  const edited = rows.querySelector("ins, del") || definition(rows);
  if (edited) {
    const top = edited.offsetTop, height = box.clientHeight;
    if (top < box.scrollTop + 20 || top > box.scrollTop + height - 60) box.scrollTop = top - height / 3;
  }
  $("edit-note").textContent = node.edit ? `edit ${node.depth}, line ${lineOf(node)}` : "as it was given";
}

// ---- tests --------------------------------------------------------------------------------------------------------

const MARKS = { pass: "✓", fail: "✕", error: "!", timeout: "…", skip: "–", unknown: "?" };
const outcomesOf = (node) => new Map((node.outcomes || []).map((outcome) => [outcome.name, outcome]));
// What fails at the start stands first, in every step alike, so that the eye can stay where it is.
const failing = outcomesOf(start);
const testOrder = [...trace.tests].sort((a, b) => Number(passesAtStart(a)) - Number(passesAtStart(b)));
function passesAtStart(name) { return failing.has(name) && passes(failing.get(name)); }
// "test_slugs.py::" in front of every name says nothing.
const firstFile = (trace.tests[0] || "").match(/^[^()'"]*?\.py::/)?.[0] ?? "";  // asserts are of no file
const skipped = trace.tests.every((test) => test.startsWith(firstFile)) ? firstFile.length : 0;
// Long names may break after an underscore.
const shortName = (name) => name.slice(skipped).split(/(?<=_)(?=.)/).flatMap((part, i) => i ? [make("wbr", {}), part] : [part]);

function showTests(node) {
  const now = outcomesOf(node), before = parentOf(node) ? outcomesOf(parentOf(node)) : new Map();
  $("tests").replaceChildren(...testOrder.map((name) => {
    const outcome = now.get(name), earlier = before.get(name), status = outcome ? outcome.status : "unknown";
    const turned = outcome && earlier && passes(outcome) !== passes(earlier);
    const item = make("li", { className: turned ? status + " turned" : status },
      make("span", { className: "mark", ariaHidden: "true" }, MARKS[status]),
      make("span", { className: "name mono", title: `${name}: ${status === "unknown" ? "not run" : status}` }, ...shortName(name)));
    if (turned) item.append(make("span", { className: "turn" }, passes(outcome) ? "fixed" : "broken"));
    if (outcome && outcome.message && status !== "pass") item.append(make("pre", { className: "message" }, outcome.message));
    return item;
  }));
  $("tests-note").textContent = node.outcomes ? `${passed(node)} of ${total} pass` : "not run";
}

// ---- candidates ---------------------------------------------------------------------------------------------------

function shorten(text, most) {
  const flat = text.trim().replace(/\s*\n\s*/g, " ⏎ ");
  return flat.length > most ? flat.slice(0, most - 1) + "…" : flat;
}
function editWords(edit, most, tag) {
  const old = make(tag, { className: "old" }, shorten(edit.old, most)), fresh = make(tag, { className: "new" }, shorten(edit.new, most));
  if (!edit.old.trim()) return ["insert ", fresh];
  if (!edit.new.trim()) return ["delete ", old];
  return [old, make("span", { className: "arrow" }, " → "), fresh];
}
const number = (value, digits) => value === null ? "–" : value.toFixed(digits).replace("-", "−");

const rowOf = new Map();
function buildCandidates() {
  for (const node of byRun) {
    const all = patched.has(node.id) || (total > 0 && passed(node) === total);
    const parent = parentOf(node);
    const meta = [node.origin === "start" ? "start" : `${node.origin} · log-prob ${number(node.log_prob, 2)}`];
    if (node.edit) meta.push(`line ${lineOf(node)}`);
    if (node.depth > 1) meta.push(`after ${parent.run === null ? "node " + parent.id : "#" + parent.run}`);
    const row = make("button", { type: "button", className: all ? "all" : "", tabIndex: -1 },
      make("span", { className: "rank" }, node.run === null ? "–" : `#${node.run}`),
      make("span", { className: "what" }, ...(node.edit ? editWords(node.edit, 60, "span") : ["the program as given"])),
      make("span", { className: "passed" }, node.outcomes ? `${passed(node)}/${total}` : "not run"),
      make("span", { className: "meta" }, meta.join(" · ")));
    row.setAttribute("role", "option");
    row.addEventListener("click", () => goTo(node));
    rowOf.set(node.id, row);
  }
  $("candidates").replaceChildren(...rowOf.values());
  $("candidates").addEventListener("keydown", (event) => {
    const move = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!move) return;
    event.preventDefault();
    const next = byRun[byRun.indexOf(state.node) + move];
    if (next) { goTo(next); rowOf.get(next.id).focus(); }
  });
}

let selected = null;
function showCandidate(node) {
  if (selected) { selected.tabIndex = -1; selected.setAttribute("aria-selected", "false"); }
  selected = rowOf.get(node.id);
  selected.tabIndex = 0;
  selected.setAttribute("aria-selected", "true");
  const box = $("candidates"), top = selected.offsetTop - box.offsetTop;
  if (top < box.scrollTop || top + selected.offsetHeight > box.scrollTop + box.clientHeight) box.scrollTop = top - box.clientHeight / 3;
}

// ---- patches ------------------------------------------------------------------------------------------------------

function showPatch() {
  $("patch-card").hidden = !trace.patches.length;
  if (!trace.patches.length) return;
  const lines = trace.patches[state.patch].diff.replace(/\n$/, "").split("\n");
  $("diff").replaceChildren(make("div", { className: "rows" }, ...lines.map((line) => {
    const head = /^(---|\+\+\+|@@|diff |index )/.test(line);
    const kind = head ? "head" : line[0] === "+" ? "added" : line[0] === "-" ? "removed" : "";
    return make("div", { className: `row ${kind}` }, line);
  })));
  $("patch-chips").replaceChildren(...(trace.patches.length > 1 ? trace.patches : []).map((patch, i) => {
    const chip = make("button", { type: "button", title: `log-prob ${number(patch.log_prob, 2)}` }, `${i + 1}`);
    chip.setAttribute("aria-label", `Patch ${i + 1}`);
    chip.setAttribute("aria-pressed", String(i === state.patch));
    chip.addEventListener("click", () => { state.patch = i; state.mode = "path"; goTo(goal(i)); });
    return chip;
  }));
}

// ---- the timeline: one state, shown everywhere --------------------------------------------------------------------

const state = { mode: "path", patch: 0, node: start };
let timer = null;
const items = () => state.mode === "path" ? pathTo(goal(state.patch)) : byRun;

function goTo(node) {
  state.node = node;
  if (!items().includes(node)) state.mode = "tried";
  show();
}
function goToIndex(index) { goTo(items()[Math.max(0, Math.min(items().length - 1, index))]); }
function step(by) { goToIndex(items().indexOf(state.node) + by); }

let barsFor = null;
function showBars(list) {
  const key = `${state.mode} ${state.patch}`;
  if (barsFor !== key) {
    barsFor = key;
    // A path of two steps needs no slider across the whole page.
    $("track").style.maxWidth = state.mode === "path" ? `${18 + 180 * Math.max(1, list.length - 1)}px` : "none";
    const width = `max(2px, min(14px, ${70 / list.length}%))`;
    $("bars").replaceChildren(...list.map((node, i) => {
      const all = total > 0 && passed(node) === total;
      const bar = make("i", { className: !node.outcomes ? "unknown" : all ? "all" : "" });
      bar.style.setProperty("--at", list.length > 1 ? i / (list.length - 1) : 0);
      bar.style.setProperty("--passed", `${total ? 100 * passed(node) / total : 0}%`);
      bar.style.setProperty("--width", width);
      return bar;
    }));
  }
  const index = list.indexOf(state.node);
  [...$("bars").children].forEach((bar, i) => bar.classList.toggle("now", i === index));
  Object.assign($("slider"), { max: list.length - 1, value: index, disabled: list.length < 2 });
  $("slider").setAttribute("aria-valuetext", `${index + 1} of ${list.length}`);
  $("back").disabled = index <= 0;
  $("forward").disabled = index >= list.length - 1;
}

function stepWords(node, list) {
  const index = list.indexOf(node), parent = parentOf(node);
  const words = [make("b", {}, state.mode === "path" ? (index ? `Edit ${index} of ${list.length - 1}` : "Start") : `Try ${index + 1} of ${list.length}`), "  "];
  words.push(node.outcomes ? `${passed(node)} of ${total} tests pass` : "not run");
  const gain = node.outcomes && parent && parent.outcomes ? passed(node) - passed(parent) : 0;
  if (gain) words.push(" ", make("span", { className: gain > 0 ? "gain" : "loss" }, gain > 0 ? `+${gain}` : `−${-gain}`));
  return node.edit ? [...words, "  ", ...editWords(node.edit, 32, "code")] : words;
}

function show() {
  const list = items();
  showBars(list);
  showProgram(state.node);
  showTests(state.node);
  showCandidate(state.node);
  showPatch();
  $("step").replaceChildren(...stepWords(state.node, list));
  for (const mode of ["path", "tried"]) $(`mode-${mode}`).setAttribute("aria-pressed", String(state.mode === mode));
  if (timer !== null && state.node === list.at(-1)) play(false);
  const place = state.mode === "path" ? `#node=${state.node.id}` : `#tried=${list.indexOf(state.node) + 1}`;
  try { history.replaceState(null, "", place); } catch { /* some viewers forbid it: the page works without */ }
}

function play(on) {
  clearInterval(timer);
  timer = null;
  if (on) {
    if (state.node === items().at(-1)) goToIndex(0);
    timer = setInterval(() => step(1), state.mode === "path" ? 1600 : Math.max(250, Math.min(1200, 30000 / byRun.length)));
  }
  $("play").classList.toggle("on", on);
  $("play").setAttribute("aria-label", on ? "Pause" : "Play");
}

// #node=3 opens at that node, #tried=5 at the fifth try.
function openAt(fragment) {
  const place = /^#(node|tried)=(\d+)$/.exec(fragment);
  const wanted = place && (place[1] === "node" ? nodes.get(Number(place[2])) : byRun[Number(place[2]) - 1]);
  if (wanted) state.mode = place[1] === "node" ? "path" : "tried";
  goTo(wanted || start);
}

// ---- the header, once ---------------------------------------------------------------------------------------------

function buildHeader() {
  $("title").textContent = trace.title;
  $("file").textContent = trace.file;
  $("function").textContent = trace.function ? `  ${trace.function}` : "";
  $("intent").textContent = trace.intent;
  const good = trace.patches.length > 0;
  const status = trace.status.charAt(0).toUpperCase() + trace.status.slice(1);
  const end = goal(0);
  const figure = (label, value, className = "") => make("div", {}, make("dt", {}, label), make("dd", { className }, value));
  $("figures").append(
    figure("verdict", status, good ? "verdict good" : "verdict"),
    figure("tests passing", end === start ? `${passed(end)}/${total}` : `${passed(start)} → ${passed(end)} of ${total}`),
    figure(trace.runs === 1 ? "test run" : "test runs", String(trace.runs)),
    figure("seconds", trace.seconds.toFixed(trace.seconds < 10 ? 2 : 0)),
    figure("valid programs", `${Math.floor(1000 * trace.validity) / 10} %`));
  if (!good) $("mode-path").textContent = "Path to the best try";
}

buildHeader();
buildCandidates();
$("back").addEventListener("click", () => step(-1));
$("forward").addEventListener("click", () => step(1));
$("play").addEventListener("click", () => play(timer === null));
$("slider").addEventListener("input", (event) => goToIndex(Number(event.target.value)));
$("bars").addEventListener("click", (event) => {
  const box = $("bars").getBoundingClientRect(), last = items().length - 1;
  goToIndex(Math.round((event.clientX - box.left - 9) / (box.width - 18) * last));
});
for (const mode of ["path", "tried"]) {
  $(`mode-${mode}`).addEventListener("click", () => {
    play(false);
    state.mode = mode;
    goTo(items().includes(state.node) ? state.node : start);
  });
}
const scrollsSideways = (box) => box !== null && box.scrollWidth > box.clientWidth;
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const inside = (selector) => event.target.closest(selector);
  const moves = { ArrowLeft: () => step(-1), ArrowRight: () => step(1), Home: () => goToIndex(0), End: () => goToIndex(Infinity) };
  if (event.key === " " && !inside("button, input")) play(timer === null);
  else if (moves[event.key] && !inside("input") && !scrollsSideways(inside(".code"))) moves[event.key]();
  else return;
  event.preventDefault();
});
addEventListener("hashchange", () => openAt(location.hash));
openAt(location.hash);
