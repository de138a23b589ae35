// The view as text. Texts of records are made inert for the format they are written in.
const rowsOfView = () => {
  const { fields, lines, cells } = view();
  const name = (line) => (line.options ? `${line.name} (${line.options})` : line.name);
  return [["method", ...fields.map((field) => field.heading)], ...lines.map((line, place) => [name(line), ...cells[place].map((cell) => cell.text)])];
};

const asMarkdown = (rows) => {
  const inert = (text) =>
    text.replace(/\s+/g, " ").replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;").replace(/([\\`*_{}[\]|~#])/g, "\\$1");
  const line = (row) => `| ${row.map(inert).join(" | ")} |`;
  return [line(rows[0]), `|---|${"---:|".repeat(rows[0].length - 1)}`, ...rows.slice(1).map(line)].join("\n");
};

const LATEX = {
  "\\": "\\textbackslash{}", "{": "\\{", "}": "\\}", "$": "\\$", "&": "\\&", "#": "\\#", "%": "\\%", "_": "\\_", "^": "\\textasciicircum{}", "~": "\\textasciitilde{}",
  "±": "$\\pm$", "×": "$\\times$", "≥": "$\\geq$", "≤": "$\\leq$", "Δ": "$\\Delta$", "ε": "$\\varepsilon$", "–": "--", "<": "$<$", ">": "$>$",
};
const asLatex = (rows) => {
  const inert = (text) => text.replace(/\s+/g, " ").replace(/[\\{}$&#%_^~±×≥≤Δε–<>]/g, (letter) => LATEX[letter]);
  const line = (row) => `  ${row.map(inert).join(" & ")} \\\\`;
  const body = rows.slice(1).map(line);
  return [`\\begin{tabular}{l${"r".repeat(rows[0].length - 1)}}`, "  \\toprule", line(rows[0]), "  \\midrule", ...body, "  \\bottomrule", "\\end{tabular}"].join("\n");
};

// A cell that a spreadsheet would take for a formula begins with an apostrophe, unless it is a number.
const asCsv = (rows) => {
  const inert = (text) => (/^[=+\-@\t\r]/.test(text) && !/^[+-]?[\d.,]+( |$)/.test(text) ? `'${text}` : text);
  return rows.map((row) => row.map((text) => `"${inert(text).replace(/"/g, '""')}"`).join(",")).join("\n");
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
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    if (!done) throw new Error("the browser does not let this page copy");
  }
};
