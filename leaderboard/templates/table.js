// One table as rows of plain cells: {text, order}. Everything that is shown, sorted or copied comes from here.
const node = (name, attributes = {}, ...children) => {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) if (value !== null && value !== false) made.setAttribute(key, value === true ? "" : value);
  made.append(...children);
  return made;
};

// The fields of the view: a score for every learner, the transfer score, and the rest as the chosen learner sees it.
const fieldsOf = (table) => {
  const fields = [];
  const seenBy = state.learner === table.source ? "" : ` (${state.learner})`;
  table.columns.forEach((place, index) => {
    const column = data.columns[place];
    if (!isShown(column.key)) return;
    const field = { key: column.key, base: column.key, index, description: column.description, rising: column.rising };
    if (column.view === "learner") {
      for (const learner of table.learners) {
        const heading = column.heading.replace("{learner}", learner === table.source ? `${learner} (source)` : learner);
        fields.push({ ...field, key: `${column.key}.${learner}`, heading, learner });
      }
    } else if (column.view === "unseen") fields.push({ ...field, heading: column.heading, learner: "transfer" });
    else if (column.view === "set") fields.push({ ...field, heading: column.heading, learner: table.source, any: true });
    else fields.push({ ...field, heading: column.heading + seenBy, learner: state.learner });
  });
  return fields;
};

const cellOf = (table, line, field) => {
  const missing = { text: MISSING, order: null };
  if (field.key === "rank") {
    const place = line.ranks[field.learner]?.[state.pool];
    return place ? { text: `${place[0]} [${place[1]}, ${place[2]}]`, order: place[0] } : missing;
  }
  const seen = line.cells[field.learner] ?? (field.any ? Object.values(line.cells)[0] : undefined);
  const cell = seen?.[field.index];
  if (cell) return { text: cell[0], order: cell.length > 1 ? cell[1] : null };
  const bound = table.bound && !field.any && field.learner !== table.source && !line.everyBudget;
  return bound ? { text: NOT_APPLICABLE, order: null } : missing;
};

const linesOf = (table) => {
  const words = state.q.toLowerCase().split(/\s+/).filter(Boolean);
  const pool = data.pools.findIndex((one) => one.name === state.pool);
  return table.lines.filter((line) => words.every((word) => line.search.includes(word)) && (line.everyBudget || pool < 0 || line.pools.includes(pool)));
};

// Missing cells stay last in both directions; full data stays below a line of its own. Unsorted, methods stand by the source learner's
// score, or by that of the learner who was chosen, those that are not ranked below.
const sorted = (table, lines, fields) => {
  const down = state.sort.startsWith("-");
  const key = down ? state.sort.slice(1) : state.sort;
  const field = fields.find((one) => one.key === key);
  const full = (line) => line.kind === "full";
  const own = !field && key !== "method";
  if (own && state.learner === table.source) return lines;
  const score = { key: "", learner: state.learner, index: table.columns.findIndex((place) => data.columns[place].key === "score") };
  const value = (line) => (own ? cellOf(table, line, score).order : field ? cellOf(table, line, field).order : line.name.toLowerCase());
  const below = (line) => own && !line.ranked[state.learner] && !line.everyBudget;
  const sign = own || down ? -1 : 1;
  return lines
    .map((line, index) => ({ line, index, value: value(line) }))
    .sort((a, b) => {
      if (full(a.line) !== full(b.line)) return full(a.line) - full(b.line);
      if (below(a.line) !== below(b.line)) return below(a.line) - below(b.line);
      if (a.value === null || b.value === null) return (a.value === null) - (b.value === null) || a.index - b.index;
      return sign * (a.value < b.value ? -1 : a.value > b.value ? 1 : 0) || a.index - b.index;
    })
    .map((one) => one.line);
};

const view = () => {
  const table = tableNow();
  const fields = fieldsOf(table);
  const lines = sorted(table, linesOf(table), fields);
  return { table, fields, lines, cells: lines.map((line) => fields.map((field) => cellOf(table, line, field))) };
};

const badgesOf = (line) =>
  [[line.kind !== "method", "reference"], [line.private, "private"], [line.reproduced, line.reproduced], [line.failing, "warnings"]].filter(([holds]) => holds).map(([, word]) => word);

const WIDE = new Set(["status", "failure_flags", "llm", "hardware"]);

const drawTable = (onSort, onOpen) => {
  const { table, fields, lines, cells } = view();
  const method = { key: "method", base: "method", heading: "method", description: "Choose a name for the method's card.", rising: true };
  const heads = [method, ...fields].map((field) => {
    const order = state.sort === field.key ? "ascending" : state.sort === `-${field.key}` ? "descending" : "none";
    const button = node("button", { type: "button", title: field.description, "aria-describedby": `about-${field.base}` }, field.heading);
    button.addEventListener("click", () => onSort(field, order));
    return node("th", { scope: "col", "aria-sort": order, "data-key": field.key, class: WIDE.has(field.key) ? "text" : null }, button);
  });
  const body = (full) => {
    const rows = lines.flatMap((line, place) => {
      if ((line.kind === "full") !== full) return [];
      const open = node("button", { type: "button", class: "name", "aria-haspopup": "dialog" }, line.name);
      open.addEventListener("click", () => onOpen(line, open));
      const name = node("th", { scope: "row" }, open);
      if (line.options) name.append(" ", node("i", {}, line.options));
      for (const word of badgesOf(line)) name.append(" ", node("b", { class: word.replace(/ /g, "-") }, word));
      const own = cells[place].map(({ text }, index) => node("td", WIDE.has(fields[index].key) ? { class: "text" } : {}, text));
      return [node("tr", { class: `${line.kind}${line.ranked[state.learner] ? "" : " off"}` }, name, ...own)];
    });
    return rows.length ? [node("tbody", full ? { class: "pinned" } : {}, ...rows)] : [];
  };
  const count = `${lines.length} of ${table.lines.length} rows`;
  const rankless = lines.length && state.pool !== data.pools[0]?.name && !lines.some((line) => line.ranks[state.learner]?.[state.pool]);
  const remark = !lines.length ? ": none matches the filter and the chosen methods" : rankless ? `: none of the methods ${state.pool} is ranked here` : "";
  const caption = node("caption", {}, node("span", { class: "hidden-text" }, `${table.title}, `), count + remark);
  document.getElementById("table").replaceChildren(caption, node("thead", {}, node("tr", {}, ...heads)), ...body(false), ...body(true));
  return count + remark;
};
