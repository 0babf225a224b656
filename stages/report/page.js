"use strict";
// The gallery. Everything from the data becomes text by textContent or value, never markup.
const { facts, items: rows } = JSON.parse(document.getElementById("explained").textContent);
const record = (names, values) => Object.fromEntries(names.map((name, at) => [name, values[at]]));
// Behind the fields stands where the heat lies, of each method.
const items = rows.map((row) => ({ ...record(facts.fields, row),
  heat: record(facts.methods, row.at(-1).map((values) => record(facts.places, values))) }));
const byId = (id) => document.getElementById(id);
const filters = byId("filters"), list = byId("gallery"), dialog = byId("enlarged");
const PAGE = 48;
const numbers = facts.fields.includes("residual");
let shown = items, page = 0, current = 0;

const named = (label) => label === "" ? "nothing" : String(label);
const wrong = (item) => !numbers && item.label !== item.predicted;
const labels = (item) => facts.separator ? item.label.split(facts.separator) : [item.label];
const photo = (item) => `gradcam/photos/${encodeURIComponent(item.id)}.jpg`;
const overlay = (item, method) =>
  `gradcam/overlays/${encodeURIComponent(method)}/${encodeURIComponent(item.id)}.jpg`;
const third = (place, names) => names[Math.min(Math.floor(place * 3), 2)];
const peak = (heat) => heat.zero ? "nowhere, the map is zero everywhere" :
  `${third(heat.peak_y, ["top", "middle", "bottom"])} ${third(heat.peak_x, ["left", "centre", "right"])}`;
const caption = (item) => named(item.predicted) +
  (item.label === item.predicted ? "" : `, is ${named(item.label)}`);
const about = (item) => `Photo of ${named(item.label)}, predicted ${named(item.predicted)}`;

function element(tag, properties, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

const ORDERS = {
  confidence: (a, b) => b.confidence - a.confidence,
  doubt: (a, b) => a.confidence - b.confidence,
  error: (a, b) => Math.abs(b.residual) - Math.abs(a.residual),
  border: (a, b) => b.heat[facts.methods[0]].border - a.heat[facts.methods[0]].border,
};

function passes(item, chosen) {
  return (!chosen.label || labels(item).includes(chosen.label)) &&
    (!chosen.right || wrong(item) === (chosen.right === "wrong")) &&
    (!chosen.low || item.confidence >= Number(chosen.low)) &&
    (!chosen.high || item.confidence <= Number(chosen.high));
}

function select() {
  const chosen = Object.fromEntries(new FormData(filters));
  shown = items.filter((item) => passes(item, chosen));
  if (chosen.order) shown.sort(ORDERS[chosen.order]);
  page = 0;
  draw();
}

function tile(item, at) {
  const method = filters.elements.method.value;
  const pictures = element("span", { className: "stack" },
    element("img", { loading: "lazy", src: photo(item), alt: about(item) }),
    element("img", { loading: "lazy", className: "heat", src: overlay(item, method),
      alt: `Heat map by ${method}, brightest: ${peak(item.heat[method])}` }));
  const button = element("button", { type: "button", onclick: () => enlarge(at) }, pictures);
  const sure = numbers ? "" : ` (${(100 * item.confidence).toFixed(1)} %)`;
  const words = element("p", {}, caption(item) + sure, element("br"),
    element("small", { textContent: item.source }));
  return element("li", { className: wrong(item) ? "wrong" : "" }, button, words);
}

function draw() {
  const first = page * PAGE, last = Math.min(first + PAGE, shown.length);
  list.replaceChildren(...shown.slice(first, last).map((item, at) => tile(item, first + at)));
  byId("count").textContent = `${shown.length.toLocaleString("en")} of ${items.length.toLocaleString("en")} images`;
  byId("page").textContent = `${shown.length ? first + 1 : 0} to ${last} of ${shown.length}`;
  byId("pages").hidden = shown.length <= PAGE;
  const [previous, next] = byId("pages").querySelectorAll("button");
  previous.disabled = page === 0;
  next.disabled = last === shown.length;
}

function blend(value) {
  filters.elements.blend.value = byId("blend").value = value;
  document.documentElement.style.setProperty("--blend", value / 100);
}

function enlarge(at) {
  current = at;
  const item = shown[at], method = byId("method");
  method.value = filters.elements.method.value;
  const heat = item.heat[method.value];
  byId("enlarged-title").textContent = caption(item);
  Object.assign(byId("photo"), { src: photo(item), alt: about(item) });
  Object.assign(byId("heat"), { src: overlay(item, method.value),
    alt: `Heat map by ${method.value}, brightest: ${peak(heat)}` });
  const told = { file: item.source, label: named(item.label), predicted: named(item.predicted) };
  if (numbers) told["label less predicted"] = item.residual;
  else told.confidence = item.confidence;
  told.brightest = peak(heat);
  told["heat on the border"] = heat.border;
  told["entropy of the heat"] = heat.entropy;
  byId("about").replaceChildren(...Object.entries(told).flatMap(([name, value]) =>
    [element("dt", { textContent: name }), element("dd", { textContent: String(value) })]));
  byId("previous").disabled = at === 0;
  byId("next").disabled = at === shown.length - 1;
  if (!dialog.open) dialog.showModal();
}

function step(by) {
  if (shown[current + by]) enlarge(current + by);
}

// The tile of the picture that was looked at last gets the focus, on whichever page it is.
function leave() {
  page = Math.floor(current / PAGE);
  draw();
  list.querySelectorAll("button")[current % PAGE].focus();
}

for (const option of filters.elements.method.options) byId("method").append(option.cloneNode(true));
filters.addEventListener("submit", (event) => event.preventDefault());
filters.addEventListener("input", (event) => {
  if (event.target.name === "blend") blend(event.target.value);
  else if (event.target.name === "method") draw();
  else select();
});
filters.addEventListener("reset", () => setTimeout(() => { blend(100); select(); }));
byId("pages").addEventListener("click", (event) => {
  if (!event.target.dataset.step) return;
  page += Number(event.target.dataset.step);
  draw();
  byId("gallery-title").scrollIntoView();
});
byId("blend").addEventListener("input", (event) => blend(event.target.value));
byId("method").addEventListener("input", (event) => {
  filters.elements.method.value = event.target.value;
  enlarge(current);
});
byId("previous").addEventListener("click", () => step(-1));
byId("next").addEventListener("click", () => step(1));
dialog.addEventListener("keydown", (event) => {
  if (event.target.matches("input, select")) return;
  if (event.key === "ArrowLeft") step(-1);
  if (event.key === "ArrowRight") step(1);
});
dialog.addEventListener("close", leave);
filters.hidden = false;
blend(100);
select();
