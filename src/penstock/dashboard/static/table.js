/** The models as rows: sorted, filtered, walked by keys, and written in place each second. */

import { arrange, el, mark, put, show, text } from "./dom.js";
import { COLUMNS, hashOf } from "./columns.js";
import { isOver } from "./strip.js";
import { nameOf } from "./tracks.js";

const RESORT_MS = 5000; // rows that change places each second cannot be read
const TURNS = 8; // a row out of sight is written every so many ticks

const CHIPS = [
  { id: "all", label: "All", takes: () => true },
  { id: "busy", label: "Answering", takes: (m) => m.rate > 0 },
  { id: "over", label: "Over target", takes: isOver, bad: true },
  { id: "errors", label: "With errors", takes: (m) => m.error_rate > 0, bad: true },
  { id: "down", label: "Not ready", takes: (m) => m.state !== "READY" && m.state !== "COLD", bad: true },
  { id: "cold", label: "Cold", takes: (m) => m.state === "COLD" },
];

class Row {
  constructor(model) {
    this.model = model;
    this.seen = false;
    this.cells = COLUMNS.map(({ make }) => make());
    this.node = el("tr.model", { role: "row" });
    COLUMNS.forEach(({ id, label, right }, i) => {
      const what = id === "name" ? "th" : "td";
      const cell = el(`${what}.c-${id}`, { role: id === "name" ? "rowheader" : "cell", "data-label": label }, ...this.cells[i].nodes);
      if (right) cell.classList.add("right");
      this.node.append(cell);
    });
    this.link = this.node.querySelector("a");
    this.node.row = this;
  }

  write(all) {
    for (const cell of this.cells) cell.write(this.model, all);
    mark(this.node, "data-idle", this.model.rate > 0 ? null : "");
  }

  draw(tracks) {
    for (const cell of this.cells) cell.draw?.(this.model, tracks);
  }
}

export class Table {
  by = "name";
  down = false;
  chip = "all";
  words = "";
  opened = "";
  #rows = new Map();
  #order = [];
  #sorted = 0;
  #turn = 0;
  #held = false;
  #last = null;

  constructor(root) {
    this.root = root;
    this.#build();
    this.#listen();
    this.watch = new IntersectionObserver((found) => this.#sight(found), { rootMargin: "120px 0px" });
  }

  #build() {
    this.filter = el("input", { type: "search", placeholder: "Filter  /", "aria-label": "Filter the models", autocomplete: "off", spellcheck: "false" });
    this.chips = CHIPS.map((chip) => this.#chip(chip));
    this.select = el("select", { "aria-label": "Sort by" }, ...COLUMNS.map(({ id, label }) => el("option", { value: id }, label)));
    const bar = el("div.bar", {}, el("div.chips", { role: "group", "aria-label": "Which models" }, ...this.chips.map(({ node }) => node)), this.select, this.filter);
    this.heads = COLUMNS.map((column) => this.#head(column));
    const head = el("thead", { role: "rowgroup" }, el("tr", { role: "row" }, ...this.heads));
    this.body = el("tbody", { role: "rowgroup" });
    this.none = el("p.none", { hidden: "" }, "No model is like that.");
    const table = el("table", { role: "table", "aria-label": "Models and versions" }, head, this.body);
    this.root.append(bar, table, this.none);
  }

  #chip(chip) {
    const count = text();
    const node = el("button.chip", { type: "button", "aria-pressed": String(chip.id === "all") }, chip.label, el("b", {}, count));
    node.hidden = true;
    node.addEventListener("click", () => this.choose(this.chip === chip.id ? "all" : chip.id));
    return { ...chip, node, count };
  }

  #head({ id, label, right }) {
    const button = el("button", { type: "button" }, label);
    button.addEventListener("click", () => this.sort(id));
    const head = el(`th.c-${id}`, { role: "columnheader", scope: "col", "aria-sort": id === "name" ? "ascending" : "none" }, button);
    if (right) head.classList.add("right");
    return head;
  }

  #listen() {
    this.filter.addEventListener("input", () => {
      this.words = this.filter.value.trim().toLowerCase();
      this.#again();
    });
    this.select.addEventListener("change", () => this.sort(this.select.value));
    this.body.addEventListener("click", (event) => this.#click(event));
    this.body.addEventListener("focusin", ({ target }) => this.#tab(target.closest("tr").row));
    this.body.addEventListener("pointerenter", () => (this.#held = true));
    this.body.addEventListener("pointerleave", () => (this.#held = false));
  }

  #click(event) {
    const row = event.target.closest("tr")?.row;
    if (!row || event.target.closest("a") || String(getSelection())) return;
    location.hash = hashOf(row.model);
  }

  #sight(found) {
    for (const { target, isIntersecting } of found) {
      target.row.seen = isIntersecting;
      if (isIntersecting && this.#last) this.#writeRow(target.row);
    }
  }

  #writeRow(row) {
    row.write(this.#last.all);
    row.draw(this.#last.tracks);
  }

  choose(chip) {
    this.chip = chip;
    for (const { id, node } of this.chips) mark(node, "aria-pressed", id === chip);
    this.#again();
  }

  sort(id) {
    const column = COLUMNS.find((column) => column.id === id);
    this.down = this.by === id ? !this.down : !column.up;
    this.by = id;
    this.select.value = id;
    COLUMNS.forEach(({ id }, i) => mark(this.heads[i], "aria-sort", id !== this.by ? "none" : this.down ? "descending" : "ascending"));
    this.#again();
  }

  #again() {
    this.#sorted = 0;
    if (this.#last) this.write(this.#last.models, this.#last.all, this.#last.tracks);
  }

  /** Shows which model is open beside the table. */
  open(name) {
    this.opened = name;
    for (const [of, { link }] of this.#rows) mark(link, "aria-current", of === name ? "true" : null);
    const row = this.#rows.get(name);
    if (row) this.#tab(row);
  }

  /** Writes the models of a tick; `all` has the currency, the marks of candidates, and how many versions each name has. */
  write(models, all, tracks) {
    this.#last = { models, all, tracks };
    const changed = this.#meet(models);
    this.#count(models);
    const free = !this.#held && !this.body.contains(document.activeElement);
    if (changed || !this.#sorted || (free && performance.now() - this.#sorted > RESORT_MS)) this.#place();
    this.#turn++;
    this.#order.forEach((row, i) => {
      if (row.seen) this.#writeRow(row);
      else if ((i + this.#turn) % TURNS === 0) row.write(all);
    });
  }

  #meet(models) {
    const names = new Set();
    let changed = false;
    for (const model of models) {
      const name = nameOf(model);
      names.add(name);
      const row = this.#rows.get(name);
      if (row) row.model = model;
      else changed = this.#add(name, model);
    }
    for (const [name, row] of this.#rows) {
      if (names.has(name)) continue;
      this.watch.unobserve(row.node);
      this.#rows.delete(name);
      changed = true;
    }
    return changed;
  }

  #add(name, model) {
    const row = new Row(model);
    row.write(this.#last.all);
    mark(row.link, "aria-current", name === this.opened ? "true" : null);
    this.#rows.set(name, row);
    this.watch.observe(row.node);
    return true;
  }

  #count(models) {
    for (const { id, node, count, takes, bad } of this.chips) {
      const found = models.filter(takes).length;
      put(count, String(found));
      mark(node, "data-bad", bad && found ? "" : null);
      if (found || id === "all") show(node, true); // and stays: what comes and goes would move the rows
    }
  }

  #place() {
    const focused = this.body.contains(document.activeElement) ? document.activeElement : null;
    const { takes } = CHIPS.find(({ id }) => id === this.chip);
    const words = this.words.split(/\s+/);
    const found = [...this.#rows.values()].filter(({ model }) => takes(model) && matches(model, words));
    this.#order = found.sort(({ model: a }, { model: b }) => this.#compare(a, b));
    arrange(this.body, this.#order.map(({ node }) => node));
    if (focused?.isConnected) focused.focus({ preventScroll: true });
    show(this.none, this.#order.length === 0 && this.#rows.size > 0);
    mark(this.root, "data-size", this.#rows.size > 12 ? "many" : "few");
    if (!this.#order.some(({ link }) => link.tabIndex === 0) && this.#order.length) this.#tab(this.#order[0]);
    this.#sorted = performance.now();
  }

  #compare(a, b) {
    const { key } = COLUMNS.find(({ id }) => id === this.by);
    return order(key(a), key(b), this.down) || order(nameOf(a), nameOf(b), false);
  }

  #tab(row) {
    for (const other of this.#rows.values()) mark(other.link, "tabindex", other === row ? "0" : "-1");
  }

  /** Moves the focus by `step` rows (±Infinity: to an end); answers the model that has it now. */
  walk(step) {
    const at = this.#order.findIndex(({ link }) => link.tabIndex === 0);
    const inside = this.opened || this.body.contains(document.activeElement);
    const to = inside || !Number.isFinite(step) ? Math.max(0, Math.min(this.#order.length - 1, at + step)) : Math.max(at, 0);
    const row = this.#order[to];
    row?.link.focus();
    row?.node.scrollIntoView({ block: "nearest" });
    return row?.model;
  }

  /** Gives the focus back to a model's row. */
  focus(name) {
    this.#rows.get(name)?.link.focus();
  }
}

/** Orders two values; those that are not known come last either way. */
function order(a, b, down) {
  const none = (value) => value === null || value === undefined;
  if (none(a) || none(b)) return none(a) - none(b);
  if (a === b) return 0;
  return a < b !== down ? -1 : 1;
}

function matches(model, words) {
  const hay = `${model.name} ${model.version} ${model.state} ${model.platform} ${model.device}`.toLowerCase();
  return words.every((word) => hay.includes(word));
}
