// Elements from data. Text is only ever put in as text.

export const by = (id) => document.getElementById(id);

export function make(tag, about = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(about)) {
    if (value === null || value === undefined) continue;
    if (name === "class") element.className = value;
    else if (name === "on") for (const [event, act] of Object.entries(value)) element.addEventListener(event, act);
    else element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

// Text from elsewhere: whatever its direction, what stands beside it keeps its place.
export function theirs(text) {
  return make("bdi", {}, text);
}

// The same with `commands` set apart.
export function sentence(text) {
  const parts = text.split("`");
  return make("bdi", {}, ...parts.map((part, place) => (place % 2 && place < parts.length - 1 ? make("code", {}, part) : part)));
}

const counts = new Intl.NumberFormat("en");
export const count = (value) => counts.format(value);

const figures = new Intl.NumberFormat("en", { maximumSignificantDigits: 4, signDisplay: "exceptZero" });
const tiny = new Intl.NumberFormat("en", { maximumSignificantDigits: 3, notation: "scientific", signDisplay: "exceptZero" });

export function signed(value) {
  const size = Math.abs(value);
  const form = size > 0 && (size < 1e-4 || size >= 1e7) ? tiny : figures;
  return form.format(value).replaceAll("-", "−").replace("E", "e");
}
