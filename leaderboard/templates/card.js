// A method's card: facts, commands and some generated texts, written as plain text. An address of its author is the only link.
const WEB = /^https:\/\/[\w.-]+(\/[\w./?&=%#@~+-]*)?$/;
const factOf = ([term, text]) => {
  const shown = WEB.test(text) ? node("a", { href: text, rel: "noopener noreferrer" }, text) : text;
  return [...(term ? [node("dt", {}, term)] : []), node("dd", {}, shown)];
};

const drawCard = (line) => {
  const body = document.getElementById("card-body");
  document.getElementById("card-title").textContent = titleOf(line);
  body.replaceChildren(node("p", { class: "note" }, tableNow().title), node("dl", {}, ...line.card.facts.flatMap(factOf)));
  for (const [what, command] of line.card.commands) {
    const button = node("button", { type: "button" }, "Copy");
    button.addEventListener("click", () => copyText(command).then(() => (button.textContent = "Copied")));
    body.append(node("h3", {}, what), node("div", { class: "command" }, node("code", {}, command), button));
  }
  if (line.card.samples.length) {
    const texts = line.card.samples.flatMap(([label, text]) => [node("dt", {}, label), node("dd", {}, text)]);
    body.append(node("h3", {}, "first texts of its first set"), node("dl", { class: "samples" }, ...texts));
  }
};

// An open card has its place in the address; closing it, or the back button, takes it away.
const openCard = (line, from) => {
  const dialog = document.getElementById("card");
  drawCard(line);
  dialog.showModal();
  document.getElementById("card-title").focus();
  state.card = titleOf(line);
  remember(true);
  dialog.addEventListener(
    "close",
    () => {
      state.card = "";
      remember(false);
      if (from?.isConnected) from.focus();
    },
    { once: true },
  );
};

const showCard = () => {
  const dialog = document.getElementById("card");
  const line = tableNow().lines.find((one) => titleOf(one) === state.card);
  if (dialog.open) dialog.close();
  if (line) openCard(line, null);
  else state.card = "";
};
