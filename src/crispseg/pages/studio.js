"use strict";
// Sends images to the server that the page came from, and shows what its models see. All texts are put in as text.

const page = JSON.parse(document.getElementById("data").textContent);
const at = (id) => document.getElementById(id);
const ZOOMS = [1, 2, 4, 8, 16, 32]; // screen pixels of a pixel of the image
const MOST = 3; // beside each other
const state = {
  classes: [], sent: null, image: null, name: "image", view: "overlay", shown: [], cuts: [], zoom: null, pixel: null, asked: 0, again: -Infinity,
};

function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

function say(text, bad = false) {
  at("status").textContent = text;
  at("status").classList.toggle("bad", bad);
}

// ---- the server

const GONE = "The server did not answer: it has ended, or the connection broke off. See that crispseg app runs, and try again.";

async function ask(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, options);
  } catch {
    throw Object.assign(new Error(GONE), { status: 0 });
  }
  const values = await answer.json().catch(() => ({ error: `The server answered with the status ${answer.status}.` }));
  if (!answer.ok) throw Object.assign(new Error(values.error), { status: answer.status });
  return values;
}

async function wait() {
  try {
    const { ready, models, classes } = await ask("state");
    state.classes = classes;
    at("models").textContent = models.map(({ name, ready }) => (ready ? name : `${name} (loading …)`)).join(", ");
    if (!ready) return setTimeout(wait, 400);
    for (const button of document.querySelectorAll("[data-example]")) button.firstChild.src = `examples/${button.dataset.example}.jpg`;
    if (state.image) show();
  } catch (error) {
    at("models").textContent = page.models.join(", ");
    say(error.message, true);
  }
}

// What was sent is remembered, for the server keeps images for a while only.
async function send(sent) {
  const turn = ++state.asked;
  if (sent.file && sent.file.size > page.max_bytes)
    return say(`${sent.name}: ${(sent.file.size / 1e6).toFixed(1)} MB found, at most ${page.max_bytes / 1e6} MB expected; choose a smaller file.`, true);
  say(`Looking at ${sent.name} …`);
  const started = performance.now();
  try {
    const image = sent.file
      ? await ask("images", { method: "POST", body: sent.file })
      : await ask(`images?example=${sent.example}`, { method: "POST" });
    if (turn !== state.asked) return; // another was sent since
    if (!state.classes.length) state.classes = (await ask("state")).classes;
    const isSame = state.sent === sent;
    Object.assign(state, { sent, image, name: sent.name, pixel: isSame ? state.pixel : null, zoom: isSame ? state.zoom : null });
    const seconds = ((performance.now() - started) / 1000).toFixed(2);
    const [height, width] = image.original_hw;
    const shrunk = height === image.height ? "" : ` Made smaller, from ${width}×${height} to ${image.width}×${image.height} pixels.`;
    say(`${sent.name}: seen in ${seconds} s.${shrunk}`);
    open();
  } catch (error) {
    if (turn === state.asked) say(`${sent.name}: ${error.message}`, true);
  }
}

async function judge(file) {
  if (!state.image) return;
  if (file.size > page.max_bytes) return say(`${file.name}: larger than ${page.max_bytes / 1e6} MB; choose a smaller file.`, true);
  say(`Reading ${file.name} …`);
  try {
    state.image = await ask(`images/${state.image.id}/truth?encoding=${at("encoding").value}`, { method: "POST", body: file });
    say(`${file.name}: read; there is a view of errors now, and the scores stand beside the picture.`);
    open();
  } catch (error) {
    failed(error, file.name);
  }
}

// Images go when the server needs their memory; then the same is sent once more.
function failed(error, name) {
  if (error.status === 410 && performance.now() - state.again > 5000) {
    state.again = performance.now();
    send(state.sent);
  } else say(`${name}: ${error.message}`, true);
}

const address = (rest) => `images/${state.image.id}/${rest}`;

// ---- what is shown

const sources = () => [
  ...state.image.models.map(({ name }, model) => ({ key: `model ${model}`, title: name, model })),
  ...(state.image.truth ? [{ key: "truth", title: "truth" }] : []),
  { key: "photo", title: "image" },
];

function views() {
  const found = new Map();
  for (const { views } of state.image.models) for (const view of views) if (!found.has(view.name)) found.set(view.name, view);
  return [...found.values()];
}

function open() {
  at("work").hidden = false;
  document.querySelector("main").classList.add("working");
  const known = views();
  if (!known.some(({ name }) => name === state.view)) state.view = "overlay";
  const keys = sources().map(({ key }) => key);
  state.shown = state.shown.filter((key) => keys.includes(key));
  if (!state.shown.length) state.shown = keys.filter((key) => key.startsWith("model")).slice(0, MOST);
  at("views").replaceChildren(...known.map(({ name, title }) => chip("radio", "view", name, title, name === state.view, () => ((state.view = name), show()))));
  at("sources").replaceChildren(...sources().map(({ key, title }) => chip("checkbox", "source", key, title, state.shown.includes(key), choose)));
  at("size").textContent = `${state.image.width}×${state.image.height} pixels`;
  scores();
  show();
  if (state.pixel) pick(...state.pixel);
  else at("pixel").replaceChildren(make("p", { className: "note" }, "None is chosen."));
}

function chip(type, group, value, title, checked, onChange) {
  const input = make("input", { type, name: group, value, checked });
  input.addEventListener("change", onChange);
  return make("label", {}, input, title);
}

function choose() {
  const ticked = [...at("sources").querySelectorAll("input")].filter(({ checked }) => checked).map(({ value }) => value);
  state.shown = ticked.length ? ticked : [sources()[0].key];
  show();
}

function show() {
  const all = sources();
  for (const input of at("sources").querySelectorAll("input")) {
    input.checked = state.shown.includes(input.value);
    input.disabled = !input.checked && state.shown.length >= MOST;
  }
  const shown = state.shown.map((key) => all.find((source) => source.key === key));
  const count = shown.length - 1;
  if (state.cuts.length !== count) state.cuts = Array.from({ length: count }, (_, index) => (100 * (index + 1)) / (count + 1));
  at("canvas").replaceChildren(...shown.map(layer), ...(state.pixel ? [make("i", { className: "mark" })] : []));
  for (const old of at("frame").querySelectorAll(".edge, .names")) old.remove();
  if (count) at("frame").append(...shown.map(({ title }) => make("span", { className: "names", title }, title)), ...state.cuts.map(handle));
  at("dividers").replaceChildren(...state.cuts.map((cut, index) => slider(index, shown)));
  at("of-strength").hidden = state.view !== "overlay";
  describe(shown);
  downloads(shown);
  fit();
}

function layer({ key, model }) {
  const photo = picture("photo.png", "the image");
  if (key === "photo") return make("div", { className: "layer" }, photo);
  const kind = views().find(({ name }) => name === state.view).name;
  const colours = key === "truth" ? "truth.png" : placeOf(model, kind === "overlay" ? "mask" : kind);
  const drawn = colours && picture(colours, `${kind} of ${key}`);
  if (drawn) drawn.classList.add("drawn");
  if (drawn && kind === "overlay") drawn.style.opacity = at("strength").value / 100;
  return make("div", { className: "layer" }, photo, ...(drawn ? [drawn] : []));
}

function placeOf(model, name) {
  const view = state.image.models[model].views.findIndex((one) => one.name === name);
  return view < 0 ? null : `models/${model}/views/${view}.png`;
}

function picture(rest, alt) {
  const image = make("img", { src: address(rest), alt, draggable: false });
  image.addEventListener("error", () => ask(address("pixel?x=0&y=0")).catch((error) => failed(error, state.name)));
  return image;
}

function describe(shown) {
  const view = views().find(({ name }) => name === state.view);
  at("view-title").textContent = view.title;
  at("wheel").hidden = view.kind !== "flow";
  if (view.kind === "flow") at("wheel").src = "flow.png";
  const models = shown.filter(({ model }) => model !== undefined).map(({ model, title }) => {
    const { views } = state.image.models[model];
    return { title, titles: views.map((one) => one.title).join(", "), note: views.find(({ name }) => name === state.view)?.note };
  });
  const isCommon = new Set(models.map(({ note }) => note)).size === 1;
  const lines = models.map(({ title, titles, note }) => {
    if (!note) return `${title} has no view “${view.title}”, so the image is shown; it has ${titles}.`;
    return isCommon ? note : `${title}: ${note}`;
  });
  at("note").replaceChildren(...[...new Set(lines)].map((line) => make("p", { className: "note" }, line)));
  at("legend").hidden = view.kind !== "classes";
  at("legend").replaceChildren(...state.classes.map(({ name, colour }) => make("li", {}, swatch(colour), name)));
}

function swatch(colour) {
  const box = make("span", { className: "swatch" });
  box.style.background = colour;
  return box;
}

// ---- comparing: each picture is cut off where the next begins, by what is seen of the stage

function slider(index, shown) {
  const label = `Border between ${shown[index].title} and ${shown[index + 1].title}`;
  const input = make("input", { type: "range", min: 0, max: 100, step: 0.5, value: state.cuts[index] });
  input.setAttribute("aria-label", label);
  input.addEventListener("input", () => cut(index, Number(input.value)));
  return input;
}

function handle(_, index) {
  const edge = make("span", { className: "edge" });
  edge.addEventListener("pointerdown", (event) => { edge.setPointerCapture(event.pointerId); event.preventDefault(); });
  edge.addEventListener("pointermove", (event) => {
    if (!edge.hasPointerCapture(event.pointerId)) return;
    const box = at("stage").getBoundingClientRect();
    cut(index, (100 * (event.clientX - box.left)) / at("stage").clientWidth);
  });
  return edge;
}

function cut(index, place) {
  state.cuts[index] = Math.min(Math.max(place, 0), 100);
  state.cuts = state.cuts.map((one, other) => (other < index ? Math.min(one, state.cuts[index]) : other > index ? Math.max(one, state.cuts[index]) : one));
  tune();
}

function tune() {
  const stage = at("stage"), canvas = at("canvas"), width = stage.clientWidth;
  const left = (share) => (share * width) / 100 + stage.scrollLeft - canvas.offsetLeft;
  const cuts = [-Infinity, ...state.cuts.map(left), Infinity];
  [...canvas.querySelectorAll(".layer")].forEach((one, index) => {
    const from = Math.max(cuts[index], 0), to = Math.max(canvas.clientWidth - cuts[index + 1], 0);
    one.style.clipPath = `inset(0 ${to}px 0 ${from}px)`;
  });
  const places = [0, ...state.cuts, 100];
  [...at("frame").querySelectorAll(".edge")].forEach((edge, index) => { edge.style.left = `${(state.cuts[index] * width) / 100}px`; });
  [...at("frame").querySelectorAll(".names")].forEach((name, index) => {
    name.style.left = `calc(${(places[index] * width) / 100}px + .4rem)`;
    name.style.maxWidth = `max(${((places[index + 1] - places[index]) * width) / 100 - 14}px, 0px)`;
    name.hidden = places[index + 1] - places[index] < 4;
  });
  [...at("dividers").children].forEach((input, index) => { input.value = state.cuts[index]; });
}

// ---- zoom

const fitting = () => Math.min(at("stage").clientWidth / state.image.width, (0.74 * innerHeight) / state.image.height);
const scale = () => state.zoom ?? fitting();

function fit() {
  const canvas = at("canvas");
  canvas.style.width = `${state.image.width * scale()}px`;
  canvas.style.height = `${state.image.height * scale()}px`;
  canvas.classList.toggle("sharp", scale() >= 2);
  at("zoom").textContent = `${Math.round(100 * scale())} %`;
  const mark = canvas.querySelector(".mark");
  if (mark) {
    const [x, y] = state.pixel;
    Object.assign(mark.style, { left: `${(x + 0.5) * scale()}px`, top: `${(y + 0.5) * scale()}px`, width: `${scale()}px`, height: `${scale()}px` });
  }
  tune();
}

function zoomTo(zoom) {
  if (!state.image) return;
  const stage = at("stage"), before = scale();
  const middle = state.pixel
    ? [state.pixel[0] + 0.5, state.pixel[1] + 0.5]
    : [(stage.scrollLeft + stage.clientWidth / 2) / before, (stage.scrollTop + stage.clientHeight / 2) / before];
  state.zoom = zoom;
  fit();
  stage.scrollTo(middle[0] * scale() - stage.clientWidth / 2, middle[1] * scale() - stage.clientHeight / 2);
  tune();
}

function step(by) {
  const now = scale();
  if (by > 0) zoomTo(ZOOMS.find((zoom) => zoom > now * 1.01) ?? ZOOMS.at(-1));
  else {
    const next = ZOOMS.findLast((zoom) => zoom < now * 0.99);
    zoomTo(next === undefined || next <= fitting() ? null : next);
  }
}

// ---- a pixel

async function pick(x, y) {
  state.pixel = [x, y];
  if (!at("canvas").querySelector(".mark")) at("canvas").append(make("i", { className: "mark" }));
  fit();
  try {
    const found = await ask(address(`pixel?x=${x}&y=${y}`));
    if (state.pixel[0] !== x || state.pixel[1] !== y) return;
    const nameOf = (cls) => state.classes[cls]?.name ?? "not judged";
    const best = state.classes.map((_, cls) => Math.max(...found.probabilities.map((shares) => shares[cls])));
    const order = best.map((_, cls) => cls).sort((a, b) => best[b] - best[a]).slice(0, 6);
    const rows = order.map((cls) => [cell(cls), ...found.probabilities.map((shares, model) => percent(shares[cls], found.labels[model] === cls))]);
    const caption = `Column ${x}, row ${y}; colour ${found.rgb.join(", ")}.${found.truth === null ? "" : ` Truth: ${nameOf(found.truth)}.`} Probabilities in %, the likeliest six classes.`;
    at("pixel").replaceChildren(table(caption, ["class", ...state.image.models.map(({ name }) => name)], rows));
  } catch (error) {
    failed(error, state.name);
  }
}

const percent = (share, strong = false) => {
  const text = share === null ? "–" : (100 * share).toFixed(1);
  return strong ? make("b", {}, text) : text;
};

const cell = (cls) => make("th", { scope: "row" }, swatch(state.classes[cls].colour), state.classes[cls].name);

function table(caption, headings, rows) {
  const head = make("tr", {}, ...headings.map((text) => make("th", { scope: "col", title: text }, text)));
  const body = rows.map(([first, ...cells]) => make("tr", {}, first, ...cells.map((one) => make("td", {}, one))));
  return make("table", {}, make("caption", {}, caption), make("thead", {}, head), make("tbody", {}, ...body));
}

function move(dx, dy) {
  const [x, y] = state.pixel ?? [Math.floor(state.image.width / 2), Math.floor(state.image.height / 2)];
  const next = [Math.min(Math.max(x + dx, 0), state.image.width - 1), Math.min(Math.max(y + dy, 0), state.image.height - 1)];
  pick(...next);
  at("canvas").querySelector(".mark").scrollIntoView({ block: "nearest", inline: "nearest" });
}

// ---- scores and downloads

function scores() {
  const all = state.image.scores;
  if (!all) return at("scores").replaceChildren();
  const row = (title, value) => [make("th", { scope: "row" }, title), ...all.map((one) => percent(value(one)))];
  const rows = [row("mean IoU", (one) => one.mean_iou), row("pixels right", (one) => one.pixel_accuracy)];
  for (const radius of Object.keys(all[0].mean_boundary_f)) rows.push(row(`boundary F, ${radius} px`, (one) => one.mean_boundary_f[radius]));
  state.classes.forEach(({ name }, cls) => {
    if (all.some((one) => one.iou[name] !== null)) rows.push([cell(cls), ...all.map((one) => percent(one.iou[name]))]);
  });
  at("scores").replaceChildren(table("In %, of this image; of classes: IoU.", ["", ...state.image.models.map(({ name }) => name)], rows));
}

function downloads(shown) {
  const stem = state.name.replace(/\.[^.]*$/, "") || "image";
  const link = (rest, file, text) => make("a", { className: "button", href: rest, download: file }, text);
  const links = shown.filter(({ model }) => model !== undefined).flatMap(({ model, title }) => {
    const place = placeOf(model, state.view);
    const view = views().find(({ name }) => name === state.view);
    return [
      ...(place ? [link(address(place), `${stem}_${title}_${view.title}.png`, `${view.title}, ${title} (PNG)`)] : []),
      link(address(`models/${model}/mask.png`), `${stem}_${title}_labels.png`, `Label ids, ${title} (PNG)`),
    ];
  });
  if (state.image.scores) {
    const named = Object.fromEntries(state.image.models.map(({ name }, model) => [name, state.image.scores[model]]));
    const text = encodeURIComponent(JSON.stringify(named, null, 2));
    links.push(link(`data:application/json;charset=utf-8,${text}`, `${stem}_scores.json`, "Scores (JSON)"));
  }
  at("downloads").replaceChildren(...links);
}

// ---- controls

function begin() {
  const take = (file) => file && send({ file, name: file.name || "the image" });
  at("file").addEventListener("change", () => take(at("file").files[0]));
  at("label").addEventListener("change", () => at("label").files[0] && judge(at("label").files[0]));
  at("encoding").addEventListener("change", () => at("label").files[0] && judge(at("label").files[0]));
  for (const button of document.querySelectorAll("[data-example]"))
    button.addEventListener("click", () => send({ example: button.dataset.example, name: button.textContent.trim() }));
  document.addEventListener("dragover", (event) => { event.preventDefault(); at("take").classList.add("over"); });
  document.addEventListener("dragleave", () => at("take").classList.remove("over"));
  document.addEventListener("drop", (event) => { event.preventDefault(); at("take").classList.remove("over"); take(event.dataTransfer.files[0]); });
  document.addEventListener("paste", (event) => take(event.clipboardData.files[0]));
  at("strength").addEventListener("input", () => {
    for (const image of at("canvas").querySelectorAll(".drawn")) image.style.opacity = at("strength").value / 100;
  });
  at("in").addEventListener("click", () => step(1));
  at("out").addEventListener("click", () => step(-1));
  at("fit").addEventListener("click", () => zoomTo(null));
  at("stage").addEventListener("scroll", tune);
  new ResizeObserver(() => state.image && fit()).observe(at("frame"));
  at("canvas").addEventListener("click", (event) => {
    const box = at("canvas").getBoundingClientRect();
    const place = (value, size) => Math.min(Math.max(Math.floor(value / scale()), 0), size - 1);
    pick(place(event.clientX - box.left, state.image.width), place(event.clientY - box.top, state.image.height));
  });
  at("stage").addEventListener("wheel", (event) => {
    if (!event.ctrlKey) return;
    event.preventDefault();
    step(event.deltaY < 0 ? 1 : -1);
  }, { passive: false });
  at("stage").addEventListener("keydown", (event) => {
    const by = event.shiftKey ? 10 : 1;
    const keys = {
      ArrowLeft: () => move(-by, 0), ArrowRight: () => move(by, 0), ArrowUp: () => move(0, -by), ArrowDown: () => move(0, by),
      "+": () => step(1), "=": () => step(1), "-": () => step(-1), 0: () => zoomTo(null), Enter: () => move(0, 0),
    };
    if (event.ctrlKey || event.metaKey || event.altKey || !keys[event.key]) return;
    event.preventDefault();
    keys[event.key]();
  });
  wait();
}

begin();
