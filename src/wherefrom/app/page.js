// The page: a question, its answer, the verdict, the rows.

import { about, lines, post } from "/api.js";
import { by, count, make, sentence, theirs } from "/dom.js";
import { onMarks, showMarks } from "/marks.js";
import { rowView, showMark } from "/row.js";
import { startTheme } from "/theme.js";

const COUNT = 10;
const REASONS = 2;
const SIDES = ["proponents", "opponents"];
const MARKED = { guilty: "guilty", innocent: "innocent", none: "not marked" };

// What is shown now; answers to what was asked before are dropped.
let question = null;
let asking = null;
let turn = 0;

const say = (text) => (by("status").textContent = text);

function fault(message) {
  by("fault").textContent = message ?? "";
  by("fault").hidden = !message;
  if (message) by("fault").scrollIntoView({ block: "nearest" });
}
document.addEventListener("fault", (event) => fault(event.detail));

// Filters

function chosen() {
  const held = by("facet").value;
  const fields = { text: by("text").value };
  if (held.startsWith("mark:")) fields.marked = held.slice(5);
  else if (held) fields.facet = held.split(":").map(Number);
  return fields;
}

function fillFilters(run) {
  const facet = by("facet");
  facet.append(make("option", { value: "" }, `all ${count(run.rows)}`));
  run.facets.forEach((one, column) => {
    const group = make("optgroup", { label: one.column });
    one.values.forEach((held, place) => {
      group.append(make("option", { value: `${column}:${place}` }, `${held.value} (${count(held.rows)})`));
    });
    facet.append(group);
  });
  const group = make("optgroup", { label: "marks" });
  for (const [mark, name] of Object.entries(MARKED)) group.append(make("option", { value: `mark:${mark}` }, name));
  facet.append(group);

  for (const one of run.methods) {
    const option = make("option", { value: one.method }, one.why_not ? `${one.method} (not here)` : one.method);
    option.disabled = one.why_not !== null;
    option.title = one.why_not ?? "";
    by("method").append(option);
  }
  by("method").value = run.leading;
}

// Rows

function showRows(found, append) {
  for (const side of SIDES) {
    if (!(side in found)) continue;
    const list = by(side);
    const views = found[side].map((line) => rowView(line, found.largest, question, found.method));
    if (append) list.append(...views);
    else list.replaceChildren(...views);
    if (!list.children.length) list.append(make("li", { class: "none" }, "No row fits the filter."));
    const more = by(`more-${side}`);
    more.hidden = found.start + found[side].length >= found.matching;
    if (append) views[0]?.querySelector("button")?.focus({ preventScroll: true });
  }
  by("rows").hidden = false;
  by("unit").textContent = `Score: ${found.unit}. Higher = pushed the model more towards this response.${found.size ? ` Without it: ${found.size}.` : ""}`;
  const some = found.matching < found.rows;
  by("matching").textContent = some ? `${count(found.matching)} of ${count(found.rows)} rows fit the filter.` : "";
}

async function loadRows(fields = {}, append = false) {
  if (question === null) return;
  const mine = append ? turn : ++turn;
  by("sides").setAttribute("aria-busy", "true");
  try {
    const asked = { question, method: by("method").value, count: COUNT, ...chosen(), ...fields };
    const found = await post("/api/rows", asked);
    if (mine !== turn) return;
    fault(null);
    showRows(found, append);
  } catch (error) {
    if (mine === turn) fault(error.message);
  }
  if (mine === turn) by("sides").setAttribute("aria-busy", "false");
}

// Verdict

function showVerdict(word, chance, reasons) {
  by("verdict").hidden = false;
  by("verdict-word").textContent = word;
  by("verdict-word").className = `is-${word.replaceAll(" ", "-")}`;
  by("verdict-chance").textContent = chance;
  const items = reasons.map((reason) => make("li", {}, sentence(reason)));
  by("verdict-reasons").replaceChildren(...items.slice(0, REASONS));
  by("verdict-rest").hidden = items.length <= REASONS;
  by("verdict-rest").lastElementChild.replaceChildren(...items.slice(REASONS));
}

async function loadVerdict() {
  const [mine, method] = [question, by("method").value];
  const still = () => mine === question && method === by("method").value;
  showVerdict("Looking…", "", []);
  by("verdict-word").className = "is-waiting";
  try {
    const found = await post("/api/verdict", { question: mine, method });
    if (!still()) return;
    const chance = found.number === null ? "" : `${Math.round(100 * found.number)} % that retraining without the ${count(found.rows)} top rows bears it out`;
    showVerdict(found.word, chance, found.reasons);
  } catch (error) {
    if (still()) showVerdict("cannot tell", "", [error.message]);
  }
}

// Question

function begin() {
  question = null;
  turn += 1;
  fault(null);
  by("said-text").textContent = "";
  by("said-about").textContent = "";
  by("said").setAttribute("aria-busy", "true");
  by("answer").hidden = false;
  by("rows").hidden = true;
  by("verdict").hidden = true;
  by("stop").hidden = false;
  by("ask").disabled = true;
  say("The model is asked.");
}

function end() {
  by("said").setAttribute("aria-busy", "false");
  by("stop").hidden = true;
  by("ask").disabled = false;
  asking = null;
}

async function ask() {
  if (asking || !by("prompt").value.trim()) return;
  asking = new AbortController();
  begin();
  const begun = performance.now();
  const seconds = () => `${((performance.now() - begun) / 1000).toFixed(1)} s`;
  const fields = { prompt: by("prompt").value, response: by("response").value, longest: Number(by("longest").value), method: by("method").value, count: COUNT, ...chosen() };
  try {
    for await (const event of lines("/api/ask", fields, asking.signal)) {
      if (event.kind === "piece") by("said-text").append(event.text);
      if (event.kind === "answer") {
        question = event.question;
        by("said-text").textContent = event.response;
        by("said").setAttribute("aria-busy", "false");
        by("said-about").textContent = event.generated ? `The model’s own answer, in ${seconds()}; looking for the rows…` : "Looking for the rows…";
      }
      if (event.kind === "rows") {
        const own = by("response").value.trim() ? "The response that was given" : "The model’s own answer";
        by("said-about").textContent = `${own}; the rows were here after ${seconds()}.`;
        showRows(event, false);
        say("The rows behind the answer are here.");
      }
      if (event.kind === "error") throw new Error(event.error);
    }
    end();
    if (question !== null && !by("rows").hidden) await loadVerdict();
  } catch (error) {
    const stopped = error.name === "AbortError";
    by("said-about").textContent = stopped ? "Stopped." : "";
    if (!stopped) fault(error.message);
    if (!stopped && !by("said-text").textContent) by("answer").hidden = true;
    end();
  }
}

function stop() {
  asking?.abort();
}

// Start

function listen() {
  by("question").addEventListener("submit", (event) => {
    event.preventDefault();
    ask();
  });
  by("stop").addEventListener("click", stop);
  document.addEventListener("keydown", (event) => {
    const writing = event.target.matches?.("#question textarea, #question input");
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && writing) {
      event.preventDefault();
      by("question").requestSubmit();
    }
    if (event.key === "Escape") stop();
  });
  by("method").addEventListener("change", async () => {
    if (question === null) return;
    await loadRows();
    await loadVerdict();
  });
  by("facet").addEventListener("change", () => loadRows());
  let waiting = 0;
  by("text").addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(loadRows, 250);
  });
  for (const side of SIDES) {
    by(`more-${side}`).addEventListener("click", () => {
      const start = by(side).querySelectorAll(".row").length;
      loadRows({ side: side, start }, true);
    });
  }
  onMarks(() => document.querySelectorAll("li.row").forEach(showMark));
}

async function start() {
  startTheme();
  listen();
  try {
    const run = await about();
    document.title = `${run.name} – wherefrom`;
    by("name").append(theirs(run.name));
    const parts = [run.model, run.task, `${count(run.rows)} training rows`, run.recipe].filter(Boolean);
    by("about").textContent = parts.join(" · ");
    fillFilters(run);
    for (const text of run.examples) {
      const button = make("button", { type: "button", title: text }, theirs(text));
      button.addEventListener("click", () => {
        by("prompt").value = text;
        by("prompt").focus();
      });
      by("try").append(button);
      by("try").hidden = false;
    }
    showMarks(run.marks);
  } catch (error) {
    fault(error.message);
  }
}

start();
