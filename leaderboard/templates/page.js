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
  const pool = data.pools.find((one) => one.name === state.pool);
  document.getElementById("pool-note").textContent = pool && pool !== data.pools[0] ? `Ranked methods: ${pool.description}; ranked among themselves.` : "";
};

const OWN = "own choice";
const fillColumns = () => {
  const names = data.views.map((one) => one.name);
  fillSelect(document.getElementById("view"), state.own ? [...names, OWN] : names, state.own ? OWN : state.view);
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
  const parts = [table.budget, table.track, table.protocol].flatMap((text) => [node("span", { class: "hidden-text" }, " · "), node("small", {}, text)]);
  document.getElementById("board-title").replaceChildren(table.task, ...parts);
  document.getElementById("region").setAttribute("aria-label", `Methods and their results, ${table.title}`);
  const notes = table.notes.map((text) => node("p", { class: "note" }, text));
  if (table.dataNote) notes.unshift(node("p", { class: `note ${table.data}` }, table.dataNote));
  document.getElementById("notes").replaceChildren(...notes);
  document.getElementById("figures").replaceChildren(document.getElementById(`figures-${state.table}`).content.cloneNode(true));
  const others = state.learner === table.source && state.pool === data.pools[0]?.name ? "" : ", all ranked methods";
  document.getElementById("figures-note").textContent = `Figures: ${table.source}, the source learner${others}.`;
  for (const section of document.querySelectorAll(".scaling")) section.hidden = section.dataset.task !== table.task;
};

const drawRankings = () => {
  const table = tableNow();
  const kind = state.learner === "transfer" ? "transfer" : "source";
  const fits = (one) => one.pool === state.pool && one.learner === kind && ["protocol", "budget", "track"].every((name) => one[name] === table[name]);
  const found = data.rankings.filter(fits);
  const built = found.map((one) => {
    const heads = ["method", "mean rank", ...one.tasks].map((text) => node("th", { scope: "col" }, text));
    const rows = one.lines.map(([label, ...cells]) => node("tr", {}, node("th", { scope: "row" }, label), ...cells.map((text) => node("td", {}, text))));
    const missing = Object.entries(one.unranked).map(([label, tasks]) => `${label} (${Object.entries(tasks).map(([task, why]) => `${task}: ${why}`).join("; ")})`);
    const region = node("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": `Ranks, ${one.title}` });
    region.append(node("table", {}, node("thead", {}, node("tr", {}, ...heads)), node("tbody", {}, ...rows)));
    const block = node("div", {}, node("h3", {}, one.title), region);
    if (one.critical_difference !== null) {
      const p = one.friedman_p === null ? "" : ` Friedman's test that all are equally good: p ${one.friedman_p < 0.001 ? "<0.001" : one.friedman_p.toFixed(3)}.`;
      block.append(node("p", { class: "note" }, `Critical difference of mean ranks (Nemenyi, 5 %): ${one.critical_difference.toFixed(2)}.${p}`));
    }
    if (missing.length) block.append(node("p", { class: "note" }, `Without a mean rank: ${missing.join(", ")}.`));
    return block;
  });
  document.getElementById("over-tasks").hidden = built.length === 0;
  document.getElementById("rankings").replaceChildren(...built);
};

// The best first, then the other way round, then as it was.
const onSort = ({ key, rising }, order) => {
  const [first, second] = rising ? [key, `-${key}`] : [`-${key}`, key];
  state.sort = order === "none" ? first : state.sort === first ? second : "";
  redraw();
  document.querySelector(`#table th[data-key="${CSS.escape(key)}"] button`)?.focus();
};

const redraw = (step = false) => {
  const found = drawTable(onSort, openCard);
  if (document.getElementById("found").textContent !== found) document.getElementById("found").textContent = found;
  remember(step);
};

const drawAll = (step = false) => {
  fillControls();
  fillColumns();
  drawFrame();
  drawRankings();
  redraw(step);
};

controls.addEventListener("submit", (event) => event.preventDefault());
controls.addEventListener("input", ({ target }) => {
  if (PICKERS.includes(target.name)) {
    state.table = nearest({ ...tableNow(), [target.name]: target.value }, target.name);
    if (!learnersOf(tableNow()).includes(state.learner)) state.learner = tableNow().source;
    drawAll(true);
  } else if (target.name === "q") {
    state.q = target.value;
    redraw();
  } else {
    state[target.name] = target.value;
    drawAll(true);
  }
});
document.getElementById("view").addEventListener("input", ({ target }) => {
  if (target.value === OWN) return;
  state.view = target.value;
  state.own = null;
  fillColumns();
  redraw(true);
});
document.getElementById("columns").addEventListener("change", () => {
  const boxes = [...document.querySelectorAll("#columns input")];
  const here = new Set(boxes.map((box) => box.value));
  const elsewhere = data.columns.filter((column) => !here.has(column.key) && isShown(column.key)).map((column) => column.key);
  state.own = new Set([...boxes.filter((box) => box.checked).map((box) => box.value), ...elsewhere]);
  const names = data.views.map((one) => one.name);
  fillSelect(document.getElementById("view"), [...names, OWN], OWN);
  redraw(true);
});
document.getElementById("tools").addEventListener("click", ({ target }) => {
  const kind = target.dataset?.copy;
  if (!kind) return;
  copyText(COPIES[kind]()).then(
    () => (said.value = kind === "link" ? "Link copied." : `${view().lines.length} rows copied.`),
    (error) => (said.value = `Nothing copied: ${error.message}.`),
  );
});
const chooser = document.querySelector(".chooser");
chooser.addEventListener("keydown", ({ key }) => {
  if (key !== "Escape" || !chooser.open) return;
  chooser.open = false;
  chooser.firstElementChild.focus();
});
document.addEventListener("click", ({ target }) => {
  if (!chooser.contains(target)) chooser.open = false;
});
// Links inside the page move the focus and leave the address to the view.
for (const link of document.querySelectorAll("a[data-goto]"))
  link.addEventListener("click", (event) => {
    event.preventDefault();
    const place = document.getElementById(link.dataset.goto);
    place.focus();
    place.scrollIntoView();
  });
const follow = () => {
  if (location.hash === address()) return;
  readAddress();
  drawAll();
  if (state.card || cardDialog.open) showCard(state.card);
};
addEventListener("hashchange", follow);
addEventListener("popstate", follow);
readAddress();
controls.hidden = document.getElementById("tools").hidden = false;
drawAll();
if (state.card) showCard(state.card);
