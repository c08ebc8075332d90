/** The effect of a new version as a bar on a small axis, between the marks that it is held against. */

import { mark, put, svg, text } from "./dom.js";
import { DASH, known, rounded } from "./format.js";

const PARTS = new Set(["answers", "outputs"]); // effects that are parts of the answers; all others are ratios, new over old
const AGO = 300; // seconds by which the pale bar is older at most
const ROOM = 0.3; // a mark's words take so much of the axis at most

export const isPart = (name) => PARTS.has(name);

/** The alarm of outputs is the ratio by which a class gets rarer or commoner: it has no place among parts. */
const places = ({ name, alarm }) => (name === "outputs" ? null : alarm);
const margin = (name, value) => (name === "outputs" ? `×${rounded(value)} of a class` : effect(name, value));

/** `×1.07`, or `0.6 %` of what is a part. */
export function effect(name, value) {
  if (!known(value)) return DASH;
  return isPart(name) ? `${rounded(value * 100)} %` : `×${rounded(value)}`;
}

/** Both ends of a guard's interval in words; empty where nothing is known. */
export function ends({ name, low, high }) {
  if (!known(low) && !known(high)) return "";
  if (!known(high)) return `over ${effect(name, low)}`;
  if (!known(low)) return `under ${effect(name, high)}`;
  const [from, to] = [effect(name, low), effect(name, high)];
  return `${from.replace(" %", "")} – ${to.replace("×", "")}`;
}

/** Answers where an effect lies on a guard's axis, as a part of its width: ratios on a logarithmic one with 1 in the middle, parts from 0 on. */
export function scale(guard) {
  const { name, target, low } = guard;
  const far = Math.max(places(guard) ?? 0, target ?? 0);
  if (isPart(name)) {
    const most = 2 * Math.max(far || 0.02, (low ?? 0) * 0.8);
    return (value) => value / most;
  }
  const most = 4 * Math.log(Math.max(far, 1.05, (low ?? 0) ** 0.8));
  return (value) => 0.5 + (value > 0 ? Math.log(value) / most : -Infinity);
}

const within = (at) => Math.min(1, Math.max(0, at));
const cent = (at) => `${Math.round(at * 10_000) / 100}%`;

/** A line across the lane with its words above or below. */
class Mark {
  constructor(kind, y, from, to) {
    this.words = text();
    this.line = svg("line", { y1: from, y2: to });
    this.label = svg("text", { y }, this.words);
    this.node = svg(`g.${kind}`, {}, this.line, this.label);
  }

  write(at, words) {
    const there = at !== null && at >= 0 && at <= 1;
    mark(this.node, "visibility", there ? null : "hidden");
    if (!there) return;
    for (const name of ["x1", "x2"]) mark(this.line, name, cent(at));
    mark(this.label, "x", cent(at));
    mark(this.label, "text-anchor", at < 0.5 - ROOM / 2 ? "start" : at > 0.5 + ROOM / 2 ? "end" : "middle");
    put(this.words, words);
  }
}

/** A bar of the lane; the arrow at an end says that it goes on. */
function bar(kind, y, height) {
  return svg(`rect.${kind}`, { y, height, rx: height / 2 });
}

function arrow(x, d) {
  return svg("svg.on", { x, y: 21, overflow: "visible" }, svg("path", { d }));
}

export class Interval {
  #past = [];

  constructor() {
    this.pale = bar("pale", 18, 6);
    this.bar = bar("bar", 18, 6);
    this.dot = svg("circle.dot", { cy: 21, r: 4.5 });
    this.left = arrow("0%", "M1 -4L-5 0L1 4z");
    this.right = arrow("100%", "M-1 -4L5 0L-1 4z");
    this.same = new Mark("same", 40, 13, 29);
    this.alarm = new Mark("alarm", 40, 12, 30);
    this.target = new Mark("target", 9, 12, 30);
    const lane = svg("rect.lane", { y: 20.5, height: 1, width: "100%" });
    this.node = svg("svg.interval", { role: "img" }, lane, this.same.node, this.pale, this.bar);
    this.node.append(this.alarm.node, this.target.node, this.dot, this.left, this.right);
  }

  /** Draws a guard as it stands at a time in seconds, over itself some minutes before. */
  draw(guard, at) {
    const { name, low, high } = guard;
    const place = scale(guard);
    const some = known(low) || known(high);
    this.#keep(some, low, high, at);
    const where = (value, other) => (known(value) ? place(value) : other);
    const [from, to] = [where(low, -Infinity), where(high, Infinity)];
    const before = this.#past[0];
    this.#span(this.bar, some, from, to);
    this.#span(this.pale, some && at - before.at > 5, where(before?.low, -Infinity), where(before?.high, Infinity));
    mark(this.left, "visibility", some && from < 0 ? null : "hidden");
    mark(this.right, "visibility", some && to > 1 ? null : "hidden");
    const dot = where(guard.effect, null);
    mark(this.dot, "visibility", dot === null || dot < 0 || dot > 1 ? "hidden" : null);
    mark(this.dot, "cx", cent(within(dot ?? 0)));
    this.#marks(guard, place);
    mark(this.node, "visibility", some || known(guard.alarm) || known(guard.target) ? null : "hidden");
    mark(this.node, "aria-label", told(guard));
    mark(this.node, "data-part", isPart(name) ? "" : null);
  }

  #keep(some, low, high, at) {
    if (!some) return void (this.#past = []);
    if (this.#past.at(-1)?.at !== at) this.#past.push({ at, low, high });
    while (at - this.#past[0].at > AGO) this.#past.shift();
  }

  #span(rect, some, from, to) {
    mark(rect, "visibility", some ? null : "hidden");
    mark(rect, "x", cent(within(from)));
    mark(rect, "width", cent(Math.max(0.006, within(to) - within(from))));
  }

  #marks(guard, place) {
    const { name, target } = guard;
    const alarm = places(guard);
    const at = (value) => (known(value) ? place(value) : null);
    const same = isPart(name) ? 0 : 0.5;
    const near = known(alarm) && Math.abs(place(alarm) - same) < ROOM;
    this.same.write(same, near ? "" : isPart(name) ? "0" : "×1");
    this.alarm.write(at(alarm), `alarm ${effect(name, alarm)}`);
    this.target.write(at(target), `pass ${effect(name, target)}`);
  }
}

/** The picture in a sentence. */
function told(guard) {
  const { name, alarm, target } = guard;
  const range = ends(guard);
  const parts = [
    known(guard.effect) ? `effect ${effect(name, guard.effect)}` : "no effect is known yet",
    range && `interval ${range}`,
    known(alarm) && `alarm over ${margin(name, alarm)}`,
    known(target) && `pass under ${effect(name, target)}`,
  ];
  return parts.filter(Boolean).join(", ");
}
