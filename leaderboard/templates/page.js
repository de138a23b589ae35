"use strict";
(() => {
  const controls = document.getElementById("controls");
  if (!controls) return;
  const boards = [...document.querySelectorAll(".board")];
  const curves = [...document.querySelectorAll(".scaling")];
  const count = document.getElementById("count");

  const show = () => {
    const text = controls.elements.text.value.trim().toLowerCase();
    let shown = 0;
    for (const board of [...boards, ...curves]) {
      let fits = true;
      for (const select of controls.querySelectorAll("select")) {
        const own = board.dataset[select.name];
        fits &&= !select.value || own === undefined || own === select.value;
      }
      let lines = 0;
      for (const row of board.querySelectorAll("tbody tr")) {
        row.hidden = !row.cells[0].dataset.name.toLowerCase().includes(text);
        lines += !row.hidden;
      }
      board.hidden = !fits || lines === 0;
      shown += !board.hidden && board.matches(".board");
    }
    count.value = `${shown} of ${boards.length} tables`;
  };

  const key = (row, index) => {
    const cell = row.cells[index];
    if (index === 0) return cell.dataset.name.toLowerCase();
    return cell.dataset.v === undefined ? null : Number(cell.dataset.v);
  };

  // Missing cells stay last in both directions; the pinned reference lines never move.
  const sort = (head) => {
    const index = head.cellIndex;
    const first = index === 0 ? "ascending" : "descending";
    const next = head.getAttribute("aria-sort") === first ? (first === "ascending" ? "descending" : "ascending") : first;
    for (const other of head.parentNode.cells) other.setAttribute("aria-sort", other === head ? next : "none");
    const body = head.closest("table").tBodies[0];
    const sign = next === "ascending" ? 1 : -1;
    const rows = [...body.rows].map((row) => [key(row, index), row]);
    rows.sort(([a], [b]) => {
      if (a === null || b === null) return (a === null) - (b === null);
      return sign * (a < b ? -1 : a > b ? 1 : 0);
    });
    body.append(...rows.map(([, row]) => row));
  };

  for (const button of document.querySelectorAll("thead th button")) {
    button.addEventListener("click", () => sort(button.closest("th")));
  }
  controls.addEventListener("input", show);
  controls.addEventListener("submit", (event) => event.preventDefault());
  controls.hidden = false;
  show();
})();
