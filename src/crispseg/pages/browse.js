"use strict";
// Sorts, filters and shows the images of an evaluation. All texts come from the data as text, never as HTML.

const data = JSON.parse(document.getElementById("data").textContent);
const PAGE = 60; // cards at a time
const PARTS = 10000; // of one: the shares of the data
const [NAME, HEIGHT, WIDTH, JUDGED, FIRST_RUN] = [0, 1, 2, 3, 4]; // places in an image
const [KEY, ROWS, CONFUSIONS] = [0, 1, 2]; // places in what a run has of it
const ROW = 1 + data.columns.length; // numbers in a row: its class, then the columns
const runs = data.runs.map((_, index) => index);
const VIEWS = [
  ["image", "Image"],
  ["truth", "Truth"],
  ["prediction", "Prediction"],
  ["wipe", "Truth | prediction"],
  ["errors", "Errors"],
].filter(([view]) => view !== "image" || data.photos);

const at = (id) => document.getElementById(id);
const state = { view: "errors", strength: 60, wipe: 50, shown: data.images, cards: 0, open: null };

function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

// ---- values of an image

function column(image, run, cls, index) {
  const rows = image[FIRST_RUN + run][ROWS];
  for (let start = 0; start < rows.length; start += ROW) {
    if (rows[start] !== cls) continue;
    const value = rows[start + 1 + index];
    if (data.columns[index].of === "error") return image[JUDGED] ? value / image[JUDGED] : null;
    return value < 0 ? null : value / PARTS;
  }
  return null;
}

function confused(image, run, truth, predicted) {
  const rows = image[FIRST_RUN + run][CONFUSIONS];
  for (let start = 0; start < rows.length; start += 3)
    if (rows[start] === truth && rows[start + 1] === predicted) return rows[start + 2] / image[JUDGED];
  return 0;
}

const chosen = () => ({
  sort: Number(at("sort").value),
  run: at("run").value,
  cls: at("class").value === "" ? data.whole : Number(at("class").value),
  taken: at("class").value === "" || at("taken").value === "" ? null : Number(at("taken").value),
  kind: at("kind").value === "" ? null : Number(at("kind").value),
});

const measure = (image, run, by) =>
  by.taken === null ? column(image, run, by.cls, by.sort) : confused(image, run, by.cls, by.taken);

// What images are sorted and filtered by: the value of a run, or how far the last run is from the first.
function keyOf(image, by) {
  if (by.run !== "difference") return measure(image, Number(by.run), by);
  const [first, last] = [measure(image, 0, by), measure(image, runs.length - 1, by)];
  return first === null || last === null ? null : last - first;
}

const percent = (share, signed = false) =>
  share === null ? "–" : (signed && share > 0 ? "+" : "") + (100 * share).toFixed(share && Math.abs(share) < 0.001 ? 3 : 1).replace("-", "−");

// ---- sort and filter

function select() {
  const by = chosen();
  const [low, high] = ["low", "high"].map((id) => (at(id).value === "" ? null : Number(at(id).value) / 100));
  const name = at("name").value.toLowerCase();
  const judged = by.run === "difference" ? runs : [Number(by.run)];
  const isError = by.taken !== null || data.columns[by.sort].of === "error";
  const direction = Number(at("order").value) * (isError ? -1 : 1);
  const kept = [];
  for (const image of data.images) {
    if (name && !image[NAME].toLowerCase().includes(name)) continue;
    if (by.kind !== null && !judged.some((run) => column(image, run, by.cls, by.kind) > 0)) continue;
    if (by.taken !== null && !judged.some((run) => measure(image, run, by) > 0)) continue;
    if (by.cls !== data.whole && !judged.some((run) => occurs(image, run, by.cls))) continue;
    const key = keyOf(image, by);
    if ((low !== null && !(key >= low && key !== null)) || (high !== null && !(key <= high && key !== null))) continue;
    kept.push([key, image]);
  }
  kept.sort(([a], [b]) => (a === null) - (b === null) || direction * (a - b)); // what has no value comes last
  state.shown = kept.map(([, image]) => image);
  at("count").textContent =
    kept.length === data.images.length ? `${kept.length} images` : `${kept.length} of ${data.images.length} images`;
  at("grid").replaceChildren();
  state.cards = 0;
  showMore();
}

function occurs(image, run, cls) {
  const rows = image[FIRST_RUN + run][ROWS];
  for (let start = 0; start < rows.length; start += ROW) if (rows[start] === cls) return true;
  return false;
}

// ---- pictures

function picture(image, run, kind) {
  const key = image[FIRST_RUN + (kind === "photo" || kind === "truth" ? 0 : run)][KEY];
  return make("img", {
    src: `${data.folder}/${kind}/${key}.${data.suffixes[kind]}`,
    className: kind,
    alt: `${kind} of ${image[NAME]}`,
    loading: "lazy",
    decoding: "async",
  });
}

// The layers of a view, over each other; without a photo the colours are all there is.
function fill(stack, image, run) {
  const { view } = state;
  const colours = { image: [], truth: ["truth"], prediction: ["prediction"], wipe: ["truth", "prediction"], errors: ["errors"] }[view];
  const below = data.photos ? "photo" : view === "errors" ? "truth" : null;
  const layers = [...(below ? [below] : []), ...colours].map((kind) => picture(image, run, kind));
  stack.replaceChildren(...layers);
  stack.classList.toggle("dim", view === "errors");
  stack.style.aspectRatio = `${image[WIDTH]} / ${image[HEIGHT]}`;
  if (view === "wipe") stack.append(make("i", { className: "edge" }));
  tune(stack);
}

function tune(stack) {
  const strength = data.photos ? state.strength / 100 : 1;
  for (const layer of stack.querySelectorAll("img")) {
    const { className } = layer;
    layer.style.opacity = className === "truth" || className === "prediction" ? strength : 1;
    if (!data.photos && state.view === "errors" && className === "truth") layer.style.opacity = 0.35;
    if (state.view !== "wipe") continue;
    if (className === "truth") layer.style.clipPath = `inset(0 ${100 - state.wipe}% 0 0)`;
    if (className === "prediction") layer.style.clipPath = `inset(0 0 0 ${state.wipe}%)`;
  }
  const edge = stack.querySelector(".edge");
  if (edge) edge.style.left = `${state.wipe}%`;
}

const stacks = () => document.querySelectorAll(".stack");

function stackOf(image, run) {
  const stack = make("span", { className: "stack" });
  stack.shown = [image, run];
  fill(stack, image, run);
  return stack;
}

// ---- the grid

function showMore() {
  const by = chosen();
  const title = by.taken === null ? data.columns[by.sort].title : `taken for ${nameOf(by.taken)}`;
  const upTo = Math.min(state.cards + PAGE, state.shown.length);
  const cards = [];
  for (let place = state.cards; place < upTo; place++) cards.push(make("li", {}, card(place, by, title)));
  at("grid").append(...cards);
  state.cards = upTo;
  at("more").hidden = upTo === state.shown.length;
}

function card(place, by, title) {
  const image = state.shown[place];
  const values = make("span", { className: "value" }, `${title} `);
  runs.forEach((run) => values.append(run ? " → " : "", make("b", {}, percent(measure(image, run, by)))));
  const button = make(
    "button",
    { type: "button", className: "shot", onclick: () => show(place) },
    make("span", { className: "runs" }, ...runs.map((run) => stackOf(image, run))),
    make("span", { className: "name", title: image[NAME] }, image[NAME]),
    values,
  );
  if (by.run === "difference") values.append(` (${percent(keyOf(image, by), true)})`);
  return button;
}

// ---- one image

function show(place) {
  const image = state.shown[place];
  state.open = place;
  at("large-name").textContent = image[NAME];
  at("large-place").textContent = `${place + 1} of ${state.shown.length} · ${image[WIDTH]}×${image[HEIGHT]}`;
  at("previous").disabled = place === 0;
  at("next").disabled = place === state.shown.length - 1;
  at("pictures").replaceChildren(
    ...runs.map((run) => {
      const stack = stackOf(image, run);
      stack.style.maxWidth = `calc(68dvh * ${image[WIDTH] / image[HEIGHT]})`;
      return make("figure", {}, stack, make("figcaption", {}, data.runs[run]));
    }),
  );
  at("tables").replaceChildren(classTable(image), ...runs.map((run) => confusionTable(image, run)));
  if (!at("large").open) at("large").showModal();
  at("large").scrollTop = 0;
}

function step(by) {
  const place = state.open + by;
  if (place < 0 || place >= state.shown.length) return;
  while (place >= state.cards) showMore(); // so that there is a card to come back to
  show(place);
}

const nameOf = (cls) => (cls === data.whole ? "all classes" : cls < data.classes.length ? data.classes[cls].name : "(none)");

function classCell(cls) {
  const cell = make("th", { scope: "row" });
  if (cls >= 0 && cls < data.classes.length) {
    const swatch = make("span", { className: "swatch" });
    swatch.style.background = data.classes[cls].colour;
    cell.append(swatch);
  }
  cell.append(nameOf(cls));
  return cell;
}

function table(caption, headings, rows) {
  const head = make("tr", {}, ...headings.map((text) => make("th", { scope: "col" }, text)));
  const body = rows.map(([first, ...cells]) => make("tr", {}, first, ...cells.map((text) => make("td", {}, text))));
  const whole = make("table", {}, make("caption", {}, caption), make("thead", {}, head), make("tbody", {}, ...body));
  return make("div", { className: "card scroll" }, whole);
}

function classTable(image) {
  const first = (test) => data.columns.findIndex(test); // -1 where scores were chosen without it
  const shown = [0, first(({ title }) => title.startsWith("boundary F")), first(({ of }) => of === "error")].filter((index) => index >= 0);
  const present = new Set();
  for (const run of runs) {
    const rows = image[FIRST_RUN + run][ROWS];
    for (let start = 0; start < rows.length; start += ROW) present.add(rows[start]);
  }
  const rows = [...present]
    .sort((a, b) => a - b)
    .map((cls) => [classCell(cls), ...shown.map((index) => runs.map((run) => percent(column(image, run, cls, index))).join(" → "))]);
  const order = runs.length > 1 ? ` ${data.runs.join(" → ")}.` : "";
  return table(`In per cent; errors of the judged pixels.${order}`, ["class", ...shown.map((index) => data.columns[index].title)], rows);
}

function confusionTable(image, run) {
  const flat = image[FIRST_RUN + run][CONFUSIONS];
  const rows = [];
  for (let start = 0; start < flat.length; start += 3) rows.push(flat.slice(start, start + 3));
  rows.sort((a, b) => b[2] - a[2]);
  const cells = rows.slice(0, 8).map(([truth, predicted, pixels]) => [classCell(truth), nameOf(predicted), String(pixels)]);
  return table(`What was taken for what${data.runs[run] && `, ${data.runs[run]}`}: the largest.`, ["truth", "taken for", "pixels"], cells);
}

// ---- controls

function options(id, entries) {
  at(id).append(...entries.map(([value, text]) => make("option", { value }, text)));
}

function views(id) {
  const buttons = VIEWS.map(([view, text]) => {
    const input = make("input", { type: "radio", name: id, value: view, checked: view === state.view });
    input.addEventListener("change", () => look(view));
    return make("label", {}, input, text);
  });
  at(id).replaceChildren(...buttons);
}

function look(view) {
  state.view = view;
  for (const input of document.querySelectorAll(".views input")) input.checked = input.value === view;
  at("of-wipe").hidden = view !== "wipe";
  for (const stack of stacks()) fill(stack, ...stack.shown);
}

function slide(id, name, ...others) {
  at(id).addEventListener("input", () => {
    state[name] = Number(at(id).value);
    for (const other of others) at(other).value = at(id).value;
    for (const stack of stacks()) tune(stack);
  });
}

function begin() {
  const numbered = data.columns.map(({ title, of }, index) => [index, title, of]);
  for (const [of, label] of [["score", "Scores"], ["error", "Errors"]]) {
    const group = make("optgroup", { label });
    group.append(...numbered.filter((entry) => entry[2] === of).map(([value, text]) => make("option", { value }, text)));
    at("sort").append(group);
  }
  options("kind", numbered.filter((entry) => entry[2] === "error"));
  options("class", data.classes.map(({ name }, index) => [index, name]));
  options("taken", [...data.classes.map(({ name }, index) => [index, name]), [data.classes.length, "(none)"]]);
  options("run", data.runs.map((name, index) => [index, name]));
  if (runs.length > 1) options("run", [["difference", `${data.runs.at(-1)} − ${data.runs[0]}`]]);
  at("of-run").hidden = runs.length === 1;
  document.documentElement.style.setProperty("--shot", runs.length > 1 ? "24rem" : "15rem");
  at("fold").open = !matchMedia("(max-width: 34rem)").matches; // on a phone the images come first
  views("view");
  views("large-view");
  at("keys").textContent = `Show (keys 1 to ${VIEWS.length})`;
  look(state.view);

  at("filters").addEventListener("input", ({ target }) => {
    if (target.closest("#view") || target.id === "strength") return; // the same images, shown otherwise
    if (target.id === "kind" && target.value) at("sort").value = target.value;
    at("taken").disabled = at("class").value === "";
    select();
  });
  at("filters").addEventListener("submit", (event) => event.preventDefault());
  at("filters").addEventListener("reset", () => setTimeout(() => {
    state.strength = Number(at("strength").value);
    at("taken").disabled = true;
    look("errors");
    select();
  }));
  at("taken").disabled = true;
  slide("strength", "strength", "large-strength");
  slide("large-strength", "strength", "strength");
  slide("wipe", "wipe");

  at("more").addEventListener("click", showMore);
  new IntersectionObserver(([entry]) => { if (entry.isIntersecting) showMore(); }, { rootMargin: "800px" }).observe(at("more"));
  at("previous").addEventListener("click", () => step(-1));
  at("next").addEventListener("click", () => step(1));
  at("close").addEventListener("click", () => at("large").close());
  at("large").addEventListener("close", () => {
    at("grid").children[state.open]?.firstChild.focus();
    state.open = null;
  });
  document.addEventListener("keydown", (event) => {
    if (state.open === null || event.altKey || event.ctrlKey || event.metaKey) return;
    const typed = VIEWS[Number(event.key) - 1];
    if (typed) look(typed[0]);
    if (event.target.tagName === "INPUT") return; // arrows move sliders and choices
    if (event.key === "ArrowLeft") step(-1);
    if (event.key === "ArrowRight") step(1);
  });
  document.addEventListener("error", (event) => { if (event.target.tagName === "IMG") at("missing").hidden = false; }, true);
  select();
}

begin();
