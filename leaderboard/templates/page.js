// The controls, and what follows from them.
const controls = document.getElementById("controls");
const said = document.getElementById("said");

const fillSelect = (select, values, chosen) => {
  select.replaceChildren(...values.map((value) => node("option", { value, selected: value === chosen }, value)));
  select.value = chosen;
};

// A picker offers what stands beside the choices left of it; the first offers everything.
const fillControls = () => {
  const table = tableNow();
  PICKERS.forEach((name, place) => {
    const beside = data.tables.filter((other) => PICKERS.slice(0, place).every((left) => other[left] === table[left]));
    fillSelect(controls.elements[name], [...new Set(beside.map((other) => other[name]))], table[name]);
  });
  fillSelect(controls.elements.learner, learnersOf(table), state.learner);
  fillSelect(controls.elements.pool, data.pools.map((pool) => pool.name), state.pool);
  if (controls.elements.q.value !== state.q) controls.elements.q.value = state.q;
};

const fillColumns = () => {
  const box = document.getElementById("columns");
  const choices = tableNow().columns.map((place) => {
    const column = data.columns[place];
    const input = node("input", { type: "checkbox", value: column.key });
    input.checked = isShown(column.key);
    return node("label", { title: column.description }, input, column.heading.replace("{learner}", "score of every learner"));
  });
  box.replaceChildren(box.firstElementChild, ...choices);
};

const drawFrame = () => {
  const table = tableNow();
  const parts = [table.budget, table.track, table.protocol].map((text) => node("small", {}, text));
  document.getElementById("board-title").replaceChildren(table.task, ...parts);
  const notes = table.notes.map((text) => node("p", { class: "note" }, text));
  if (table.dataNote) notes.unshift(node("p", { class: `note ${table.data}` }, table.dataNote));
  document.getElementById("notes").replaceChildren(...notes);
  document.getElementById("figures").replaceChildren(document.getElementById(`figures-${state.table}`).content.cloneNode(true));
  for (const section of document.querySelectorAll(".scaling")) section.hidden = section.dataset.task !== table.task;
};

const drawRankings = () => {
  const table = tableNow();
  const kind = state.learner === "unseen-mean" ? "unseen-mean" : "source";
  const fits = (one) => one.pool === state.pool && one.learner === kind && ["protocol", "budget", "track"].every((name) => one[name] === table[name]);
  const found = data.rankings.filter(fits);
  const built = found.map((one) => {
    const heads = ["method", "mean rank", ...one.tasks].map((text) => node("th", { scope: "col" }, text));
    const place = (p) => node("td", {}, `${p.rank} [${p.low}, ${p.high}]`);
    const rows = one.standings.map((own) =>
      node("tr", {}, node("th", { scope: "row" }, own.label), node("td", {}, `${own.mean_rank.toFixed(1)} [${own.low.toFixed(1)}, ${own.high.toFixed(1)}]`), ...own.places.map(place)),
    );
    const holes = Object.entries(one.holes).map(([label, tasks]) => `${label} lacks ${tasks.join(", ")}`);
    const region = node("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": `Ranks, ${one.title}` });
    region.append(node("table", {}, node("thead", {}, node("tr", {}, ...heads)), node("tbody", {}, ...rows)));
    const block = node("div", {}, node("h3", {}, one.title), region);
    if (one.critical_difference !== null) block.append(node("p", { class: "note" }, `Critical difference of mean ranks: ${one.critical_difference.toFixed(2)}.`));
    if (holes.length) block.append(node("p", { class: "note" }, `Without a mean rank: ${holes.join("; ")}.`));
    return block;
  });
  document.getElementById("over-tasks").hidden = built.length === 0;
  document.getElementById("rankings").replaceChildren(...built);
};

const onSort = (key, order) => {
  const first = key === "method" || key === "rank" ? "" : "-";
  const other = first ? "" : "-";
  state.sort = order === "none" || state.sort === other + key ? first + key : other + key;
  redraw();
  document.querySelector(`#table th[data-key="${CSS.escape(key)}"] button`)?.focus();
};

const redraw = () => {
  drawTable(onSort, openCard);
  history.replaceState(null, "", address());
};

const drawAll = () => {
  fillControls();
  fillColumns();
  drawFrame();
  drawRankings();
  redraw();
};

controls.addEventListener("submit", (event) => event.preventDefault());
controls.addEventListener("input", ({ target }) => {
  if (PICKERS.includes(target.name)) {
    state.table = nearest({ ...tableNow(), [target.name]: target.value }, target.name);
    if (!learnersOf(tableNow()).includes(state.learner)) state.learner = tableNow().source;
    drawAll();
  } else {
    state[target.name] = target.value;
    if (target.name !== "q") drawRankings();
    redraw();
  }
});
document.getElementById("columns").addEventListener("change", () => {
  const boxes = [...document.querySelectorAll("#columns input")];
  const here = new Set(boxes.map((box) => box.value));
  const elsewhere = data.columns.filter((column) => !here.has(column.key) && isShown(column.key)).map((column) => column.key);
  state.shown = new Set([...boxes.filter((box) => box.checked).map((box) => box.value), ...elsewhere]);
  redraw();
});
document.getElementById("tools").addEventListener("click", ({ target }) => {
  const kind = target.dataset?.copy;
  if (!kind) return;
  copyText(COPIES[kind]()).then(
    () => (said.value = kind === "link" ? "Link copied." : `${view().lines.length} rows copied.`),
    (error) => (said.value = `Nothing copied: ${error.message}.`),
  );
});
addEventListener("hashchange", () => {
  if (location.hash === address() || location.hash === "#board") return;
  readAddress();
  drawAll();
});
readAddress();
controls.hidden = document.getElementById("tools").hidden = false;
drawAll();
