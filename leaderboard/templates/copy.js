// The view as text. Texts of records are made inert for the format they are written in.
const rowsOfView = () => {
  const { fields, lines, cells } = view();
  const name = (line) => titleOf(line) + (line.kind === "method" ? "" : " [reference]");
  return [["method", ...fields.map((field) => field.heading)], ...lines.map((line, place) => [name(line), ...cells[place].map((cell) => cell.text)])];
};
const saidOfView = () => [tableNow().title, ...(tableNow().dataNote ? [tableNow().dataNote] : [])];

const asMarkdown = (rows) => {
  const inert = (text) =>
    text.replace(/\s+/g, " ").replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;").replace(/([\\`*_{}[\]|~#])/g, "\\$1");
  const line = (row) => `| ${row.map(inert).join(" | ")} |`;
  return [`${saidOfView().map(inert).join(". ")}`, "", line(rows[0]), `|---|${"---:|".repeat(rows[0].length - 1)}`, ...rows.slice(1).map(line)].join("\n");
};

const LATEX = {
  "\\": "\\textbackslash{}", "{": "\\{", "}": "\\}", "$": "\\$", "&": "\\&", "#": "\\#", "%": "\\%", "_": "\\_", "^": "\\textasciicircum{}", "~": "\\textasciitilde{}",
  "±": "$\\pm$", "×": "$\\times$", "≥": "$\\geq$", "≤": "$\\leq$", "Δ": "$\\Delta$", "ε": "$\\varepsilon$", "–": "--", "<": "$<$", ">": "$>$", "†": "$\\dagger$", "·": "$\\cdot$",
};
const asLatex = (rows) => {
  const escaped = (text) => text.replace(/\s+/g, " ").replace(/[\\{}$&#%_^~±×≥≤Δε–<>†·]/g, (letter) => LATEX[letter]);
  const inert = (text) => escaped(text).replace(/(^|[[ ])-(?=\d)/g, "$1$-$");
  const line = (row) => `  ${row.map(inert).join(" & ")} \\\\`;
  const body = rows.slice(1).map(line);
  const caption = `  \\caption{${saidOfView().map(escaped).join(". ")}}`;
  const tabular = [`  \\begin{tabular}{l${"r".repeat(rows[0].length - 1)}}`, "  \\toprule", line(rows[0]), "  \\midrule", ...body, "  \\bottomrule", "  \\end{tabular}"];
  return ["\\begin{table}", caption, ...tabular, "\\end{table}"].join("\n");
};

// A cell that a spreadsheet would take for a formula begins with an apostrophe, unless it is a number. Every row says which table it is of.
const asCsv = (rows) => {
  const number = /^[+-]?[\d.,]+( ± [\d.,]+)?( \[[-\d.,? ]+\])?( ?%| kB| s| min| h| points)?†?( to [\w-]+)?$/;
  const inert = (text) => (/^[=+\-@\t\r]/.test(text) && !number.test(text) ? `'${text}` : text);
  const own = PICKERS.map((name) => tableNow()[name]);
  const whole = rows.map((row, place) => [...(place ? own : PICKERS), ...row]);
  return whole.map((row) => row.map((text) => `"${inert(text).replace(/"/g, '""')}"`).join(",")).join("\n");
};

const COPIES = {
  markdown: () => asMarkdown(rowsOfView()),
  latex: () => asLatex(rowsOfView()),
  csv: () => asCsv(rowsOfView()),
  link: () => location.href.split("#")[0] + address(),
};

const copyText = async (text) => {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Pages from a disk may not use the clipboard directly.
    const area = node("textarea", { class: "skip", "aria-hidden": "true" });
    area.value = text;
    (document.querySelector("dialog[open]") ?? document.body).append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    if (!done) throw new Error("the browser does not let this page copy");
  }
};
