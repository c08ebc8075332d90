/** Charts of the detail view: lines over some minutes, and bars. */

import { el, mark, put, svg, text } from "./dom.js";
import { DASH, rounded } from "./format.js";

export const LEFT = 44;
export const BOTTOM = 18;
export const TOP = 6;
/** What stands below the time axis, from the left to now. */
const AXES = {
  60: ["−60 s", "−40", "−20", "now"],
  120: ["−2 min", "−1", "now"],
  300: ["−5 min", "−4", "−3", "−2", "−1", "now"],
};

/** A round number that is not below `value`. */
export function ceiling(value) {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 1.5, 2, 3, 4, 5, 6, 8, 10].find((step) => step * power >= value * 0.999) * power;
}

/** A chart's frame: heading, legend and an SVG that is as large as its place. */
export class Frame {
  constructor(title, kind) {
    this.svg = svg("svg", { role: "img", "aria-label": title });
    this.legend = el("p.legend");
    this.node = el(`figure.chart.${kind}`, {}, el("figcaption", {}, el("h3", {}, title), this.legend), this.svg);
    this.width = 0;
    new ResizeObserver(([{ contentRect }]) => this.#size(contentRect)).observe(this.svg);
  }

  #size({ width, height }) {
    if (width === this.width && height === this.height) return;
    this.width = Math.round(width);
    this.height = Math.round(height);
    mark(this.svg, "viewBox", `0 0 ${this.width} ${this.height}`);
    this.again?.();
  }
}

export class Lines extends Frame {
  span = 60;
  #at = null;

  /** `lines`: [{key, label, quiet}], the first lies on top, a quiet one shows no zeros; `words` formats a figure; `target` draws an aim. */
  constructor({ title, lines, words, least = 1, ground = false, unit = "" }) {
    super(title, "lines");
    Object.assign(this, { lines, words, least, unit });
    this.marks = [0, 0.5, 1].map(() => ({ rule: svg("path.rule"), words: text() }));
    this.axis = svg("g");
    this.aim = svg("path.aim");
    this.cursor = svg("path.cursor");
    this.paths = lines.map(({ key }) => svg(`path.line.${key}`));
    this.ground = ground ? svg("path.ground") : null;
    for (const one of this.marks) {
      one.node = svg("text.tick", { "text-anchor": "end", x: LEFT - 8 }, one.words);
      this.svg.append(one.rule, one.node);
    }
    this.svg.append(this.axis, ...(this.ground ? [this.ground] : []), this.aim, ...this.paths.toReversed(), this.cursor);
    this.entries = [...lines, { key: "target", label: "target" }].map((line) => this.#entry(line));
  }

  #entry({ key, label }) {
    const value = text();
    const node = el(`span.of-${key}`, {}, el("i", { "aria-hidden": "true" }), `${label} `, el("b", {}, value));
    this.legend.append(node);
    return { key, value, node };
  }

  draw(tracks, name, target) {
    this.last = { tracks, name, target };
    this.span = tracks.span;
    if (!this.width) return;
    const all = this.lines.map(({ key }) => [...tracks.values(name, key)]);
    const max = this.#max(all, target);
    this.#scale(max);
    all.forEach((values, i) => mark(this.paths[i], "d", this.#path(values, max, this.lines[i].quiet)));
    if (this.ground) mark(this.ground, "d", this.#ground(all[0], max));
    const y = target && target <= max ? this.#y(target, max) : null;
    mark(this.aim, "d", y === null ? "" : `M${LEFT} ${y}H${this.width - 1}`);
    this.#tell(all, target);
  }

  again() {
    if (this.last) this.draw(this.last.tracks, this.last.name, this.last.target);
  }

  /** The highest figure, and the target with it unless that would press the lines to the ground. */
  #max(all, target) {
    let most = this.least;
    for (const values of all) for (const value of values) if (value > most) most = value;
    return ceiling(target && target < most * 4 ? Math.max(most, target * 1.1) : most);
  }

  #x = (i) => Math.round((LEFT + (i / (this.span - 1)) * (this.width - LEFT - 1)) * 10) / 10;
  #y = (value, max) => Math.round((this.height - BOTTOM - (value / max) * (this.height - BOTTOM - TOP)) * 10) / 10;

  #scale(max) {
    this.marks.forEach(({ rule, node, words }, i) => {
      const y = this.#y((max * i) / 2, max);
      mark(rule, "d", `M${LEFT} ${y}H${this.width}`);
      mark(node, "y", y + 4);
      put(words, i ? this.words((max * i) / 2) : "0");
    });
    this.#time();
  }

  #time() {
    const drawn = `${this.span} ${this.width} ${this.height}`;
    if (this.axis.dataset.drawn === drawn) return;
    this.axis.dataset.drawn = drawn;
    const labels = AXES[this.span];
    const last = labels.length - 1;
    const nodes = labels.map((words, i) => {
      const anchor = i === last ? "end" : i === 0 ? "start" : "middle";
      const x = this.#x((i * (this.span - 1)) / last);
      return svg("text.tick", { x, y: this.height - 3, "text-anchor": anchor }, words);
    });
    this.axis.replaceChildren(...nodes);
  }

  #path(values, max, quiet = false) {
    let path = "";
    let pen = "M";
    values.forEach((value, i) => {
      if (value !== value || (quiet && !value)) return void (pen = "M");
      path += `${pen}${this.#x(i)} ${this.#y(value, max)}`;
      pen = "L";
    });
    return path;
  }

  #ground(values, max) {
    const floor = this.#y(0, max);
    return this.#path(values, max).replace(/M[^M]+/g, (part) => {
      const [first, last] = [/^M([\d.]+)/.exec(part)[1], /([\d.]+) [\d.]+$/.exec(part)[1]];
      return `${part}L${last} ${floor}L${first} ${floor}Z`;
    });
  }

  /** The legend tells the figures under the cursor, else the newest. */
  #tell(all, target) {
    const i = Math.min(this.#at ?? Infinity, this.span - 1);
    const x = this.#at === null ? null : this.#x(i);
    mark(this.cursor, "d", x === null ? "" : `M${x} ${TOP}V${this.height - BOTTOM}`);
    const tell = (value) => (value === value ? this.words(value) + this.unit : DASH);
    all.forEach((values, k) => put(this.entries[k].value, tell(values[i])));
    const entry = this.entries.at(-1);
    mark(entry.node, "hidden", target ? null : "");
    if (target) put(entry.value, rounded(target) + this.unit);
  }

  /** Puts the cursor on a slot, or takes it away with null. */
  point(slot) {
    if (slot === this.#at) return;
    this.#at = slot;
    this.again();
  }

  /** The slot under a pointer. */
  slotAt(clientX) {
    const { left } = this.svg.getBoundingClientRect();
    const part = (clientX - left - LEFT) / (this.width - LEFT);
    return part < 0 ? null : Math.min(this.span - 1, Math.round(part * (this.span - 1)));
  }
}

export class Bars extends Frame {
  constructor({ title, empty = "none yet" }) {
    super(title, "bars");
    this.empty = empty;
    this.note = text();
    this.legend.append(this.note);
  }

  /** `bars`: [{value, label, told}]; a null value leaves a gap, `told` is its whole story. */
  draw(bars, note = "") {
    this.last = [bars, note];
    if (!this.width) return;
    const known = bars.filter(({ value }) => value !== null);
    put(this.note, known.length ? note : this.empty);
    const max = Math.max(...known.map(({ value }) => value), 0) || 1;
    const wide = this.width / Math.max(bars.length, 1);
    this.svg.replaceChildren(
      svg("path.rule", { d: `M0 ${this.height - BOTTOM + 0.5}H${this.width}` }),
      ...bars.flatMap((bar, i) => this.#bar(bar, i * wide, wide, max)),
    );
  }

  #bar({ value, label, told }, x, wide, max) {
    const nodes = [];
    if (value !== null) {
      const high = value ? Math.max(1.5, (value / max) * (this.height - BOTTOM - TOP)) : 0;
      const gap = Math.min(6, wide * 0.25);
      const box = { x: x + gap / 2, y: this.height - BOTTOM - high, width: Math.max(1, wide - gap), height: high, rx: 1 };
      nodes.push(svg("rect.bar", box, svg("title", {}, told)));
    }
    if (label) nodes.push(svg("text.tick", { x: x + wide / 2, y: this.height - 3, "text-anchor": "middle" }, label));
    return nodes;
  }

  again() {
    if (this.last) this.draw(...this.last);
  }
}
