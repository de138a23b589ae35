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
    const say = (text) => () => (button.textContent = text);
    button.addEventListener("click", () => copyText(command).then(say("Copied"), say("Not copied")));
    body.append(node("h3", {}, what), node("div", { class: "command" }, node("code", {}, command), button));
  }
  if (line.card.samples.length) {
    const texts = line.card.samples.flatMap(([label, text]) => [node("dt", {}, label), node("dd", {}, text)]);
    body.append(node("h3", {}, "first texts of its first set"), node("dl", { class: "samples" }, ...texts));
  }
};

// An open card has its place in the address. Closing it goes back to the view that it was opened from, as the back button does.
const cardDialog = document.getElementById("card");
let opener = null;
let pushed = false;

const openCard = (line, from) => {
  drawCard(line);
  if (!cardDialog.open) cardDialog.showModal();
  document.getElementById("card-title").focus();
  opener = from;
  state.card = titleOf(line);
  pushed = remember(true);
};

const closeCard = () => {
  const back = pushed;
  state.card = "";
  pushed = false;
  if (opener?.isConnected) opener.focus();
  opener = null;
  if (back) history.back();
  else remember(false);
};
cardDialog.addEventListener("close", () => state.card && closeCard());

// What the address asks for.
const showCard = (title) => {
  const line = tableNow().lines.find((one) => titleOf(one) === title);
  if (line) return openCard(line, opener);
  state.card = "";
  pushed = false;
  if (cardDialog.open) cardDialog.close();
  if (opener?.isConnected) opener.focus();
  opener = null;
  remember(false);
};
