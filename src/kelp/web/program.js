// The text of a program: its edit, and the sites where the model's pointer would have the next one.

import { make, printable } from "./dom.js";
import { tokens } from "./python.js";

// Offsets in a trace are UTF-8 bytes, JavaScript counts UTF-16 units.
const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
export function units(source, offsets) {
  const bytes = encoder.encode(source);
  return offsets.map((offset) => decoder.decode(bytes.subarray(0, offset)).length);
}

export const percent = (share) => share < 0.01 ? "<1 %" : `${Math.round(100 * share)} %`;

// Sites of a node with their shares of the probability: where the next edit may go, as long as the model has looked.
export const sitesOf = (node) => (node?.sites ?? []).map(([from, until, share]) => [...units(node.source, [from, until]), share]);

// Without sites of its own a program has those of the program before it, where its edit might have gone instead.
function litSites(node, before) {
  if (!node.edit || node.sites?.length) return sitesOf(node);
  const end = node.at + node.edit.old.length, longer = node.edit.new.length - node.edit.old.length;
  return sitesOf(before).flatMap(([from, until, share]) =>
    until <= node.at ? [[from, until, share]] : from >= end ? [[from + longer, until + longer, share]] : []);
}

// Cuts of the source of a node: [at, share of the probability from there on], and the empty sites between two pieces.
function lights(node, sites) {
  const spans = sites.filter(([from, until]) => from < until), gaps = new Map();
  for (const [from, until, share] of sites) if (from === until) gaps.set(from, (gaps.get(from) ?? 0) + share);
  const ends = [...new Set([0, node.source.length, ...spans.flatMap(([from, until]) => [from, until]), ...gaps.keys()])];
  const light = (at) => Math.max(0, ...spans.filter(([from, until]) => from <= at && at < until).map(([, , share]) => share));
  return { cuts: ends.sort((a, b) => a - b).map((at) => [at, light(at)]), gaps };
}

// Pieces of the source between two places, each of one color and one light.
function pieces(node, from, to, mark, sites) {
  const colors = node.colors ??= tokens(node.source), out = [];
  const { cuts, gaps } = lights(node, sites);
  const edges = new Set([from, to, ...cuts.map(([at]) => at), ...colors.flatMap(([start, end]) => [start, end])]);
  const inside = [...edges].filter((at) => from <= at && at <= to).sort((a, b) => a - b);
  let color = 0, cut = 0;
  inside.forEach((at, i) => {
    const end = inside[i + 1];
    if (gaps.has(at) && (end !== undefined || at === node.source.length)) out.push({ text: "", gap: gaps.get(at), mark });
    if (end === undefined) return;
    while (colors[color]?.[1] <= at) color += 1;
    while (cuts[cut + 1]?.[0] <= at) cut += 1;
    const kind = colors[color]?.[0] <= at ? colors[color][2] : null;
    out.push({ text: node.source.slice(at, end), kind, mark, light: cuts[cut][1] });
  });
  return out;
}

function programPieces(node, before) {
  const source = node.source, sites = litSites(node, before);
  if (!node.edit) return pieces(node, 0, source.length, "", sites);
  const from = node.at, until = from + node.edit.new.length;
  return [
    ...pieces(node, 0, from, "", sites),
    ...pieces(before, from, from + node.edit.old.length, "del", node.sites?.length ? [] : sitesOf(before)),
    ...pieces(node, from, until, "ins", sites),
    ...pieces(node, until, source.length, "", sites),
  ];
}

// Rows of pieces. A row's number is its line in the new program; a row with nothing but removed text has none.
function programRows(node, before) {
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
  for (const piece of programPieces(node, before)) {
    const parts = piece.text.split("\n");
    parts.forEach((text, i) => {
      const shown = text.replace(/\r$/, "");
      const indent = i ? shown.match(/^[ \t]*/)[0] : ""; // belongs to no site
      if (indent) row.pieces.push({ ...piece, text: indent, light: 0 });
      if (shown.length > indent.length || piece.gap) row.pieces.push({ ...piece, text: shown.slice(indent.length) });
      if (i < parts.length - 1) close(piece.mark);
    });
  }
  if (row.pieces.length) close("");
  return rows;
}

function textElement({ text, kind, light, gap }) {
  if (!kind && !light && !gap) return printable(text);
  const classes = [kind, light ? "site" : null, gap ? "gap" : null].filter(Boolean).join(" ");
  const element = make("span", { className: classes }, text);
  const share = light || gap;
  if (!share) return element;
  element.style.setProperty("--light", Math.sqrt(share).toFixed(3)); // a share of 4 % is to be seen too
  element.title = `${percent(share)} of the model's probability${gap ? ", for an insertion" : ""}`;
  return element;
}

function rowElement({ pieces: list, line }) {
  const row = make("div", { className: "row" });
  if (line !== null) row.dataset.line = line;
  let group = null;
  for (const piece of list) {
    const text = textElement(piece);
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

// The program of a node, with its edit of the one before it, if there is one.
export const programElement = (node, before) => make("div", { className: "rows" }, ...programRows(node, before).map(rowElement));
