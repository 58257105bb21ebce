// The page is whole without this file; it adds the filter, links into it, keys, and the logs, which are packed.
const $ = (selector, root = document) => root.querySelector(selector);
const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];
const NAMES = ["q", "stream", "target", "suite", "outcome"];
const state = { q: "", stream: "", target: "", suite: "", outcome: new Set(), at: "" };

// -- what the address says ------------------------------------------------------------------------------------------

function readAddress() {
  const text = location.hash.slice(1);
  const plain = !text.includes("=");
  const given = new URLSearchParams(plain ? "" : text);
  state.at = plain ? decode(text) : given.get("at") || "";
  if (plain && text) return;  // a link to one place leaves the filter alone
  for (const name of NAMES) if (name !== "outcome") state[name] = given.get(name) || "";
  state.outcome = new Set((given.get("outcome") || "").split(",").filter(Boolean));
}
function decode(text) { try { return decodeURIComponent(text); } catch { return text; } }
function writeAddress() {
  const given = new URLSearchParams();
  for (const name of NAMES) {
    const value = name === "outcome" ? [...state.outcome].join(",") : state[name];
    if (value) given.set(name, value);
  }
  if (state.at) given.set("at", state.at);
  history.replaceState(null, "", "#" + given);
}
function goThere() {
  const place = state.at && document.getElementById(state.at);
  if (!place) return;
  place.hidden = false;
  for (let outer = place; outer; outer = outer.parentElement.closest("details")) if (outer.matches("details")) outer.open = true;
  place.scrollIntoView();
  ($("summary", place) || place).focus({ preventScroll: true });
}

// -- the filter -----------------------------------------------------------------------------------------------------

function wanted(data) {
  return ["stream", "target", "suite"].every(name => !state[name] || data[name] === state[name]);
}
function said(text, words) { return words.every(word => text.includes(word)); }
function applyFilter() {
  const words = state.q.toLowerCase().split(/\s+/).filter(Boolean);
  let problems = 0;
  for (const problem of $$(".problem")) {
    const data = problem.dataset;
    const show = wanted(data) && (!state.outcome.size || state.outcome.has(data.outcome)) && said(data.text, words);
    problem.hidden = !show;
    problems += show;
  }
  for (const gap of $$(".gap")) {
    const show = wanted(gap.dataset) && (!state.outcome.size || state.outcome.has("not-run")) && said(gap.dataset.text, words);
    gap.hidden = !show;
  }
  let tests = 0;
  for (const row of $$("#tests tbody tr")) {
    const cells = $$("td[data-outcome]", row).filter(cell =>
      (!state.target || cell.dataset.target === state.target) && (!state.outcome.size || state.outcome.has(cell.dataset.outcome)));
    const data = row.dataset;
    const show = cells.length > 0 && (!state.stream || data.stream === state.stream)
      && (!state.suite || data.suite === state.suite) && said(data.text, words);
    row.hidden = !show;
    tests += show;
  }
  $("#filter").value = state.q;
  for (const chip of $$("[data-toggle]")) chip.setAttribute("aria-pressed", String(state.outcome.has(chip.dataset.toggle)));
  const place = [state.stream, state.target, state.suite].filter(Boolean).join(" · ");
  const active = place || state.outcome.size || state.q;
  $("#place").textContent = place ? `Only ${place}. ` : "";
  $("#found").textContent = active ? `${problems} of ${$$(".problem").length} problems, ${tests} of ${$$("#tests tbody tr").length} tests.` : "";
  $("#status").hidden = !active;
  for (const link of $$(".matrix a")) {
    const here = ["stream", "target", "suite"].every(name => link.dataset[name] === state[name]);
    if (here) link.setAttribute("aria-current", "true"); else link.removeAttribute("aria-current");
  }
}
function clearFilter() {
  Object.assign(state, { q: "", stream: "", target: "", suite: "", at: "" });
  state.outcome.clear();
  writeAddress();
  applyFilter();
}

// -- logs -----------------------------------------------------------------------------------------------------------

const LEVELS = { e: "error", w: "warning" };
async function unpack(id) {
  const packed = document.getElementById(id).textContent;
  const bytes = Uint8Array.from(atob(packed), char => char.charCodeAt(0));
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
}
async function fill(panel) {
  if (panel.dataset.filled) return;
  panel.dataset.filled = "yes";
  const log = $("pre", panel);
  let text;
  try { text = await unpack(panel.dataset.log); } catch (error) { log.textContent = `This browser cannot unpack it: ${error}`; return; }
  const lines = document.createDocumentFragment();
  for (const line of text.split("\n")) {
    const element = document.createElement("span");
    element.className = "line";
    if (line[0] === "+") { element.classList.add("new"); }
    if (LEVELS[line[1]]) element.classList.add(LEVELS[line[1]]);
    element.textContent = line.slice(2) + "\n";
    lines.append(element);
  }
  log.replaceChildren(lines);
  const interesting = $(".line.error.new", log) || $(".line.new", log) || $(".line.error", log)
    || (panel.dataset.end ? log.lastElementChild : null);
  if (interesting) log.scrollTop = interesting.offsetTop - log.clientHeight / 2;
}
function select(tab, focus) {
  for (const other of $$("[role=tab]", tab.parentElement)) {
    const chosen = other === tab;
    other.setAttribute("aria-selected", String(chosen));
    other.tabIndex = chosen ? 0 : -1;
    const panel = document.getElementById(other.getAttribute("aria-controls"));
    panel.hidden = !chosen;
    if (chosen) fill(panel);
  }
  if (focus) tab.focus();
}
function choose(tab, focus) {  // and the same log of the other side
  select(tab, focus);
  const other = tab.closest(".side") === $(".bad-side", tab.closest(".problem")) ? ".good-side" : ".bad-side";
  const twin = $$(`${other} [role=tab]`, tab.closest(".problem")).find(one => one.dataset.label === tab.dataset.label);
  if (twin) select(twin);
}
function turn(event) {
  const tabs = $$("[role=tab]", event.currentTarget);
  const step = { ArrowRight: 1, ArrowLeft: -1, Home: -Infinity, End: Infinity }[event.key];
  if (step === undefined) return;
  event.preventDefault();
  const at = tabs.indexOf(document.activeElement);
  const next = Math.abs(step) === 1 ? (at + step + tabs.length) % tabs.length : step < 0 ? 0 : tabs.length - 1;
  choose(tabs[next], true);
}
function opened(problem) {
  for (const tab of $$("[role=tab][aria-selected=true]", problem)) fill(document.getElementById(tab.getAttribute("aria-controls")));
}
function onlyNew(problem, only) {
  problem.classList.toggle("only-new", only);
  const box = $(".only", problem);
  if (box) box.checked = only;
}

// -- keys -----------------------------------------------------------------------------------------------------------

function step(by) {
  const shown = $$(".problem").filter(problem => !problem.hidden);
  if (!shown.length) return;
  const at = shown.findIndex(problem => problem.contains(document.activeElement));
  const next = shown[at < 0 ? (by > 0 ? 0 : shown.length - 1) : Math.max(0, Math.min(shown.length - 1, at + by))];
  $("summary", next).focus();
  next.scrollIntoView({ block: "nearest" });
}
const KEYS = {
  "/": () => { $("#filter").focus(); $("#filter").select(); },
  n: () => step(1),
  p: () => step(-1),
  d: () => { const problem = document.activeElement.closest(".problem"); if (problem) onlyNew(problem, !problem.classList.contains("only-new")); },
  t: () => nextTheme(),
  "?": () => $("#help").showModal(),
};
function pressed(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || $("#help").open) return;
  if (event.key === "Escape") { clearFilter(); document.activeElement.blur(); return; }
  if (event.target.matches("input[type=search]")) return;
  const action = KEYS[event.key];
  if (action) { event.preventDefault(); action(); }
}

// -- begin ----------------------------------------------------------------------------------------------------------

document.addEventListener("DOMContentLoaded", () => {
  $("#filter").addEventListener("input", event => { state.q = event.target.value; writeAddress(); applyFilter(); });
  $("#clear").addEventListener("click", () => { clearFilter(); $("#filter").focus(); });
  for (const chip of $$("[data-toggle]")) chip.addEventListener("click", () => {
    const outcome = chip.dataset.toggle;
    if (!state.outcome.delete(outcome)) state.outcome.add(outcome);
    writeAddress();
    applyFilter();
  });
  for (const problem of $$(".problem")) {
    problem.addEventListener("toggle", () => { if (problem.open) opened(problem); });
    const box = $(".only", problem);
    if (box) box.addEventListener("change", () => onlyNew(problem, box.checked));
  }
  for (const tab of $$("[role=tab]")) tab.addEventListener("click", () => choose(tab));
  for (const list of $$("[role=tablist]")) list.addEventListener("keydown", turn);
  $("#keys").addEventListener("click", () => $("#help").showModal());
  document.addEventListener("keydown", pressed);
  window.addEventListener("hashchange", () => { readAddress(); applyFilter(); goThere(); });
  readAddress();
  applyFilter();
});
window.addEventListener("load", () => requestAnimationFrame(goThere));  // after the browser's own way to the place
