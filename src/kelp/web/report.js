import { $, draw, make } from "./dom.js";
const report = JSON.parse(document.getElementById("report").textContent);
const { summary, cases, rows } = report;
const arms = Object.keys(summary.results);
// Cases without a group are one of their own, unless no case has one.
const groups = Object.keys(summary.results[arms[0]]).filter((name, _, names) => name || names.length > 2);
const state = { group: "all", filter: "all", arm: arms[0], id: null, step: 0 };
const color = (arm) => `var(--arm-${arms.indexOf(arm) % 12})`;
const percent = (share, digits = 0) => `${(100 * share).toFixed(digits)} %`;

const clear = (id) => { $(id).replaceChildren(); return $(id); };

// ---- figures -------------------------------------------------------------------------------------------------------

const share = (name) => (f) => f[name] === null ? "–" : [`${percent(f[name].mean, 1)} `, make("small", {}, `${percent(f[name].low)} to ${percent(f[name].high)}`)];
const number = (name) => (f) => String(f[name]);
const within = (name, digits) => (f) => f[name] === null ? "–" : [`${f[name].toFixed(digits)} `, make("small", {}, f[`${name}_interval`].map((end) => end.toFixed(digits)).join(" to "))];
const plain = (name) => (f) => [`${f[name].mean.toFixed(3)} `, make("small", {}, `${f[name].low.toFixed(2)} to ${f[name].high.toFixed(2)}`)];
const FIGURES = [
  ["cases", number("n")], ["drawn and rejected: broke no visible test", number("rejected")], ["valid states", (f) => percent(f.validity, 1)],
  ["repaired: visible tests pass (best patch)", share("repaired")], ["correct: hidden tests pass too (best)", share("correct")],
  ["correct (first patch)", share("first_correct")], ["exact match (best)", share("exact_match")],
  ["exact match (first patch)", share("first_exact_match")], ["visible tests passed", share("pass_rate")],
  ["test runs to the first repair, median", within("median_runs", 1)], ["… 90th percentile", within("p90_runs", 1)],
  ["seconds to the first repair, median", within("median_first_seconds", 2)], ["… 90th percentile", within("p90_first_seconds", 2)],
  ["area under the curve", plain("area")], ["right site in the first", share("site_top_1")],
  ["… the first 5 proposed", share("site_top_5")], ["… the first 20", share("site_top_20")],
  ["first edit there is right", share("site_edit")],
  ["pass@1, without showing tests", share("pass_at_1")], ["pass@10", share("pass_at_10")], ["pass@100", share("pass_at_100")],
].filter(([, show]) => groups.some((group) => arms.some((arm) => show(summary.results[arm][group]) !== "–")));

function showFigures() {
  const of = (arm) => summary.results[arm][state.group];
  const head = make("thead", {}, make("tr", {}, make("th"), ...arms.map((arm) => make("th", {}, arm))));
  const lines = FIGURES.map(([name, show]) => make("tr", {}, make("th", {}, name), ...arms.map((arm) => make("td", {}, ...[show(of(arm))].flat()))));
  const compared = arms.map((arm) => {
    const c = summary.compared[arm]?.[state.group];
    if (!c) return make("td", {}, "–");
    const sign = c.difference.mean < 0 ? "−" : "+";
    return make("td", {}, `${sign}${percent(Math.abs(c.difference.mean), 1)} `, make("small", {}, `${c.only_ours} : ${c.only_theirs}, p = ${c.p.toPrecision(2)}`));
  });
  lines.push(make("tr", {}, make("th", {}, `correct, against ${summary.baseline} (McNemar)`), ...compared));
  const sooner = arms.map((arm) => {
    const c = summary.compared[arm]?.[state.group];
    return make("td", {}, ...(c ? [plain("area")(c)].flat() : ["–"]));
  });
  lines.push(make("tr", {}, make("th", {}, `area, less that of ${summary.baseline}`), ...sooner));
  clear("figures").append(head, make("tbody", {}, ...lines));
  $("figures-note").textContent = state.group === "all" ? "all cases" : `group ${state.group}`;
}

function showCurve() {
  const [width, height, left, bottom, top, right] = [620, 300, 46, 34, 12, 14];
  const svg = draw("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": "Solved versus test runs" });
  const budgets = Object.keys(summary.results[arms[0]][state.group].solved_within).map(Number).sort((a, b) => a - b);
  const most = Math.max(2, budgets.at(-1));
  const highest = Math.max(...arms.flatMap((arm) => Object.values(summary.results[arm][state.group].solved_within)));
  const ceiling = [0.1, 0.2, 0.4, 0.6, 0.8, 1].find((y) => y >= highest);
  const x = (runs) => left + (width - left - right) * Math.log2(runs) / Math.log2(most);
  const y = (value) => height - bottom - (height - bottom - top) * value / ceiling;
  for (let i = 0; i <= 4; i++) {
    const value = ceiling * i / 4;
    svg.append(draw("line", { class: "grid", x1: left, x2: width - right, y1: y(value), y2: y(value) }));
    svg.append(draw("text", { x: left - 8, y: y(value) + 4, "text-anchor": "end" }, percent(value, ceiling < 0.4 ? 1 : 0)));
  }
  for (const runs of budgets) svg.append(draw("text", { x: x(runs), y: height - bottom + 18, "text-anchor": "middle" }, runs));
  svg.append(draw("text", { x: (left + width) / 2, y: height - 2, "text-anchor": "middle" }, "test runs"));
  for (const arm of [...arms].reverse()) {
    const curve = summary.results[arm][state.group].solved_within;
    const points = budgets.map((runs) => `${x(runs)},${y(curve[runs])}`).join(" ");
    svg.append(draw("polyline", { points, fill: "none", style: `stroke:${color(arm)}`, "stroke-width": 2.5, "stroke-linejoin": "round" }));
    for (const runs of budgets) {
      const dot = draw("circle", { cx: x(runs), cy: y(curve[runs]), r: 3.5, style: `fill:${color(arm)}` });
      dot.append(draw("title", {}, `${arm}: ${percent(curve[runs], 1)} within ${runs} runs`));
      svg.append(dot);
    }
  }
  clear("curve").append(svg);
}

function showShares() {
  const names = [["repaired", "repaired"], ["correct", "correct"], ["exact_match", "exact match"], ["site_top_1", "right site first"], ["site_top_5", "right site in 5"]];
  const used = names.filter(([key]) => summary.results[arms[0]][state.group][key] !== null);
  const [width, left, right, gap, line] = [620, 130, 30, 16, 300 / (used.length * (arms.length + 1))];
  const step = Math.min(20, Math.max(9, line)), height = used.length * (arms.length * step + gap) + 28;
  const svg = draw("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": "Shares with intervals" });
  const x = (value) => left + (width - left - right) * value;
  for (const value of [0, 0.25, 0.5, 0.75, 1]) {
    svg.append(draw("line", { class: "grid", x1: x(value), x2: x(value), y1: 4, y2: height - 24 }));
    svg.append(draw("text", { x: x(value), y: height - 6, "text-anchor": "middle" }, percent(value)));
  }
  used.forEach(([key, label], i) => {
    const start = i * (arms.length * step + gap) + gap / 2;
    svg.append(draw("text", { class: "strong", x: left - 12, y: start + arms.length * step / 2 + 4, "text-anchor": "end" }, label));
    arms.forEach((arm, j) => {
      const value = summary.results[arm][state.group][key], at = start + (j + 0.5) * step;
      if (value === null) return;
      const mark = draw("g", { style: `stroke:${color(arm)};fill:${color(arm)}` });
      mark.append(draw("line", { x1: x(value.low), x2: x(value.high), y1: at, y2: at, "stroke-width": 3, "stroke-opacity": 0.45, "stroke-linecap": "round" }));
      mark.append(draw("circle", { cx: x(value.mean), cy: at, r: 4 }));
      mark.append(draw("title", {}, `${arm}, ${label}: ${percent(value.mean, 1)}, ${percent(value.low)} to ${percent(value.high)}`));
      svg.append(mark);
    });
  });
  clear("shares").append(svg);
}

// ---- cases ---------------------------------------------------------------------------------------------------------

function outcome(row) {
  if (!row.repaired) return ["bad", "✕", "not repaired"];
  if (row.correct === false) return ["unsure", "~", "repaired, but wrong"];
  return ["good", "✓", row.correct === null ? "repaired" : "correct"];
}
const FILTERS = {
  all: () => true,
  correct: (c) => outcome(rows[state.arm][c.id])[0] === "good",
  "repaired, but wrong": (c) => outcome(rows[state.arm][c.id])[0] === "unsure",
  "not repaired": (c) => outcome(rows[state.arm][c.id])[0] === "bad",
  "arms differ": (c) => new Set(arms.map((arm) => outcome(rows[arm][c.id])[0] === "good")).size > 1,
};
const listed = () => cases.filter((c) => (state.group === "all" || c.group === state.group) && FILTERS[state.filter](c));

function showCases() {
  const some = listed();
  if (!some.some((c) => c.id === state.id)) Object.assign(state, { id: some[0]?.id ?? null, step: Infinity });
  $("cases-note").textContent = `${some.length} · ${state.arm}`;
  clear("filters").append(...Object.keys(FILTERS).map((name) => {
    const button = make("button", { type: "button", onclick: () => { state.filter = name; show(); } }, name);
    button.setAttribute("aria-pressed", name === state.filter);
    return button;
  }));
  clear("cases").append(...some.map((c) => {
    const dots = arms.map((arm) => {
      const [className, mark, words] = outcome(rows[arm][c.id]);
      return make("i", { className, title: `${arm}: ${words}` }, mark);
    });
    const button = make("button", { type: "button", onclick: () => choose(c.id) },
      make("span", { className: "name" }, c.id), make("span", { className: "dots" }, ...dots));
    button.setAttribute("role", "option");
    button.setAttribute("aria-selected", c.id === state.id);
    return button;
  }));
}

function choose(id) {
  Object.assign(state, { id, step: Infinity });
  showCases();
  $("cases").querySelector("[aria-selected=true]").scrollIntoView({ block: "nearest" });
  showSearch();
}

const encoder = new TextEncoder(), decoder = new TextDecoder();
function sourceAt(source, path, step) {
  let bytes = encoder.encode(source);
  for (const edit of path.slice(1, step + 1))
    bytes = Uint8Array.of(...bytes.slice(0, edit.start), ...encoder.encode(edit.new), ...bytes.slice(edit.end));
  return bytes;
}

function showSearch() {
  const c = cases.find((one) => one.id === state.id);
  clear("arms").append(...arms.map((arm) => {
    const button = make("button", { type: "button", onclick: () => { state.arm = arm; state.step = Infinity; show(); } }, arm);
    button.setAttribute("aria-pressed", arm === state.arm);
    return button;
  }));
  for (const id of ["program", "step", "verdict", "tests", "fixed"]) clear(id);
  $("search-title").textContent = c ? c.id : "no such case";
  if (!c) return;
  const row = rows[state.arm][c.id], path = row.path;
  state.step = Math.max(0, Math.min(state.step, path.length - 1));
  const [className, , words] = outcome(row), edit = path[state.step];
  $("verdict").append(make("b", { className }, words),
    `${row.exact ? ", exact" : ""} · ${row.runs} test runs, ${row.seconds.toFixed(1)} s`,
    row.first_repair === null ? "" : ` · first repair in run ${row.first_repair}`,
    row.site_rank ? ` · right site proposed as number ${row.site_rank}` : "", ` · ${row.stopped}`);
  if (c.intent) $("verdict").append(make("br"), make("span", { className: "note" }, c.intent));
  const likely = edit.log_prob === null ? "" : `, log-probability ${edit.log_prob.toFixed(2)}`;
  $("step").append(make("b", {}, `${state.step} of ${path.length - 1} edits`),
    ` · ${edit.observation}`, state.step ? ` · ${edit.origin}, run ${edit.run}${likely}` : " · as it was broken");
  showProgram(c, path);
  const tests = (some) => typeof some === "string" ? some : some.join("\n");
  $("tests").textContent = `${tests(c.visible)}\n\n# hidden\n${tests(c.hidden) || "# none"}`;
  $("fixed-details").hidden = c.fixed === null;
  $("fixed").textContent = c.fixed ?? "";
  $("back").disabled = state.step === 0;
  $("forward").disabled = state.step === path.length - 1;
}

function showProgram(c, path) {
  const bytes = sourceAt(c.source, path, state.step), edit = path[state.step];
  const rowsBox = make("div", { className: "rows" });
  const parts = [[decoder.decode(bytes), null]];
  if (state.step) {
    const end = edit.start + encoder.encode(edit.new).length;
    parts.splice(0, 1, [decoder.decode(bytes.slice(0, edit.start)), null], [edit.old, "del"], [edit.new, "ins"], [decoder.decode(bytes.slice(end)), null]);
  }
  let line, count = 0;
  const next = () => { line = make("div", { className: "row" }); line.dataset.line = ++count; rowsBox.append(line); };
  next();
  for (const [text, tag] of parts) {
    text.split("\n").forEach((piece, i) => {
      if (i) next();
      if (tag) line.classList.add("changed");
      if (piece) line.append(tag ? make(tag, {}, piece) : piece);
    });
  }
  $("program").append(rowsBox);
}

// ---- all of it -----------------------------------------------------------------------------------------------------

function show() {
  $("groups").hidden = groups.length < 2;
  clear("groups").append(...groups.map((group) => {
    const button = make("button", { type: "button", onclick: () => { state.group = group; show(); } }, group || "no group");
    button.setAttribute("aria-pressed", group === state.group);
    return button;
  }));
  showCurve();
  showShares();
  showFigures();
  showCases();
  showSearch();
}

const { settings } = summary;
$("title").textContent = `kelp eval ${summary.benchmark}`;
$("settings").textContent = `${settings.strategy}, ${settings.budget.runs} test runs and ${settings.budget.edits} edits a case, seed ${settings.seed}`
  + (summary.skipped.length ? `; ${summary.skipped.length} left out` : "");
$("legend").append(...arms.map((arm) => make("li", {}, Object.assign(make("i"), { style: `background:${color(arm)}` }), arm)));
show();
$("back").addEventListener("click", () => { state.step -= 1; showSearch(); });
$("forward").addEventListener("click", () => { state.step += 1; showSearch(); });
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("summary, input")) return;
  const some = listed(), at = some.findIndex((c) => c.id === state.id);
  const moves = {
    ArrowLeft: () => { state.step -= 1; showSearch(); }, ArrowRight: () => { state.step += 1; showSearch(); },
    ArrowUp: () => at > 0 && choose(some[at - 1].id), ArrowDown: () => at < some.length - 1 && choose(some[at + 1].id),
  };
  if (!moves[event.key]) return;
  moves[event.key]();
  event.preventDefault();
});
