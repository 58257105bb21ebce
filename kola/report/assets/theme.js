"use strict";
// Light or dark: the system's choice, unless the button says otherwise.
const THEMES = ["auto", "light", "dark"];
let theme = "auto";
try { theme = localStorage.getItem("kola-theme") || "auto"; } catch { /* no storage for a file */ }
function setTheme(name) {
  theme = THEMES.includes(name) ? name : "auto";
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  const button = document.getElementById("theme");
  if (button) button.textContent = `Theme: ${theme}`;
  try { localStorage.setItem("kola-theme", theme); } catch { /* as above */ }
}
function nextTheme() { setTheme(THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length]); }
document.addEventListener("DOMContentLoaded", () => {
  setTheme(theme);
  document.getElementById("theme").addEventListener("click", nextTheme);
});
setTheme(theme);
