// Which tokens carry a score.

import { count, make, signed, theirs } from "/dom.js";

const STRONGEST = 4;
const NEW_LINE = /\r?\n/g;

function span(token) {
  if (token.gap) {
    const sum = token.value === null ? "" : `, together ${signed(token.value)}`;
    return make("span", { class: "gap" }, ` … ${count(token.gap)} tokens${sum} … `);
  }
  const kind = token.step > 0 ? `p${token.step}` : token.step < 0 ? `m${-token.step}` : null;
  const told = token.value === null ? null : signed(token.value);
  return make("span", { class: kind, title: told }, token.text.replace(NEW_LINE, "↵\n"));
}

function strongest(tokens) {
  const held = tokens.filter((token) => token.text && token.value);
  held.sort((a, b) => Math.abs(b.value) - Math.abs(a.value));
  const line = make("p", { class: "hint" }, "Strongest: ");
  held.slice(0, STRONGEST).forEach((token, place) => {
    const text = token.text.trim() || "(space)";
    line.append(place ? ", “" : "“", theirs(text), `” ${signed(token.value)}`);
  });
  return line;
}

export function tokenView(found) {
  const view = make("div", { class: "tokens" });
  for (const side of found.sides) {
    const run = make("bdi", {}, ...side.tokens.map(span));
    view.append(make("h4", {}, side.name), make("p", { class: "run" }, run), strongest(side.tokens));
  }
  for (const note of found.notes) view.append(make("p", { class: "hint" }, theirs(note)));
  if (found.sides.length) {
    const key = make("p", { class: "hint" }, make("span", { class: "p3" }, " adds "), " ", make("span", { class: "m3" }, " takes away "));
    key.append(" — the darker, the more. The tokens of either text add up to the score.");
    view.append(key);
  }
  return view;
}
