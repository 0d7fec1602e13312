// A repair to step through: a saved one, or one that goes on, whose programs are added as they come.

import { $, make } from "./dom.js";
import { percent, programElement, sitesOf, units } from "./program.js";
import { drawTree } from "./tree.js";

let trace, nodes, byRun, start, total, patched; // of the repair that is shown
let live = false; // it goes on
let following = false; // each new program is shown
const parentOf = (node) => nodes.get(node.parent);

// ---- opening, and adding to what is open --------------------------------------------------------------------------

export function openTrace(content, goesOn = false) {
  const last = live && !goesOn ? state.node.id : null; // shown when the repair came to its end
  trace = content;
  live = goesOn;
  nodes = new Map();
  trace.nodes.forEach(take);
  start = trace.nodes[0];
  total = trace.tests.length;
  patched = new Set(trace.patches.map((patch) => patch.node));
  byRun = [...trace.nodes].sort((a, b) => (a.run ?? Infinity) - (b.run ?? Infinity) || a.id - b.id);
  orderTests();
  buildCandidates();
  barsFor = treeFor = null;
  buildHeader();
  $("step").ariaLive = live ? "off" : "polite"; // it would speak without end
  if (live) {
    following = true;
    Object.assign(state, { mode: "tried", patch: 0, node: start });
    show();
  } else if (last === null) {
    openAt(location.hash);
  } else if (following) {
    Object.assign(state, { mode: "path", patch: 0 });
    goTo(goal(0));
  } else {
    goTo(nodes.get(last) ?? start);
  }
}

export function addNode(node) {
  trace.nodes.push(node);
  take(node);
  byRun.push(node);
  Object.assign(trace, { runs: node.run, seconds: node.seconds });
  addCandidate(node);
  if (following) state.node = node;
  showSoon();
}

export function setSites(id, sites) {
  if (nodes.has(id)) nodes.get(id).sites = sites;
  showSoon();
}

export function addPatch(patch) {
  trace.patches.push(patch);
  patched.add(patch.node);
  rowOf.get(patch.node).classList.add("all");
  showSoon();
}

let due = false;
function showSoon() {
  if (due) return;
  due = true;
  requestAnimationFrame(() => { due = false; buildHeader(); show(); });
}

// Only the start brings its source; the others are their parent's with one edit, which begins at `at`.
function take(node) {
  nodes.set(node.id, node);
  if (!node.edit) return;
  const before = parentOf(node).source;
  node.at = units(before, [node.edit.start])[0];
  node.source = before.slice(0, node.at) + node.edit.new + before.slice(node.at + node.edit.old.length);
}

// ---- what the trace says ------------------------------------------------------------------------------------------

const passes = (outcome) => outcome.status === "pass" || outcome.status === "skip";
const passed = (node) => (node.outcomes || []).filter(passes).length;
const isPatch = (node) => patched.has(node.id) || (total > 0 && passed(node) === total);

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

const lineAt = (node, at) => node.first_line + node.source.slice(0, at).split("\n").length - 1;
const lineOf = (node) => lineAt(parentOf(node), node.at);

// ---- the program --------------------------------------------------------------------------------------------------

// The row of the function under repair: in a long file, the place to look at first.
function definition(rows) {
  const name = trace.function ? trace.function.split(".").at(-1) : "";
  return name && [...rows.children].find((row) => row.querySelector(".d")?.textContent === name);
}

function brightest(rows) {
  const light = (element) => Number(element.style.getPropertyValue("--light"));
  return [...rows.querySelectorAll(".site, .gap")].sort((a, b) => light(b) - light(a))[0];
}

function showProgram(node) {
  const rows = programElement(node, parentOf(node));
  const box = $("program");
  box.replaceChildren(rows);
  const edited = rows.querySelector("ins, del") || brightest(rows) || definition(rows);
  if (edited) {
    const top = edited.offsetTop, height = box.clientHeight;
    if (top < box.scrollTop + 20 || top > box.scrollTop + height - 60) box.scrollTop = top - height / 3;
  }
  $("edit-note").textContent = node.edit ? `edit ${node.depth}, line ${lineOf(node)}` : "as it was given";
  showSites(node);
}

// The likeliest sites in words.
function showSites(shown) {
  const next = !shown.edit || shown.sites?.length > 0, node = next ? shown : parentOf(shown);
  const sites = sitesOf(node).slice(0, 3);
  $("sites").hidden = !sites.length;
  $("sites-of").textContent = next ? "Where the model would edit next" : "Where the model would edit";
  const words = sites.map(([at, end, share]) => {
    const text = shorten(node.source.slice(at, end), 24);
    const what = text ? make("code", {}, text) : at < end ? "indent" : "insertion";
    return make("li", {}, what, ` line ${lineAt(node, at)}, ${percent(share)}`);
  });
  $("sites-list").replaceChildren(...words);
}

// ---- tests --------------------------------------------------------------------------------------------------------

const MARKS = { pass: "✓", fail: "✕", error: "!", timeout: "…", skip: "–", unknown: "?" };
const WORDS = { pass: "passes", fail: "fails", error: "ends in an error", timeout: "takes too long", skip: "is skipped", unknown: "was not run" };
const outcomesOf = (node) => new Map((node.outcomes || []).map((outcome) => [outcome.name, outcome]));
let testOrder, skipped;
function orderTests() {
  // What fails at the start stands first, in every step alike, so that the eye can stay where it is.
  const first = outcomesOf(start), passesAtStart = (name) => first.has(name) && passes(first.get(name));
  testOrder = [...trace.tests].sort((a, b) => Number(passesAtStart(a)) - Number(passesAtStart(b)));
  // "test_slugs.py::" in front of every name says nothing.
  const firstFile = (trace.tests[0] || "").match(/^[^()'"]*?\.py::/)?.[0] ?? ""; // asserts are of no file
  skipped = trace.tests.every((test) => test.startsWith(firstFile)) ? firstFile.length : 0;
}
// Long names may break after an underscore.
const shortName = (name) => name.slice(skipped).split(/(?<=_)(?=.)/).flatMap((part, i) => i ? [make("wbr", {}), part] : [part]);

function showTests(node) {
  const now = outcomesOf(node), before = parentOf(node) ? outcomesOf(parentOf(node)) : new Map();
  $("tests").replaceChildren(...testOrder.map((name) => {
    const outcome = now.get(name), earlier = before.get(name), status = outcome ? outcome.status : "unknown";
    const turned = outcome && earlier && passes(outcome) !== passes(earlier);
    const item = make("li", { className: turned ? status + " turned" : status },
      make("span", { className: "mark", ariaHidden: "true" }, MARKS[status]),
      make("span", { className: "name mono", title: `${name}: ${status === "unknown" ? "not run" : status}` }, ...shortName(name)),
      make("span", { className: "unseen" }, ` ${WORDS[status]}`));
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
  if (!edit.old.trim() && !edit.new.trim()) return ["another indent"];
  if (!edit.old.trim()) return ["insert ", fresh];
  if (!edit.new.trim()) return ["delete ", old];
  return [old, make("span", { className: "arrow" }, " → "), fresh];
}
const number = (value, digits) => value === null ? "–" : value.toFixed(digits).replace("-", "−");

const rowOf = new Map();
let selected = null;
function buildCandidates() {
  rowOf.clear();
  selected = null;
  $("candidates").replaceChildren();
  byRun.forEach(addCandidate);
}
function addCandidate(node) {
  const parent = parentOf(node);
  const meta = [node.origin === "start" ? "start" : `${node.origin} · log-prob ${number(node.log_prob, 2)}`];
  if (node.edit) meta.push(`line ${lineOf(node)}`);
  if (node.depth > 1) meta.push(`after ${parent.run === null ? "node " + parent.id : "#" + parent.run}`);
  const row = make("button", { type: "button", className: isPatch(node) ? "all" : "", tabIndex: -1 },
    make("span", { className: "rank" }, node.run === null ? "–" : `#${node.run}`),
    make("span", { className: "what" }, ...(node.edit ? editWords(node.edit, 60, "span") : ["the program as given"])),
    make("span", { className: "passed" }, node.outcomes ? `${passed(node)}/${total}` : "not run"),
    make("span", { className: "meta" }, meta.join(" · ")));
  row.setAttribute("role", "option");
  row.setAttribute("aria-selected", "false");
  row.addEventListener("click", () => choose(node));
  rowOf.set(node.id, row);
  $("candidates").append(row);
}

function showCandidate(node) {
  if (selected) { selected.tabIndex = -1; selected.setAttribute("aria-selected", "false"); }
  selected = rowOf.get(node.id);
  selected.tabIndex = 0;
  selected.setAttribute("aria-selected", "true");
  const box = $("candidates"), top = selected.offsetTop - box.offsetTop;
  if (top < box.scrollTop || top + selected.offsetHeight > box.scrollTop + box.clientHeight) box.scrollTop = top - box.clientHeight / 3;
}

// ---- the branch tree ----------------------------------------------------------------------------------------------

function kindOf(node) {
  if (!node.outcomes) return "unknown";
  if (isPatch(node)) return "all";
  const change = passed(node) - passed(start);
  return change > 0 ? "better" : change < 0 ? "worse" : "same";
}
const said = (node) => `#${node.run ?? "–"}: ${passed(node)} of ${total} tests pass${node.edit ? `, ${shorten(node.edit.old, 30)} → ${shorten(node.edit.new, 30)}` : ""}`;

let treeFor = null, tree = null;
function showTree() {
  const box = $("tree-box"), key = `${trace.nodes.length} ${trace.patches.length} ${box.clientWidth}`;
  if (treeFor !== key) {
    treeFor = key;
    tree = drawTree($("tree"), byRun, box.clientWidth - 4, { kind: kindOf, title: said, choose });
    const deepest = Math.max(...byRun.map((node) => node.depth));
    $("tree").setAttribute("aria-label", `${byRun.length} programs, at most ${deepest} ${deepest === 1 ? "edit" : "edits"} deep; the list of candidates has each`);
    $("tree-note").textContent = `${byRun.length} programs, up to ${deepest} ${deepest === 1 ? "edit" : "edits"}`;
  }
  const way = new Set(pathTo(state.node).map((node) => node.id));
  for (const [id, dot] of tree.dots) {
    dot.classList.toggle("way", way.has(id));
    dot.classList.toggle("now", id === state.node.id);
  }
  for (const [id, line] of tree.lines) line.classList.toggle("way", way.has(id));
  const at = Number(tree.dots.get(state.node.id).getAttribute("cx"));
  if (at < box.scrollLeft + 20 || at > box.scrollLeft + box.clientWidth - 20) box.scrollLeft = at - box.clientWidth / 2;
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
    chip.addEventListener("click", () => { state.patch = i; state.mode = "path"; choose(goal(i)); });
    return chip;
  }));
}

// A page from a file may have no clipboard: then the patch is selected, for the person to copy it.
async function copyPatch() {
  let words = "Copied";
  try { await navigator.clipboard.writeText(trace.patches[state.patch].diff); }
  catch { getSelection().selectAllChildren($("diff")); words = "Selected"; }
  $("copy").textContent = words;
  setTimeout(() => { $("copy").textContent = "Copy patch"; }, 1500);
}

// ---- the timeline: one state, shown everywhere --------------------------------------------------------------------

const state = { mode: "path", patch: 0, node: null };
let timer = null;
const items = () => state.mode === "path" ? pathTo(goal(state.patch)) : byRun;

function goTo(node) {
  state.node = node;
  if (!items().includes(node)) state.mode = "tried";
  show();
}
// As goTo, by a person: a repair that goes on is followed again from its last program on.
function choose(node) { following = node === byRun.at(-1); goTo(node); }
function goToIndex(index) { choose(items()[Math.max(0, Math.min(items().length - 1, index))]); }
function step(by) { goToIndex(items().indexOf(state.node) + by); }

let barsFor = null;
function showBars(list) {
  const key = `${state.mode} ${state.patch} ${list.length}`;
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
  $("track").hidden = list.length < 2;
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
  showTree();
  showPatch();
  $("step").replaceChildren(...stepWords(state.node, list));
  for (const mode of ["path", "tried"]) $(`mode-${mode}`).setAttribute("aria-pressed", String(state.mode === mode));
  if (timer !== null && state.node === list.at(-1)) play(false);
  if (live) return;
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
  Object.assign(state, { mode: place && wanted && place[1] === "tried" ? "tried" : "path", patch: 0 });
  goTo(wanted || start);
}

// ---- the header ---------------------------------------------------------------------------------------------------

function buildHeader() {
  $("title").textContent = trace.title;
  $("file").textContent = trace.file;
  $("function").textContent = trace.function ? `  ${trace.function}` : "";
  $("intent").textContent = trace.intent;
  const good = trace.patches.length > 0;
  const status = trace.status.charAt(0).toUpperCase() + trace.status.slice(1);
  const end = goal(0);
  const figure = (label, value, className = "") => make("div", {}, make("dt", {}, label), make("dd", { className }, value));
  $("figures").replaceChildren(
    figure("verdict", status, live ? "verdict going" : good ? "verdict good" : "verdict"),
    figure("tests passing", end === start ? `${passed(end)}/${total}` : `${passed(start)} → ${passed(end)} of ${total}`),
    figure(trace.runs === 1 ? "test run" : "test runs", String(trace.runs)),
    figure("seconds", trace.seconds.toFixed(trace.seconds < 10 ? 2 : 0)));
  if (!live) $("figures").append(figure("valid programs", `${Math.floor(1000 * trace.validity) / 10} %`));
  $("mode-path").textContent = good ? "To the patch" : "To the best try";
}

// ---- what a person does -------------------------------------------------------------------------------------------

$("back").addEventListener("click", () => step(-1));
$("play").addEventListener("click", () => play(timer === null));
$("forward").addEventListener("click", () => step(1));
$("copy").addEventListener("click", copyPatch);
$("slider").addEventListener("input", (event) => goToIndex(Number(event.target.value)));
$("bars").addEventListener("click", (event) => {
  const box = $("bars").getBoundingClientRect(), last = items().length - 1;
  goToIndex(Math.round((event.clientX - box.left - 9) / (box.width - 18) * last));
});
for (const mode of ["path", "tried"]) {
  $(`mode-${mode}`).addEventListener("click", () => {
    play(false);
    state.mode = mode;
    choose(items().includes(state.node) ? state.node : start);
  });
}
$("candidates").addEventListener("keydown", (event) => {
  const move = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (!move) return;
  event.preventDefault();
  const next = byRun[byRun.indexOf(state.node) + move];
  if (next) { choose(next); rowOf.get(next.id).focus(); }
});
const scrollsSideways = (box) => box !== null && box.scrollWidth > box.clientWidth;
document.addEventListener("keydown", (event) => {
  if (!trace || event.ctrlKey || event.metaKey || event.altKey) return;
  const inside = (selector) => event.target.closest(selector);
  const moves = { ArrowLeft: () => step(-1), ArrowRight: () => step(1), Home: () => goToIndex(0), End: () => goToIndex(Infinity) };
  if (event.key === " " && !inside("button, input, textarea, a, summary")) play(timer === null);
  else if (moves[event.key] && !inside("input, textarea") && !scrollsSideways(inside(".code"))) moves[event.key]();
  else return;
  event.preventDefault();
});
addEventListener("resize", () => { if (trace) showTree(); });
addEventListener("hashchange", () => { if (trace && !live) openAt(location.hash); });

const saved = $("trace"); // the data of a saved page
if (saved) openTrace(JSON.parse(saved.textContent));
