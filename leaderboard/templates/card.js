// A method's card: facts, commands and some generated texts, written as plain text.
const openCard = (line, from) => {
  const dialog = document.getElementById("card");
  const body = document.getElementById("card-body");
  document.getElementById("card-title").textContent = line.options ? `${line.name} (${line.options})` : line.name;
  const facts = line.card.facts.flatMap(([term, text]) => [node("dt", {}, term), node("dd", {}, text)]);
  body.replaceChildren(node("p", { class: "note" }, tableNow().title), node("dl", {}, ...facts));
  for (const [what, command] of line.card.commands) {
    const button = node("button", { type: "button" }, "Copy");
    button.addEventListener("click", () => copyText(command).then(() => (button.textContent = "Copied")));
    body.append(node("h3", {}, what), node("div", { class: "command" }, node("code", {}, command), button));
  }
  if (line.card.samples.length) {
    const texts = line.card.samples.flatMap(([label, text]) => [node("dt", {}, label), node("dd", {}, text)]);
    body.append(node("h3", {}, "first texts of its first set"), node("dl", { class: "samples" }, ...texts));
  }
  dialog.showModal();
  document.getElementById("card-title").focus();
  dialog.addEventListener("close", () => from.isConnected && from.focus(), { once: true });
};
