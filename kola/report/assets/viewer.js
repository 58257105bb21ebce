// A log in parts: the address says which file, from which byte, and what its lines must contain.
const $ = selector => document.querySelector(selector);
let part = { lines: [], start: 0, end: 0, size: 0 };
const given = () => new URLSearchParams(location.hash.slice(1));
function go(changes) {
  const next = given();
  for (const [name, value] of Object.entries(changes)) {
    if (value === "" || value === null) next.delete(name); else next.set(name, value);
  }
  location.hash = next;
}
async function show() {
  const query = given();
  const file = query.get("file") || "";
  $("#name").textContent = file.split("/").slice(-2).join("/") || "No log is named";
  document.title = $("#name").textContent;
  $("#find").value = query.get("find") || "";
  query.delete("line");
  const reply = await fetch("/parts?" + query);
  if (!reply.ok) { $("#where").textContent = await reply.text(); $("#lines").replaceChildren(); return; }
  part = await reply.json();
  const lines = document.createDocumentFragment();
  for (const [at, text] of part.lines) {
    const line = document.createElement("span");
    line.className = "line";
    line.id = "b" + at;
    const anchor = document.createElement("a");
    anchor.href = "#" + new URLSearchParams({ file, from: at });
    anchor.textContent = "¶";
    anchor.title = `Link to this line, at byte ${at}`;
    line.append(anchor, text + "\n");
    lines.append(line);
  }
  $("#lines").replaceChildren(lines);
  $("#lines").scrollTop = query.has("before") ? $("#lines").scrollHeight : 0;
  const percent = part.size ? `${Math.floor(100 * part.start / part.size)}–${Math.ceil(100 * part.end / part.size)} %` : "";
  $("#where").textContent = `${part.lines.length} lines, ${percent} of ${(part.size / 1e6).toFixed(1)} MB`;
  const finding = query.has("find");
  $("#first").disabled = !part.start;
  $("#earlier").disabled = finding || !part.start;
  $("#later").disabled = part.end >= part.size;
  $("#last").disabled = finding || part.end >= part.size;
}
document.addEventListener("DOMContentLoaded", () => {
  let waiting;
  $("#find").addEventListener("input", event => {
    clearTimeout(waiting);
    waiting = setTimeout(() => go({ find: event.target.value, from: "", before: "" }), 200);
  });
  $("#first").addEventListener("click", () => go({ from: "", before: "" }));
  $("#earlier").addEventListener("click", () => go({ from: "", before: part.start }));
  $("#later").addEventListener("click", () => go({ before: "", from: part.end }));
  $("#last").addEventListener("click", () => go({ from: "", before: part.size }));
  document.addEventListener("keydown", event => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input")) return;
    const button = { n: "#later", p: "#earlier", g: "#first", G: "#last" }[event.key];
    if (button) $(button).click();
    else if (event.key === "t") nextTheme();
    else if (event.key === "/") { event.preventDefault(); $("#find").focus(); }
  });
  window.addEventListener("hashchange", show);
  show();
});
