// Rows that the reader found guilty or innocent.

import { post } from "/api.js";
import { by, count, make, theirs } from "/dom.js";

let held = new Map();
const listeners = [];

export const markOf = (number) => held.get(number)?.mark ?? null;
export const onMarks = (listener) => listeners.push(listener);

export async function setMark(row, mark, question, method) {
  const found = await post("/api/marks", { row, mark, question: question ?? "", method: method ?? "" });
  showMarks(found.marks);
}

export function showMarks(marks) {
  held = new Map(marks.map((one) => [one.number, one]));
  by("marked-count").textContent = count(marks.length);
  by("no-marks").hidden = marks.length > 0;
  by("exports").hidden = marks.length === 0;
  by("marked").replaceChildren(...marks.map(line));
  for (const listener of listeners) listener();
}

function line(one) {
  const drop = make("button", { type: "button", "aria-label": `Take the mark off row ${one.number}` }, "Unmark");
  drop.addEventListener("click", async () => {
    drop.disabled = true;
    const next = drop.closest("li").nextElementSibling ?? drop.closest("li").previousElementSibling;
    const number = next?.dataset.number;
    try {
      await setMark(one.number, null);
      (by("marked").querySelector(`[data-number="${number}"] button`) ?? by("marks")).focus();
    } catch (error) {
      drop.disabled = false;
      document.dispatchEvent(new CustomEvent("fault", { detail: error.message }));
    }
  });
  const what = make("span", { class: "what" }, one.label ? theirs(`${one.label}: `) : null, theirs(one.text));
  return make(
    "li",
    { "data-number": one.number },
    make("span", { class: `word ${one.mark}` }, one.mark),
    make("span", {}, `row ${one.number}`),
    what,
    drop,
  );
}
