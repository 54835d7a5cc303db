// The word to guess on the front page: shows what the model and the grammar of the toy language gave to each word.
const box = document.getElementById("guess");
const rounds = JSON.parse(box.dataset.rounds);
let round = 0;

function percent(p) {
  return p >= 0.995 ? "over 99%" : p === 0 ? "0%" : p < 0.001 ? "under 0.1%" : (100 * p).toPrecision(2) + "%";
}

function element(name, text, className) {
  const made = document.createElement(name);
  made.textContent = text;
  if (className) made.className = className;
  return made;
}

function show() {
  const { context, words } = rounds[round];
  box.querySelector(".guess-context").replaceChildren(context + " ", element("b", "___"));
  box.querySelector(".guess-answer").replaceChildren();
  box.querySelector(".guess-words").replaceChildren(...words.map((entry) => {
    const button = element("button", entry.word === "<eos>" ? "(the sentence ends)" : entry.word);
    button.onclick = () => answer(entry, button);
    return button;
  }));
}

function answer(chosen, button) {
  const { words } = rounds[round];
  const best = words.reduce((a, b) => (b.grammar > a.grammar ? b : a));
  box.querySelectorAll(".guess-words button").forEach((other) => (other.disabled = true));
  button.className = "chosen";
  const rows = words.map((entry) => {
    const row = element("div", "", "guess-row");
    const bar = element("span", "", "bar");
    bar.style.setProperty("--p", entry.model);
    row.append(element("span", entry.word === "<eos>" ? "(end)" : entry.word), bar, element("span", percent(entry.model)));
    return row;
  });
  const bits = -Math.log2(best.model);
  const possible = chosen.grammar > 0;
  const verdict = best.grammar === 1
    ? (possible ? "Right: no other word is possible here." : `No: here only “${best.word}” is possible.`)
    : (possible ? `Possible: the grammar gives it ${percent(chosen.grammar)}.` : "Impossible in this language.");
  const model = best.grammar === 1 && best.model < 0.5
    ? `The model has forgotten it, and pays ${bits.toFixed(1)} bits.`
    : best.grammar === 1 ? "The model knows it too." : "The bars are the model's probabilities.";
  const next = element("button", round + 1 < rounds.length ? "Next" : "Again", "next");
  next.onclick = () => {
    round = (round + 1) % rounds.length;
    show();
    box.querySelector(".guess-words button").focus();
  };
  const answerBox = box.querySelector(".guess-answer");
  answerBox.replaceChildren(element("p", `${verdict} ${model}`), ...rows, next);
  next.focus({ preventScroll: true });
  next.scrollIntoView({ block: "nearest" });
}

box.hidden = false;
show();
