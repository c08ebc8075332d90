/** What keys do. */

import { hashOf } from "./columns.js";
import { byId } from "./dom.js";

const STEPS = { ArrowDown: 1, j: 1, ArrowUp: -1, k: -1, PageDown: 10, PageUp: -10, Home: -Infinity, End: Infinity };

const typing = (node) => node.matches?.("input, select, textarea, [contenteditable]");

export function shortcuts({ table, wanted, turn, close, say }) {
  function walk(step) {
    const model = table.walk(step);
    if (model && wanted()) turn(hashOf(model));
  }

  function theme() {
    const now = window.penstockTheme.next();
    say(`Theme: ${now === "system" ? "as the system" : now}.`);
  }

  function help() {
    const dialog = byId("shortcuts");
    if (!dialog.open) dialog.showModal();
  }

  function escape(event) {
    if (event.target === table.filter) {
      table.filter.value = "";
      table.filter.dispatchEvent(new Event("input"));
      table.filter.blur();
    } else if (wanted()) close();
  }

  function step(event) {
    const inTable = table.body.contains(event.target);
    const letter = event.key === "j" || event.key === "k";
    if (!inTable && !letter && event.target !== table.filter) return;
    event.preventDefault();
    walk(STEPS[event.key]);
  }

  const actions = { "/": () => table.filter.focus(), "?": help, t: theme };

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
    if (event.key === "Escape") return escape(event);
    if (typing(event.target)) {
      if (event.target === table.filter && event.key === "ArrowDown") step(event);
      return;
    }
    if (event.key in STEPS) return step(event);
    if (!(event.key in actions)) return;
    event.preventDefault();
    actions[event.key]();
  });
  byId("theme").addEventListener("click", theme);
  byId("help").addEventListener("click", help);
}
