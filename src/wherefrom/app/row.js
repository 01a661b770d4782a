// One training row as evidence.

import { post } from "/api.js";
import { count, make, signed, theirs } from "/dom.js";
import { markOf, setMark } from "/marks.js";
import { tokenView } from "/tokens.js";

const REMOVAL =
  "Predicted change of the response’s log-probability, in nats, had the row not been trained on (mean over its tokens, unless the recipe sums them)";
const PERCENTILE =
  "Share of unrelated questions for which the row scores lower than here, each question’s scores in units of their own spread";

const tell = (error) => document.dispatchEvent(new CustomEvent("fault", { detail: error.message }));

export function rowView(line, largest, question, method) {
  const head = make("p", { class: "figures" }, make("span", { class: "rank" }, `${line.rank}.`));
  head.append(make("span", { class: "score" }, signed(line.score)));
  if (line.removal !== null) {
    head.append(make("span", { class: "beside removal", title: REMOVAL }, `without it ${signed(line.removal)} nats`));
  }
  if (line.percentile !== null) {
    const share = Math.round(100 * line.percentile);
    head.append(make("span", { class: "beside percentile", title: PERCENTILE }, `higher than for ${share} % of other questions`));
  }
  const fill = make("i", { class: line.score < 0 ? "takes" : null });
  fill.style.width = `${largest > 0 ? Math.max(1, (100 * Math.abs(line.score)) / largest) : 0}%`;

  const view = make("li", { class: "row", "data-number": line.number }, head);
  view.append(
    make("div", { class: "bar", "aria-hidden": "true" }, fill),
    textView(line, "prompt"),
    textView(line, "response"),
    make("div", { class: "foot" }, origin(line), acts(line, view, question, method)),
  );
  showMark(view);
  return view;
}

function origin(line) {
  const view = make("p", { class: "origin" });
  if (line.label !== null) view.append(make("span", { class: "label" }, theirs(line.label)));
  view.append(make("span", {}, `row ${line.number}`), make("span", {}, theirs(line.id)));
  if (line.source) view.append(make("span", { class: "source" }, theirs(line.source)));
  if (line.copies.length) {
    const more = line.more_copies ? ` and ${count(line.more_copies)} more` : "";
    const rows = line.copies.length > 1 ? "rows" : "row";
    view.append(make("span", { class: "copies" }, `nearly the same as ${rows} ${line.copies.join(", ")}${more}`));
  }
  return view;
}

function textView(line, part) {
  const held = line[part];
  const name = part === "prompt" ? "Prompt: " : "Response: ";
  const text = theirs(held.text);
  const view = make("div", { class: `text ${part}` }, make("span", { class: "unseen" }, name), text);
  if (held.next === null) return view;
  let next = held.next;
  const label = () => `Show more (${count(next)} of ${count(held.length)} characters)`;
  const more = make("button", { type: "button", class: "longer" }, label());
  text.append("…");
  view.append(more);
  let whole = held.text;
  more.addEventListener("click", async () => {
    more.disabled = true;
    try {
      const found = await post("/api/text", { row: line.number, part, start: next });
      whole += found.text;
      next = found.next;
      text.textContent = next === null ? whole : `${whole}…`;
      view.classList.add("long");
      view.tabIndex = 0;
      if (next === null) more.remove();
      else more.textContent = label();
    } catch (error) {
      tell(error);
    }
    more.disabled = false;
  });
  return view;
}

function acts(line, view, question, method) {
  const mark = (word) => {
    const name = word === "guilty" ? "Guilty" : "Innocent";
    const button = make("button", { type: "button", class: word, "aria-pressed": "false", "aria-label": `${name}: row ${line.number}` }, name);
    button.addEventListener("click", async () => {
      try {
        await setMark(line.number, markOf(line.number) === word ? null : word, question, method);
      } catch (error) {
        tell(error);
      }
    });
    return button;
  };
  const tokens = make("button", { type: "button", class: "why", "aria-expanded": "false", "aria-label": `Tokens of row ${line.number}` }, "Which tokens?");
  let shown = null;
  tokens.addEventListener("click", async () => {
    if (shown) {
      shown.hidden = !shown.hidden;
      tokens.setAttribute("aria-expanded", String(!shown.hidden));
      return;
    }
    tokens.disabled = true;
    tokens.textContent = "Taking it apart…";
    try {
      shown = tokenView(await post("/api/tokens", { row: line.number, question, method }));
    } catch (error) {
      shown = make("div", { class: "tokens" }, make("p", {}, theirs(error.message)));
    }
    view.append(shown);
    tokens.textContent = "Which tokens?";
    tokens.setAttribute("aria-expanded", "true");
    tokens.disabled = false;
    tokens.focus();
  });
  return make("div", { class: "acts" }, mark("guilty"), mark("innocent"), tokens);
}

// The same row may stand at both ends of a short list.
export function showMark(view) {
  const mark = markOf(Number(view.dataset.number));
  for (const word of ["guilty", "innocent"]) {
    view.classList.toggle(`is-${word}`, mark === word);
    view.querySelector(`.acts .${word}`)?.setAttribute("aria-pressed", String(mark === word));
  }
}
