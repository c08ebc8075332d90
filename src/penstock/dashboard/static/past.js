/** What a model was asked and cost in the last day, hour by hour, and what happened to it. */

import { key } from "./actions.js";
import { Bars } from "./chart.js";
import { el } from "./dom.js";
import { ask } from "./feed.js";
import { joined, joules, known, moment, money, whole } from "./format.js";
import { nameOf } from "./tracks.js";

const EVERY_MS = 60_000;
const HOUR = 3600;

export class Past {
  #asked = { name: "", state: "", at: -Infinity };
  #currency = "";

  constructor() {
    this.bars = [
      new Bars({ title: "Queries by hour", empty: "nothing in the books yet" }),
      new Bars({ title: "Cost /1,000 by hour", empty: "not known" }),
      new Bars({ title: "Energy /1,000 by hour", empty: "not known" }),
    ];
    this.nodes = this.bars.map(({ node }) => node);
    for (const node of this.nodes) node.classList.add("past");
    this.events = el("ol.events");
  }

  /** Asks anew at the next tick. */
  renew() {
    this.#asked.at = -Infinity;
  }

  /** Asks where this is another model, another state of it, or a minute later; true for another model. */
  follow(model, currency) {
    this.#currency = currency;
    const name = nameOf(model);
    const other = this.#asked.name !== name;
    const due = performance.now() - this.#asked.at > EVERY_MS;
    if (!other && !due && this.#asked.state === model.state) return false;
    this.#asked = { name, state: model.state, at: performance.now() };
    if (other) this.#write({}, "asking …");
    this.#ask(model, name);
    return other;
  }

  async #ask(model, name) {
    try {
      const response = await ask(`penstock/history/${encodeURIComponent(model.name)}?since=24h`, key());
      const history = await response.json();
      if (response.ok && this.#asked.name === name) this.#write(history, "nothing in the last 24 hours");
    } catch {
      /* asked again in a minute */
    }
  }

  #write({ events = [], series = [] }, none) {
    const now = Date.now() / 1000;
    const per = (one, figure) => (known(figure) && one.queries ? (figure / one.queries) * 1000 : null);
    const drawn = [
      [(one) => one.queries, whole],
      [(one) => per(one, one.cost_full), (value) => money(value, this.#currency)],
      [(one) => per(one, one.joules), (value) => joined(joules(value))],
    ];
    const hours = day(series, now);
    drawn.forEach(([figure, words], i) => this.bars[i].draw(...barsOf(hours, figure, words, now)));
    const items = events.toSorted((a, b) => b.at - a.at).map((event) => item(event, now));
    this.events.replaceChildren(...(items.length ? items : [el("li.none", {}, none)]));
  }
}

function item({ at, version, what, detail }, now) {
  const when = el("time", { datetime: new Date(at * 1000).toISOString() }, moment(at, now));
  const words = el("span", {}, version ? `version ${version} ` : "", el("b", {}, what));
  return el("li", {}, when, words, el("span.soft", {}, detail ?? ""));
}

/** The last 24 hours, those without an entry in the books as well; none at all where no hour has one. */
function day(series, now) {
  const found = new Map(series.map((one) => [Math.floor(one.start / HOUR), one]));
  const last = Math.floor(now / HOUR);
  if (!found.size) return [];
  const hours = Array.from({ length: 24 }, (_, i) => last - 23 + i);
  return hours.map((hour) => found.get(hour) ?? { start: hour * HOUR, queries: null });
}

/** Every sixth hour of the day as a label. */
function clock(at) {
  const hour = new Date(at * 1000).getHours();
  return hour % 6 === 0 ? `${String(hour).padStart(2, "0")}:00` : "";
}

function barsOf(series, figure, words, now) {
  const bars = series.map((one) => {
    const value = figure(one);
    const told = value === null ? "" : `${moment(one.start, now)}: ${words(value)}`;
    return { value, label: clock(one.start), told };
  });
  const last = bars.findLast(({ value }) => value !== null);
  return [bars, last ? `latest ${words(last.value)}` : ""];
}
