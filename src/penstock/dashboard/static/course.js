/** A chart over the last hours: figures at times that came as they came, as lines or as steps. */

import { BOTTOM, ceiling, Frame, LEFT, TOP } from "./chart.js";
import { el, mark, put, svg, text } from "./dom.js";
import { DASH, known, moment } from "./format.js";

/** Seconds that are drawn, and what stands below the time axis, from the left to now. */
const SPANS = [
  [60, ["−60 s", "−40", "−20", "now"]],
  [300, ["−5 min", "−4", "−3", "−2", "−1", "now"]],
  [600, ["−10 min", "−5", "now"]],
  [1800, ["−30 min", "−20", "−10", "now"]],
  [3600, ["−60 min", "−40", "−20", "now"]],
  [7200, ["−2 h", "−1", "now"]],
  [10_800, ["−3 h", "−2", "−1", "now"]],
  [21_600, ["−6 h", "−5", "−4", "−3", "−2", "−1", "now"]],
  [86_400, ["−24 h", "−18", "−12", "−6", "now"]],
];
const GAP = 60; // seconds without a figure that are told as a gap, or three usual steps
const KEYS = { ArrowLeft: -1, ArrowRight: 1 };
const STEPS = 120; // of the cursor by keys, over the whole width

const tenth = (value) => Math.round(value * 10) / 10;

export class Course extends Frame {
  #data = { at: [] };
  #now = 0;
  #i = null;
  #drawn = ""; // the size that it was drawn at

  /**
   * `lines`: [{key, label, step, ground}], the first lies on top; `over`: [key, key], where the first above the second is marked.
   * `on.point(i)` is told where the cursor is, null for nowhere.
   */
  constructor({ title, lines, words, unit = "", least = 1, over = null, full = false }, on) {
    super(title, "course");
    Object.assign(this, { title, lines, words, unit, least, over, full, on });
    this.marks = (full ? [0, 1] : [0, 0.5, 1]).map((part) => ({ part, rule: svg("path.rule"), words: text() }));
    for (const one of this.marks) {
      one.node = svg("text.tick", { "text-anchor": "end", x: LEFT - 8 }, one.words);
      this.svg.append(one.rule, one.node);
    }
    this.axis = svg("g");
    this.ground = svg("path.ground");
    this.short = svg("path.short");
    this.cursor = svg("path.cursor");
    this.paths = lines.map(({ key }) => svg(`path.line.${key}`));
    this.svg.append(this.axis, this.ground, this.short, ...this.paths.toReversed(), this.cursor);
    this.when = text();
    this.legend.append(el("span.when", {}, this.when));
    this.entries = lines.map((line) => this.#entry(line));
    this.#pointing();
  }

  #entry({ key, label }) {
    const value = text();
    const node = el(`span.of-${key}`, {}, el("i", { "aria-hidden": "true" }), `${label} `, el("b", {}, value));
    this.legend.append(node);
    return { key, label, value, node };
  }

  #pointing() {
    mark(this.svg, "tabindex", "0");
    this.svg.addEventListener("pointermove", ({ clientX }) => this.on.point(this.#nearest(this.#timeAt(clientX))));
    this.svg.addEventListener("pointerleave", () => this.on.point(null));
    this.svg.addEventListener("blur", () => this.on.point(null));
    this.svg.addEventListener("keydown", (event) => {
      if (!(event.key in KEYS) || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      const from = this.#data.at[this.#i ?? this.#data.at.length - 1];
      this.on.point(this.#walked(from, KEYS[event.key]));
    });
  }

  /** A hundredth or so of the width further, and at least one figure. */
  #walked(from, step) {
    const { at } = this.#data;
    const was = this.#i ?? at.length - 1;
    const to = this.#nearest(from + (step * this.span) / STEPS);
    return Math.max(0, Math.min(at.length - 1, step < 0 ? Math.min(to, was - 1) : Math.max(to, was + 1)));
  }

  /** Draws columns by key beside their times `at`, the earliest first; `now` is the right edge. */
  draw(data, now) {
    this.#data = data;
    this.#now = now;
    this.#drawn = "";
    this.again();
  }

  again() {
    if (!this.width) return;
    const size = `${this.width} ${this.height}`;
    if (this.#drawn !== size) this.#drawAll();
    this.#drawn = size;
    this.#tell();
  }

  get span() {
    const long = this.#now - (this.#data.at[0] ?? this.#now);
    return (SPANS.find(([seconds]) => long <= seconds * 1.03) ?? SPANS.at(-1))[0];
  }

  #drawAll() {
    const { at } = this.#data;
    const first = at.findIndex((time) => time >= this.#now - this.span);
    const seen = first < 0 ? [] : at.map((_, i) => i).slice(first);
    const max = this.#max(seen);
    this.#scale(max);
    this.lines.forEach(({ key, step }, i) => mark(this.paths[i], "d", this.#path(seen, key, max, step)));
    const grounded = this.lines.find(({ ground }) => ground);
    mark(this.ground, "d", grounded ? this.#ground(seen, grounded, max) : "");
    mark(this.short, "d", this.over ? this.#short(seen, ...this.over, max) : "");
  }

  #max(seen) {
    let most = this.least;
    for (const { key } of this.lines) for (const i of seen) if (this.#data[key][i] > most) most = this.#data[key][i];
    return this.full ? most : ceiling(most);
  }

  #x = (time) => tenth(LEFT + (1 - (this.#now - time) / this.span) * (this.width - LEFT - 1));
  #y = (value, max) => tenth(this.height - BOTTOM - (value / max) * (this.height - BOTTOM - TOP));

  /** Until when the `i`-th figure stands: up to the next, or for a step where there is a gap. */
  #until(i, usual) {
    const { at } = this.#data;
    const next = at[i + 1] ?? this.#now;
    return next - at[i] > Math.max(GAP, 3 * usual) ? at[i] + usual : next;
  }

  get #usual() {
    const { at } = this.#data;
    const steps = at.slice(1).map((time, i) => time - at[i]).sort((a, b) => a - b);
    return steps[steps.length >> 1] ?? 10;
  }

  /** Parts of a line between gaps. */
  #parts(seen) {
    const usual = this.#usual;
    const { at } = this.#data;
    const parts = [[]];
    for (const i of seen) {
      parts.at(-1).push(i);
      if (i + 1 < at.length && this.#until(i, usual) < at[i + 1]) parts.push([]);
    }
    return parts.filter((part) => part.length).map((part) => ({ part, end: this.#until(part.at(-1), usual) }));
  }

  #path(seen, key, max, step) {
    const values = this.#data[key];
    const { at } = this.#data;
    const draw = ({ part: [first, ...rest], end }) => {
      let path = `M${this.#x(at[first])} ${this.#y(values[first], max)}`;
      for (const i of rest) path += step ? `H${this.#x(at[i])}V${this.#y(values[i], max)}` : `L${this.#x(at[i])} ${this.#y(values[i], max)}`;
      return `${path}H${this.#x(end)}`;
    };
    return this.#parts(seen).map(draw).join("");
  }

  #ground(seen, { key, step }, max) {
    const floor = this.#y(0, max);
    return this.#path(seen, key, max, step).replace(/M([\d.-]+) [^M]+/g, (part, first) => `${part}V${floor}H${first}Z`);
  }

  /** Where `high` was over `low`. */
  #short(seen, high, low, max) {
    const usual = this.#usual;
    const { at, [high]: highs, [low]: lows } = this.#data;
    const strip = (i) =>
      `M${this.#x(at[i])} ${this.#y(highs[i], max)}H${this.#x(this.#until(i, usual))}V${this.#y(lows[i], max)}H${this.#x(at[i])}Z`;
    return seen.filter((i) => highs[i] > lows[i]).map(strip).join("");
  }

  #scale(max) {
    for (const { part, rule, node, words } of this.marks) {
      const y = this.#y(max * part, max);
      mark(rule, "d", `M${LEFT} ${y}H${this.width}`);
      mark(node, "y", y + 4);
      put(words, part ? this.words(max * part) : "0");
    }
    const drawn = `${this.span} ${this.width} ${this.height}`;
    if (this.axis.dataset.drawn === drawn) return;
    this.axis.dataset.drawn = drawn;
    const labels = SPANS.find(([seconds]) => seconds === this.span)[1];
    const last = labels.length - 1;
    const nodes = labels.map((words, i) => {
      const anchor = i === last ? "end" : i === 0 ? "start" : "middle";
      const x = tenth(LEFT + (i / last) * (this.width - LEFT - 1));
      return svg("text.tick", { x, y: this.height - 3, "text-anchor": anchor }, words);
    });
    this.axis.replaceChildren(...nodes);
  }

  /** The legend, and the name for who hears it, tell the figures under the cursor, else the newest. */
  #tell() {
    const { at } = this.#data;
    const i = this.#i === null ? at.length - 1 : Math.min(this.#i, at.length - 1);
    mark(this.cursor, "d", this.#i === null || i < 0 ? "" : `M${this.#x(at[i])} ${TOP}V${this.height - BOTTOM}`);
    const when = this.#i === null || i < 0 ? "" : moment(at[i], this.#now);
    put(this.when, when);
    const values = this.entries.map(({ key }) => (known(this.#data[key]?.[i]) ? this.words(this.#data[key][i]) + this.unit : DASH));
    const short = this.over && this.#data[this.over[0]]?.[i] > this.#data[this.over[1]]?.[i];
    this.entries.forEach(({ key, value, node }, k) => {
      const is = short && key === this.over[0];
      put(value, (is ? "▲ " : "") + values[k]);
      mark(node, "data-bad", is ? "" : null);
    });
    const told = this.entries.map(({ label }, k) => `${label} ${values[k]}`).join(", ");
    mark(this.svg, "aria-label", `${this.title}; ${when || "now"}: ${told}`);
  }

  /** Puts the cursor on the `i`-th figure, or takes it away with null. */
  point(i) {
    if (i === this.#i) return;
    this.#i = i;
    this.again();
  }

  #timeAt(clientX) {
    const { left } = this.svg.getBoundingClientRect();
    const part = (clientX - left - LEFT) / (this.width - LEFT - 1);
    return part < 0 ? null : this.#now - (1 - part) * this.span;
  }

  #nearest(time) {
    const { at } = this.#data;
    if (time === null || !at.length) return null;
    const next = at.findIndex((one) => one >= time);
    if (next <= 0) return next < 0 ? at.length - 1 : 0;
    return time - at[next - 1] < at[next] - time ? next - 1 : next;
  }
}
