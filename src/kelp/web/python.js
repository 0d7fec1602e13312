// Python, colored.

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
export function tokens(source) {
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
