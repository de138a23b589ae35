// What a reader has chosen, and its place in the address: the part behind # is a permalink to the view.
const data = JSON.parse(document.getElementById("data").textContent);
const PICKERS = ["task", "budget", "track", "protocol", "data"];
const state = { table: 0, learner: "", pool: data.pools[0]?.name ?? "", q: "", sort: "", view: data.views[0].name, own: null, card: "" };

const tableNow = () => data.tables[state.table];

// The table that has the value just chosen and as much as possible of what was chosen before.
const nearest = (wanted, first) => {
  const fits = (table) => PICKERS.reduce((sum, name) => sum + (table[name] === wanted[name]) * (name === first ? 100 : 1), 0);
  let best = 0;
  data.tables.forEach((table, index) => {
    if (fits(table) > fits(data.tables[best])) best = index;
  });
  return best;
};

const largest = () => {
  const real = (table) => (table.data === "standin" ? 0 : table.lines.filter((line) => Object.values(line.ranked).some(Boolean)).length);
  let best = 0;
  data.tables.forEach((table, index) => {
    if (real(table) > real(data.tables[best])) best = index;
  });
  return best;
};

// Columns of the reader's own choice, else those of the view.
const shownKeys = () => state.own ?? new Set(data.views.find((view) => view.name === state.view).columns);
const isShown = (key) => shownKeys().has(key);

const readAddress = () => {
  const asked = new URLSearchParams(location.hash.slice(1));
  const wanted = Object.fromEntries(PICKERS.map((name) => [name, asked.get(name)]));
  state.table = asked.has("task") ? nearest(wanted, "task") : largest();
  state.learner = asked.get("learner") ?? "";
  if (!learnersOf(tableNow()).includes(state.learner)) state.learner = tableNow().source;
  state.pool = data.pools.some((pool) => pool.name === asked.get("pool")) ? asked.get("pool") : (data.pools[0]?.name ?? "");
  state.q = asked.get("q") ?? "";
  state.sort = asked.get("sort") ?? "";
  state.view = data.views.some((view) => view.name === asked.get("view")) ? asked.get("view") : data.views[0].name;
  const keys = new Set(data.columns.map((column) => column.key));
  state.own = asked.has("columns") ? new Set(asked.get("columns").split(",").filter((key) => keys.has(key))) : null;
  state.card = asked.get("card") ?? "";
};

const address = () => {
  const asked = new URLSearchParams(PICKERS.map((name) => [name, tableNow()[name]]));
  if (state.learner !== tableNow().source) asked.set("learner", state.learner);
  if (state.pool && state.pool !== data.pools[0].name) asked.set("pool", state.pool);
  if (state.q) asked.set("q", state.q);
  if (state.sort) asked.set("sort", state.sort);
  if (state.own) asked.set("columns", [...state.own].join(","));
  else if (state.view !== data.views[0].name) asked.set("view", state.view);
  if (state.card) asked.set("card", state.card);
  return `#${asked}`;
};

// A choice makes a step that the browser's back button undoes; what follows from typing or sorting does not.
const remember = (step) => {
  if (location.hash === address()) return false;
  history[step ? "pushState" : "replaceState"](null, "", address());
  return step;
};

const learnersOf = (table) => [...table.learners, ...(table.lines.some((line) => line.cells["transfer"]) ? ["transfer"] : [])];
const titleOf = (line) => (line.options ? `${line.name} (${line.options})` : line.name);
