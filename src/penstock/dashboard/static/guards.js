/** The guards of a rollout: what each says, how sure it is, and what it still needs. */

import { arrange, el, mark, put, show, svg, text } from "./dom.js";
import { known, percent, span, whole } from "./format.js";
import { effect, ends, Interval, isPart } from "./interval.js";
import { sign } from "./signs.js";

const SIGNS = { pass: "good", fail: "bad", "not yet": "wait", off: "none" };
const NAMES = {
  errors: "Errors", timeouts: "Time-outs", cost: "Cost", energy: "Energy",
  answers: "Answers", outputs: "Outputs", accuracy: "Accuracy",
}; // prettier-ignore
const EVENTS = { errors: "errors", timeouts: "time-outs", answers: "that differ", accuracy: "wrong" };
const COLUMNS = [
  ["guard", "Guard"],
  ["verdict", "Verdict"],
  ["effect", "New over old"],
  ["axis", "Interval"],
  ["evidence", "Evidence"],
  ["lacks", "What it says"],
];
const TWO = new Intl.NumberFormat("en", { maximumSignificantDigits: 2 });

const nameOf = (guard) => NAMES[guard.name] ?? guard.name;

/** An empty sign, for `sign` to write. */
export function emptySign(what = "span") {
  return el(`${what}.sign`, {}, svg("svg.shape", { viewBox: "0 0 10 10", "aria-hidden": "true" }, svg("path")), el("span", {}, text()));
}

/** How many guards say what, worst first: [[verdict, sign, count], …]. */
export function tally(guards) {
  const counted = ["fail", "not yet", "pass"].map((verdict) => [verdict, SIGNS[verdict], guards.filter((one) => one.verdict === verdict).length]);
  return counted.filter(([, , count]) => count);
}

function unit(name) {
  if (name === "accuracy") return "labels";
  return isPart(name) ? "pairs" : "requests";
}

const seen = ({ name, seen }) => (seen ? `${whole(seen)} ${unit(name)}` : "");

/** `132 slow, of both versions`: what its evidence is made of. */
function events({ name, events }) {
  const kind = EVENTS[name] ?? (name.startsWith("p") ? "slow" : "events");
  return events ? `${whole(events)} ${kind}, of both versions` : null;
}

/** What a guard would still have to see, at today's traffic. */
function needs({ name, verdict, needs, needs_s }) {
  if (verdict !== "not yet" || !known(needs)) return "";
  const time = known(needs_s) ? `, about ${span(Math.max(1, needs_s))}` : "";
  return `some ${TWO.format(needs)} ${unit(name)} more${time}`;
}

/** Evidence as a thin meter with its word and percent. */
class Evidence {
  constructor(kind, word, told) {
    this.told = told;
    this.words = text();
    this.meter = el("meter", { min: "0", max: "1" });
    this.node = el(`div.${kind}`, {}, el("span", {}, word), this.meter, el("span.number", {}, this.words));
  }

  write(value, there) {
    show(this.node, there);
    const part = Math.min(1, value ?? 0);
    put(this.words, percent(part));
    mark(this.meter, "value", Math.round(part * 1000) / 1000);
    mark(this.meter, "aria-label", `${this.told}: ${percent(part)}`);
  }
}

class Row {
  constructor() {
    this.name = text();
    this.seen = text();
    this.sign = emptySign();
    this.effect = text();
    this.ends = text();
    this.interval = new Interval();
    this.pass = new Evidence("pass", "pass", "Evidence for a pass");
    this.alarm = new Evidence("alarm", "alarm", "Evidence for an alarm");
    this.needs = el("b", {}, text());
    this.why = el("span.soft", {}, text());
    const cells = [
      [el("b", {}, this.name), el("span.soft", {}, this.seen)],
      [this.sign],
      [el("b", {}, this.effect), el("span.soft", {}, this.ends)],
      [this.interval.node],
      [this.pass.node, this.alarm.node],
      [this.needs, this.why],
    ];
    this.node = el("tr.guard", { role: "row" }, ...cells.map((nodes, i) => cell(i, nodes)));
  }

  write(guard, at, over) {
    put(this.name, nameOf(guard));
    put(this.seen, seen(guard));
    mark(this.seen.parentNode, "title", events(guard));
    sign(this.sign, SIGNS[guard.verdict] ?? "none", guard.verdict);
    mark(this.node, "data-verdict", guard.verdict);
    put(this.effect, effect(guard.name, guard.effect));
    put(this.ends, ends(guard));
    this.interval.draw(guard, at);
    this.pass.write(guard.for_, known(guard.target));
    this.alarm.write(guard.against, known(guard.alarm));
    put(this.needs.firstChild, over ? "" : needs(guard));
    put(this.why.firstChild, guard.why ?? "");
  }
}

function cell(i, nodes) {
  const [id] = COLUMNS[i];
  return el(`${i ? "td" : "th"}.g-${id}`, { role: i ? "cell" : "rowheader" }, ...nodes);
}

export class Guards {
  #rows = new Map();
  #off = "";

  constructor() {
    const heads = COLUMNS.map(([id, label]) => el(`th.g-${id}`, { role: "columnheader", scope: "col" }, label));
    this.body = el("tbody", { role: "rowgroup" });
    this.table = el("table", { role: "table", "aria-label": "Guards" }, el("thead", { role: "rowgroup" }, el("tr", { role: "row" }, ...heads)), this.body);
    this.summary = text();
    this.reasons = el("dl");
    this.silent = el("details.off", {}, el("summary", {}, this.summary), this.reasons);
    const key = el("p.key", {}, "It passes once the whole bar is left of ", el("b.target", {}, "pass"), " and fails once it is right of ", el("b.alarm", {}, "alarm"), ". The bar holds at 95 % whenever one looks; pale: as it was up to 5 minutes ago.");
    this.key = key;
    this.node = el("div.guards", {}, this.table, this.silent, key);
  }

  /** Writes all guards as they stand at a time in seconds; `over`: nothing is needed any more. */
  write(guards, at, over) {
    const some = guards.filter(({ verdict }) => verdict !== "off");
    show(this.table, some.length > 0);
    show(this.key, some.length > 0);
    const nodes = some.map((guard) => this.#row(guard, at, over));
    arrange(this.body, nodes);
    this.#writeOff(guards.filter(({ verdict }) => verdict === "off"));
  }

  #row(guard, at, over) {
    if (!this.#rows.has(guard.name)) this.#rows.set(guard.name, new Row());
    const row = this.#rows.get(guard.name);
    row.write(guard, at, over);
    return row.node;
  }

  #writeOff(off) {
    show(this.silent, off.length > 0);
    const words = JSON.stringify(off.map(({ name, why }) => [name, why]));
    if (words === this.#off) return;
    this.#off = words;
    const names = off.map(({ name }) => name).join(", ");
    put(this.summary, `${off.length} ${off.length === 1 ? "guard says" : "guards say"} nothing here: ${names}`);
    this.reasons.replaceChildren(...off.map((guard) => el("div", {}, el("dt", {}, nameOf(guard)), el("dd", {}, guard.why || "it is switched off"))));
  }
}
