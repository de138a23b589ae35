// One table as rows of plain cells: {text, order}. Everything that is shown, sorted or copied comes from here.
const node = (name, attributes = {}, ...children) => {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) if (value !== null && value !== false) made.setAttribute(key, value === true ? "" : value);
  made.append(...children);
  return made;
};

// The fields of the view: a score for every learner, the mean over unseen ones, and the rest as the chosen learner sees it.
const fieldsOf = (table) => {
  const fields = [];
  table.columns.forEach((place, index) => {
    const column = data.columns[place];
    if (!isShown(column.key)) return;
    if (column.view === "learner") {
      for (const learner of table.learners) {
        const heading = column.heading.replace("{learner}", learner === table.source ? `${learner} (source)` : learner);
        fields.push({ key: `${column.key}.${learner}`, heading, index, learner, description: column.description });
      }
    } else {
      const learner = column.view === "unseen" ? "unseen-mean" : state.learner;
      fields.push({ key: column.key, heading: column.heading, index, learner, description: column.description });
    }
  });
  return fields;
};

const cellOf = (table, line, field) => {
  const hole = { text: MISSING, order: null };
  if (field.key === "rank") {
    const place = line.ranks[field.learner]?.[state.pool];
    return place ? { text: `${place[0]} [${place[1]}, ${place[2]}]`, order: place[0] } : hole;
  }
  const cell = line.cells[field.learner]?.[field.index];
  if (cell) return { text: cell[0], order: cell.length > 1 ? cell[1] : null };
  return table.bound && field.learner !== table.source && !line.everyBudget ? { text: NOT_APPLICABLE, order: null } : hole;
};

const linesOf = (table) => {
  const text = state.q.trim().toLowerCase();
  const pool = data.pools.findIndex((one) => one.name === state.pool);
  return table.lines.filter(
    (line) => `${line.name} ${line.options}`.toLowerCase().includes(text) && (line.everyBudget || pool < 0 || line.pools.includes(pool)),
  );
};

// Missing cells stay last in both directions; full data stays below a line of its own.
const sorted = (table, lines, fields) => {
  const down = state.sort.startsWith("-");
  const key = down ? state.sort.slice(1) : state.sort;
  const field = fields.find((one) => one.key === key);
  const full = (line) => line.kind === "full";
  if (!field && key !== "method") return lines;
  const value = (line) => (field ? cellOf(table, line, field).order : line.name.toLowerCase());
  const sign = down ? -1 : 1;
  return lines
    .map((line, index) => ({ line, index, value: value(line) }))
    .sort((a, b) => {
      if (full(a.line) !== full(b.line)) return full(a.line) - full(b.line);
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

const drawTable = (onSort, onOpen) => {
  const { table, fields, lines, cells } = view();
  const heads = [{ key: "method", heading: "method", description: "Choose a name for the method's card." }, ...fields].map((field) => {
    const order = state.sort === field.key ? "ascending" : state.sort === `-${field.key}` ? "descending" : "none";
    const button = node("button", { type: "button", title: field.description }, field.heading);
    button.addEventListener("click", () => onSort(field.key, order));
    return node("th", { scope: "col", "aria-sort": order, "data-key": field.key }, button);
  });
  const body = (full) => {
    const rows = lines.flatMap((line, place) => {
      if ((line.kind === "full") !== full) return [];
      const open = node("button", { type: "button", class: "name", "aria-haspopup": "dialog" }, line.name);
      open.addEventListener("click", () => onOpen(line, open));
      const name = node("th", { scope: "row" }, open);
      if (line.options) name.append(" ", node("i", {}, line.options));
      for (const [holds, word] of [[line.kind !== "method", "reference"], [line.private, "private"], [line.verified, line.verified]]) {
        if (holds) name.append(" ", node("b", {}, word));
      }
      const own = cells[place].map(({ text }, index) =>
        node("td", ["standing", "failure_signs"].includes(fields[index].key) ? { class: "text" } : {}, text),
      );
      return [node("tr", { class: `${line.kind}${line.ranked[state.learner] ? "" : " off"}` }, name, ...own)];
    });
    return rows.length ? [node("tbody", full ? { class: "pinned" } : {}, ...rows)] : [];
  };
  document
    .getElementById("table")
    .replaceChildren(node("caption", {}, `${lines.length} of ${table.lines.length} methods`), node("thead", {}, node("tr", {}, ...heads)), ...body(false), ...body(true));
};
