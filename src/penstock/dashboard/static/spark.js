/** Small pictures inside rows and figures: a line over some minutes, a bullet bar, a histogram. */

import { mark, svg } from "./dom.js";
import { SPAN } from "./tracks.js";

const POINTS = 75; // as many as a spark has room for
const tenth = (value) => Math.round(value * 10) / 10;

/** Means over a few seconds each, whose borders stand still while time passes: [[second, mean], …]. */
function means(track, now, span) {
  const points = [];
  const step = Math.ceil(span / POINTS);
  const first = Math.max(0, now - span + 1);
  for (let bin = Math.floor(first / step); bin * step <= now; bin++) {
    let sum = 0;
    let count = 0;
    const from = Math.max(first, bin * step);
    const to = Math.min(now, bin * step + step - 1);
    for (let i = from; i <= to; i++) {
      const value = track[i % SPAN];
      if (value === value) (sum += value), count++;
    }
    points.push([(from + to) / 2, count ? sum / count : NaN]);
  }
  return points;
}

/** A line with its ground; both paths are drawn into a box of `width` by `height`. */
export class Spark {
  constructor(width, height, { ground = true, least = 0 } = {}) {
    this.width = width;
    this.height = height;
    this.least = least;
    this.line = svg("path.line");
    this.ground = ground ? svg("path.ground") : null;
    this.node = svg("svg.spark", { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", "aria-hidden": "true" });
    if (this.ground) this.node.append(this.ground);
    this.node.append(this.line);
  }

  draw(track, { now, span }) {
    if (!track) return;
    const points = means(track, now, span);
    let max = this.least;
    for (const [, value] of points) if (value > max) max = value;
    const [line, ground] = this.#paths(points, now - span + 1, span, max || 1);
    mark(this.line, "d", line);
    if (this.ground) mark(this.ground, "d", ground);
  }

  #paths(points, start, span, max) {
    const { width, height } = this;
    let line = "";
    let ground = "";
    let from = null;
    let x = 0;
    for (const [second, value] of points) {
      if (value !== value) {
        if (from !== null) ground += `L${x} ${height}L${from} ${height}Z`;
        from = null;
        continue;
      }
      x = tenth(((second - start) / (span - 1)) * width);
      const y = tenth(height - 1 - (value / max) * (height - 2));
      const to = `${from === null ? "M" : "L"}${x} ${y}`;
      if (from === null) from = x;
      line += to;
      ground += to;
    }
    if (from !== null) ground += `L${x} ${height}L${from} ${height}Z`;
    return [line, ground];
  }
}

/** The part of a whole that is in use. */
export class Share {
  constructor(width, height) {
    this.width = width;
    this.bar = svg("rect.used", { y: height - 8, height: 6, width: 0 });
    const rail = svg("rect.rail", { y: height - 8, height: 6, width });
    this.node = svg("svg.spark", { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", "aria-hidden": "true" }, rail, this.bar);
  }

  draw(part) {
    mark(this.bar, "width", tenth(Math.min(1, part) * this.width));
  }
}

const PERCENTILES = ["p99", "p95", "p50"];

/** p50, p95 and p99 inside each other, and the target as a notch at two thirds. */
export class Bullet {
  constructor(width, height) {
    this.width = width;
    const bars = PERCENTILES.map((key) => svg(`rect.${key}`, { y: 0, height, width: 0, rx: 1 }));
    this.bars = bars;
    const notch = svg("rect.notch", { x: (width * 2) / 3 - 0.75, y: -2, width: 1.5, height: height + 4 });
    this.node = svg("svg.bullet", { viewBox: `0 -2 ${width} ${height + 4}`, preserveAspectRatio: "none", "aria-hidden": "true" });
    this.node.append(svg("rect.rail", { width, height, rx: 1 }), ...bars, notch);
  }

  draw(model) {
    const target = model.target_p99_ms;
    mark(this.node, "data-none", target ? null : "");
    if (!target) return;
    PERCENTILES.forEach((key, i) => {
      const part = Math.min(1, (model[`${key}_ms`] ?? 0) / (target * 1.5));
      mark(this.bars[i], "width", tenth(part * this.width));
    });
  }
}

const BINS = 8;

/** How often batches of 1, 2, 4 … 128 and more rows ran. */
export class Histogram {
  constructor(width, height) {
    this.width = width;
    this.height = height;
    this.path = svg("path");
    this.node = svg("svg.histogram", { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", "aria-hidden": "true" });
    this.node.append(this.path);
  }

  draw(batches) {
    const counts = new Array(BINS).fill(0);
    for (const [rows, count] of batches ?? []) counts[Math.min(BINS - 1, Math.ceil(Math.log2(rows)))] += count;
    const max = Math.max(...counts);
    const wide = this.width / BINS;
    mark(this.path, "d", counts.map((count, i) => this.#bar(i * wide, wide - 1, max ? count / max : 0)).join(""));
  }

  #bar(x, wide, part) {
    const high = part ? Math.max(1.5, tenth(part * this.height)) : 0.75;
    return `M${tenth(x)} ${this.height}v${-high}h${tenth(wide)}v${high}z`;
  }
}
