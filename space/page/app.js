// What a person does with a drawing: open, compare, paint, ask, choose, undo, download.

import { Refusal, call, upload } from "./api.js";
import { Stage } from "./stage.js";

const EXAMPLES = ["portrait", "cat", "dragon", "landscape", "kite", "stilllife"];
const PAINTBOX = {
  Skin: "#f3cdb0", Brown: "#8a5a3c", Black: "#38322f", Red: "#c9402c", Orange: "#ea9036", Yellow: "#f4d35e",
  Leaf: "#7fa650", Teal: "#2f7f78", Sky: "#8cc3e8", Navy: "#34508c", Violet: "#8a6bb0", Pink: "#eda7b8",
};
const SIZES = { Fine: 3, Medium: 7, Broad: 14 }; // radius on the screen

const $ = (id) => document.getElementById(id);
const stage = new Stage($("sheet"), $("picture"), $("overlay"));
const nothing = { hints: [], reference: null, idea: 0, seed: 0, picture: null, bitmap: null };
let drawing = null; // { file, name } as sent, `bitmap` for the eye
let steps = []; // what was done, each with its picture; the last one is shown
let wanted = nothing; // what the newest request asks for
let shownSeed = -1; // of the ideas in the gallery
let ticket = 0; // of the newest request; answers to older ones are dropped

// Opening ------------------------------------------------------------------------------------------------------------

async function open(blob, name) {
  await attempt("Sending the drawing", async () => {
    const [file, bitmap] = await Promise.all([upload(blob, name), createImageBitmap(blob).catch(() => null)]);
    drawing = { file, name: name.replace(/\.\w+$/, "") || "drawing", bitmap };
    steps = [];
    wanted = nothing;
    resetTools();
    show("color");
    stage.open(bitmap);
    await change({}, "Colouring");
  });
}

function show(view) {
  document.body.dataset.view = view;
  stage.drawing = view === "draw";
  window.scrollTo(0, 0);
}

async function openExample(name) {
  const answer = await fetch(`examples/${name}.png`);
  await open(await answer.blob(), `${name}.png`);
}

// Colouring ----------------------------------------------------------------------------------------------------------

const request = (extra = {}) => ({
  drawing: drawing.file,
  hints: wanted.hints,
  reference: wanted.reference?.file ?? null,
  idea: wanted.idea,
  seed: wanted.seed,
  ...extra,
});

/** Ask for the picture with a change; the newest change wins, and each finished one can be undone. */
async function change(what, doing) {
  wanted = { ...wanted, ...what };
  const [mine, asked, first] = [++ticket, wanted, !steps.length];
  const start = performance.now();
  const done = await attempt(doing, async () => {
    const picture = await call("colorize", request());
    const bitmap = await read(picture);
    if (mine !== ticket) return;
    drawing.bitmap ??= await read(await call("colorize", request({ part: "lines" })));
    steps.push({ ...asked, picture, bitmap });
    present(first);
    tell(first ? "Drag to paint. Tap a place to see colours that suit it." : `Done in ${seconds(start)}.`);
  });
  if (!done && mine === ticket) restore();
}

/** Show the last step; only what it was made of counts. */
function present(first = false) {
  const step = steps.at(-1);
  wanted = step;
  stage.show(drawing.bitmap, step.bitmap, first);
  checkIdea();
  $("undo").disabled = steps.length < 2;
  $("forget").hidden = !step.reference;
  swatches(step.reference?.colors);
  if ($("unsure").checked) showUnsure();
}

function restore() {
  if (steps.length) present();
  else show("start");
}

function undo() {
  if (stage.drawing) return stage.unpaint();
  if (steps.length < 2) return;
  ticket++;
  steps.pop();
  present();
  tell("Undone.");
}

// Painting and asking ------------------------------------------------------------------------------------------------

stage.onstroke = (points) => {
  const radius = stage.toPicture(brush());
  const dabs = points.map(([x, y]) => [x, y, $("color").value, radius]);
  change({ hints: [...wanted.hints, ...dabs] }, "Recolouring");
};

stage.ontap = (x, y, guesses) => ask(x, y, guesses);

async function ask(x, y, guesses = null) {
  const box = $("ask");
  $("guesses").replaceChildren("…");
  box.hidden = false;
  stage.place(box, x, y);
  stage.mark(x, y);
  try {
    guesses ??= await call("suggest_colors", { drawing: drawing.file, hints: wanted.hints, x, y });
  } catch (error) {
    box.hidden = true;
    return complain(error);
  }
  const chips = guesses.map((guess) => chip(guess.color, `${guess.color}, ${Math.round(guess.probability * 100)} % likely`));
  const mine = chip($("color").value, "The brush colour");
  mine.classList.add("mine");
  $("guesses").replaceChildren(...chips, mine);
  for (const each of $("guesses").children) {
    each.onclick = () => {
      closeAsk();
      pick(each.value);
      change({ hints: [...wanted.hints, [x, y, each.value, stage.toPicture(brush())]] }, "Recolouring");
    };
  }
  stage.place(box, x, y);
  if (document.activeElement === $("overlay")) chips[0]?.focus();
}

function closeAsk() {
  if ($("ask").contains(document.activeElement)) $("overlay").focus();
  $("ask").hidden = true;
  stage.mark(null);
}

const brush = () => Number(document.querySelector("#sizes :checked").value);

function chip(color, label) {
  const button = document.createElement("button");
  Object.assign(button, { className: "chip", value: color, title: label, ariaLabel: label, type: "button" });
  button.style.setProperty("--chip", color);
  return button;
}

function pick(color) {
  $("color").value = color;
  stage.color = color;
  for (const each of $("swatches").children) each.setAttribute("aria-pressed", each.value === color);
}

function swatches(colors) {
  const entries = colors ? colors.map((color) => [color, color]) : Object.entries(PAINTBOX);
  $("swatches").replaceChildren(...entries.slice(0, 12).map(([name, color]) => chip(color, name)));
  for (const each of $("swatches").children) each.onclick = () => pick(each.value);
  pick($("color").value);
}

// Other ideas, a palette, doubts, files ------------------------------------------------------------------------------

async function propose() {
  await attempt("Finding four ideas", async () => {
    const pictures = await call("propose", request({ idea: undefined, seed: shownSeed + 1 }));
    shownSeed++;
    const buttons = pictures.map(ideaButton);
    await Promise.all(buttons.map((button) => button.firstChild.decode()));
    $("ideas").replaceChildren(...buttons);
    $("propose").textContent = "Four other ideas";
    checkIdea();
    tell("Pick the one you like; you can paint on it.");
  });
}

function noIdeas() {
  shownSeed = -1;
  $("ideas").replaceChildren();
  $("propose").textContent = "Show four ideas";
}

function checkIdea() {
  for (const [number, button] of [...$("ideas").children].entries()) {
    button.setAttribute("aria-checked", number === wanted.idea && (!number || shownSeed === wanted.seed));
  }
}

function ideaButton(picture, number) {
  const button = Object.assign(document.createElement("button"), { value: number, type: "button" });
  button.setAttribute("role", "radio");
  button.append(Object.assign(new Image(), { src: address(picture), alt: `Idea ${number + 1}` }));
  button.style.aspectRatio = Math.max(1.2, Math.min(1.8, stage.size.width / stage.size.height));
  const seed = shownSeed;
  button.onclick = () => change({ idea: number, seed }, "Taking this idea");
  return button;
}

async function refer(file) {
  await attempt("Reading the picture's colours", async () => {
    const sent = await upload(file, file.name);
    const colors = await call("read_palette", { picture: sent });
    noIdeas();
    await change({ reference: { file: sent, colors }, idea: 0 }, "Recolouring");
  });
}

async function showUnsure() {
  stage.doubt(null);
  $("pins").replaceChildren();
  if (!$("unsure").checked || !steps.length) return;
  const mine = ticket;
  await attempt("Looking where it is unsure", async () => {
    const seen = await call("show_uncertainty", { drawing: drawing.file, hints: wanted.hints });
    const map = await read(seen.map);
    if (mine !== ticket || !$("unsure").checked) return;
    stage.doubt(map);
    $("pins").replaceChildren(...seen.places.map(pin));
    tell("The darker the shade, the less sure. Tap a number: a dab there helps most.");
  });
}

function pin(place, number) {
  const button = Object.assign(document.createElement("button"), { type: "button" });
  button.ariaLabel = `Colours for unsure place ${number + 1}`;
  button.append(Object.assign(document.createElement("span"), { textContent: number + 1 }));
  button.style.cssText = stage.percent(place.x, place.y);
  button.onclick = () => ask(place.x, place.y, place.colors);
  return button;
}

async function download(part, ending, format = "png") {
  await attempt("Preparing the file", async () => {
    const file = part === "picture" ? steps.at(-1).picture : await call("colorize", request({ part }));
    const blob = await (await fetch(address(file))).blob();
    const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(blob), download: `${drawing.name}_${ending}.${format}` });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
    tell(`${link.download} is saved.`);
  });
}

const address = (file) => `gradio_api/file=${file.path.split("/").map(encodeURIComponent).join("/")}`;
const read = async (file) => createImageBitmap(await (await fetch(address(file))).blob());
const seconds = (start) => `${((performance.now() - start) / 1000).toFixed(1)} s`;

// Telling ------------------------------------------------------------------------------------------------------------

let running = 0;

/** Do something that takes a while: say so, count the seconds, and say in one sentence what went wrong. */
async function attempt(doing, action) {
  const start = performance.now();
  running++;
  $("busy").hidden = false;
  tell(`${doing} …`);
  const clock = setInterval(() => performance.now() - start > 1500 && tell(`${doing} … ${seconds(start)}`), 500);
  try {
    await action();
    return true;
  } catch (error) {
    complain(error);
    return false;
  } finally {
    clearInterval(clock);
    $("busy").hidden = --running === 0;
  }
}

function complain(error) {
  if (!(error instanceof Refusal)) console.error(error);
  $("toast").textContent = error instanceof Refusal ? error.message : "Something went wrong here. Try it again.";
  $("toast").hidden = false;
  tell("");
  clearTimeout(complain.timer);
  complain.timer = setTimeout(() => ($("toast").hidden = true), 8000);
}

const tell = (text) => ($("status").textContent = text);

// Wiring -------------------------------------------------------------------------------------------------------------

function resetTools() {
  noIdeas();
  $("pins").replaceChildren();
  $("unsure").checked = false;
  $("ask").hidden = true;
  $("toast").hidden = true;
  $("undo").disabled = true;
  $("forget").hidden = true;
  stage.doubt(null);
  swatches();
}

for (const name of EXAMPLES) {
  const button = Object.assign(document.createElement("button"), { type: "button", ariaLabel: `Example: ${name}` });
  button.append(Object.assign(new Image(), { src: `examples/${name}.png`, alt: "", loading: "lazy" }));
  button.onclick = () => openExample(name);
  $("examples").append(Object.assign(document.createElement("li")));
  $("examples").lastChild.append(button);
}
for (const [name, radius] of Object.entries(SIZES)) {
  const label = Object.assign(document.createElement("label"), { title: name });
  const input = Object.assign(document.createElement("input"), { type: "radio", name: "size", value: radius, ariaLabel: name });
  input.checked = name === "Medium";
  input.onchange = () => (stage.radius = brush());
  label.append(input, document.createElement("i"));
  label.style.setProperty("--dot", `${radius * 2}px`);
  $("sizes").append(label);
}
stage.radius = brush();
resetTools();

const takeFile = (input, use) => (input.onchange = () => input.files[0] && use(input.files[0], (input.value, input.files[0].name)));
takeFile($("file"), async (file, name) => (await open(file, name), ($("file").value = "")));
takeFile($("reference"), async (file) => (await refer(file), ($("reference").value = "")));
$("draw").onclick = () => (resetTools(), show("draw"), stage.blank(), ($("undo").disabled = false), tell("Drag to draw."));
$("finish").onclick = async () => open(await stage.export(), "drawing.png");
$("new").onclick = () => (ticket++, show("start"));
$("undo").onclick = undo;
$("download").onclick = () => download("picture", "colorized");
$("get-colors").onclick = () => download("colors", "colors");
$("get-lines").onclick = () => download("lines", "lines");
$("get-psd").onclick = () => download("psd", "colorized", "psd");
$("get-ora").onclick = () => download("ora", "colorized", "ora");
$("propose").onclick = propose;
$("forget").onclick = () => (noIdeas(), change({ reference: null, idea: 0 }, "Recolouring"));
$("unsure").onchange = showUnsure;
$("color").oninput = () => pick($("color").value);
$("compare").oninput = () => stage.split(Number($("compare").value) / 100);
stage.onsplit = (share) => ($("compare").value = Math.round(share * 100));

document.addEventListener("pointerdown", (event) => $("ask").contains(event.target) || closeAsk());
$("overlay").addEventListener("blur", () => $("ask").hidden && stage.mark(null));
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") closeAsk();
  if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "z") event.preventDefault(), undo();
});
const dragging = (on) => (event) => (event.preventDefault(), document.body.classList.toggle("dragging", on));
document.addEventListener("dragover", dragging(true));
document.addEventListener("dragleave", dragging(false));
document.addEventListener("drop", (event) => {
  dragging(false)(event);
  const file = event.dataTransfer.files[0];
  if (file) open(file, file.name);
});
document.addEventListener("paste", (event) => {
  const file = event.clipboardData.files[0];
  if (file) open(file, file.name || "drawing.png");
});
