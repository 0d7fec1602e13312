// The branch tree of a search: a dot for each program, below the program that it is an edit of.

import { draw } from "./dom.js";

const MARGIN = 14, LEAST_GAP = 11, MOST_GAP = 46, LEVEL = 38;

// Column of each node: its own for a leaf, the middle of its children for another.
function columns(nodes) {
  const children = new Map(nodes.map((node) => [node.id, []]));
  for (const node of nodes) children.get(node.parent)?.push(node);
  const at = new Map();
  let leaves = 0;
  const place = (node) => {
    const below = children.get(node.id);
    below.forEach(place);
    at.set(node.id, below.length ? (at.get(below[0].id) + at.get(below.at(-1).id)) / 2 : leaves++);
  };
  place(nodes[0]);
  return [at, leaves];
}

// Draw the tree into an SVG element at most `room` wide, or wider where its dots need that: `kind` gives the class of a
// node, `title` its words, `choose` takes the node that is clicked. Returns the dots and the lines by their node's id.
export function drawTree(svg, nodes, room, { kind, title, choose }) {
  const [at, leaves] = columns(nodes);
  const gap = Math.min(MOST_GAP, Math.max(LEAST_GAP, (room - 2 * MARGIN) / Math.max(1, leaves - 1)));
  const x = (node) => MARGIN + gap * at.get(node.id), y = (node) => MARGIN + LEVEL * node.depth;
  const width = 2 * MARGIN + gap * (leaves - 1), height = 2 * MARGIN + LEVEL * Math.max(...nodes.map((node) => node.depth));
  for (const [name, value] of Object.entries({ width, height, viewBox: `0 0 ${width} ${height}` })) svg.setAttribute(name, value);
  const byId = new Map(nodes.map((node) => [node.id, node]));
  const lines = new Map(), dots = new Map();
  for (const node of nodes) {
    const above = byId.get(node.parent);
    if (above) {
      const middle = y(node) - LEVEL / 2;
      lines.set(node.id, draw("path", { class: "line", d: `M${x(above)} ${y(above)}C${x(above)} ${middle} ${x(node)} ${middle} ${x(node)} ${y(node)}` }));
    }
    const dot = draw("circle", { class: `dot ${kind(node)}`, cx: x(node), cy: y(node), r: kind(node) === "all" ? 5.5 : 4 });
    dot.append(draw("title", {}, title(node)));
    dot.addEventListener("click", () => choose(node));
    dots.set(node.id, dot);
  }
  svg.replaceChildren(...lines.values(), ...dots.values());
  return { dots, lines };
}
