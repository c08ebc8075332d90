/** One model at length: its figures and charts, what it is, and what happened to it. */

import { key, order } from "./actions.js";
import { Bars, Lines } from "./chart.js";
import { brief, hashOf } from "./columns.js";
import { arrange, el, mark, put, show, svg, text } from "./dom.js";
import { ask } from "./feed.js";
import { bytes, duration, joined, joules, known, moment, money, ms, percent, rate, rounded, short, whole } from "./format.js";
import { shapeOf, stateOf } from "./signs.js";
import { isOver } from "./strip.js";
import { nameOf } from "./tracks.js";

const HISTORY_MS = 60_000;

const figuresOf = (m, currency) => [
  ["Requests", rate(m.rate ?? 0), "/s"],
  ["p50", ms(m.p50_ms), "ms"],
  ["p95", ms(m.p95_ms), "ms"],
  ["p99", (isOver(m) ? "▲ " : "") + ms(m.p99_ms), "ms", isOver(m)],
  ["Batch", short(m.batch), "rows"],
  ["Queue", whole(m.queue ?? 0), m.queue === 1 ? "row" : "rows"],
  ["Busy", percent(m.busy), ""],
  ["Errors", (m.error_rate > 0 ? "! " : "") + rate(m.error_rate ?? 0), "/s", m.error_rate > 0],
  ["Cost /1,000", money(m.cost_per_1000, currency), ""],
  ["Energy /1,000", joined(joules(m.joules_per_1000)), known(m.joules_per_1000) ? brief(m.method ?? "") : ""],
];

const factsOf = (m) => [
  ["Platform", m.platform],
  ["Device", m.device],
  ["Runs in", m.isolation && { inline: "the event loop", thread: "a thread", process: "a process of its own" }[m.isolation]],
  ["Instances", m.instances && `${m.instances} × ${m.threads ?? 1} ${m.threads > 1 ? "threads" : "thread"}`],
  ["Batches", !m.instances ? "" : m.batched ? (m.batch_cap ? `up to ${whole(m.batch_cap)} rows` : "yes") : "no, one request at a time"],
  ["One run", known(m.run_ms) ? duration(m.run_ms) : ""],
  ["Target p99", m.target_p99_ms ? `${rounded(m.target_p99_ms)} ms` : "none; [target] p99_ms sets it"],
  ["Memory", m.memory_bytes ? joined(bytes(m.memory_bytes)) : ""],
  ["Answered", `${whole(m.requests ?? 0)} since the start`],
  ["Restarts", m.restarts ? whole(m.restarts) : ""],
];

/** A list of terms that is written in place; those without a value are left out. */
class Terms {
  constructor(node) {
    this.node = node;
    this.made = new Map();
  }

  write(entries) {
    const nodes = [];
    for (const [name, words, unit = "", bad = false] of entries) {
      if (!words) continue;
      if (!this.made.has(name)) this.made.set(name, this.#make(name));
      const made = this.made.get(name);
      put(made.words, words);
      put(made.unit, unit && ` ${unit}`);
      mark(made.node, "data-bad", bad ? "" : null);
      nodes.push(made.node);
    }
    arrange(this.node, nodes);
  }

  #make(name) {
    const words = text();
    const unit = text();
    const node = el("div", {}, el("dt", {}, name), el("dd", {}, words, el("span.soft", {}, unit)));
    return { node, words, unit };
  }
}

const linesOf = () => [
  new Lines({
    title: "Latency",
    unit: " ms",
    words: ms,
    lines: [{ key: "p99", label: "p99" }, { key: "p95", label: "p95" }, { key: "p50", label: "p50" }],
  }),
  new Lines({ title: "Requests", unit: "/s", words: rate, ground: true, lines: [{ key: "rate", label: "answered" }, { key: "errors", label: "errors", quiet: true }] }),
  new Lines({ title: "Queue", words: (value) => (Number.isInteger(value) ? whole(value) : short(value)), ground: true, least: 4, lines: [{ key: "queue", label: "rows waiting" }] }),
  new Lines({ title: "Batch", words: short, least: 2, lines: [{ key: "batch", label: "mean rows" }] }),
];

export class Detail {
  #model = null;
  #currency = "";
  #asked = { name: "", at: -Infinity, state: "" };

  /** `on.close()` leaves the model, `on.renew()` follows a new key; `on.may()` answers hello's word. */
  constructor(root, on) {
    this.root = root;
    this.on = on;
    this.#head();
    this.figures = new Terms(el("dl.figures"));
    this.charts = linesOf();
    this.sizes = new Bars({ title: "Batch sizes, last minute", empty: "no batch in the last minute" });
    this.reasons = el("ul.reasons");
    this.facts = new Terms(el("dl.facts"));
    this.past = [
      new Bars({ title: "Queries by hour", empty: "nothing in the books yet" }),
      new Bars({ title: "Cost /1,000 by hour", empty: "not known" }),
      new Bars({ title: "Energy /1,000 by hour", empty: "not known" }),
    ];
    for (const { node } of this.past) node.classList.add("past");
    this.events = el("ol.events");
    this.gone = el("p.none", { hidden: "" });
    this.#compose();
    this.#pointing();
  }

  #head() {
    this.title = text();
    this.version = text();
    this.sign = el("p.sign", {}, svg("svg.shape", { viewBox: "0 0 10 10", "aria-hidden": "true" }, svg("path")), el("span", {}, text()));
    this.reason = el("p.reason", { hidden: "" });
    this.others = el("nav.others", { "aria-label": "Versions" });
    this.close = el("button.icon.close", { type: "button", "aria-label": "Close", title: "Close (Esc)" }, "×");
    this.close.addEventListener("click", () => this.on.close());
    this.load = this.#button("Load", "load");
    this.unload = this.#button("Unload", "unload");
    this.unlock = el("button.quiet", { type: "button" }, "Enter an admin key to load or unload");
    this.unlock.addEventListener("click", () => this.on.unlock());
    this.heading = el("h2", { tabindex: "-1" }, el("span.words", {}, this.title), el("span.soft", {}, this.version));
  }

  #button(words, what) {
    const button = el("button", { type: "button" }, words);
    button.addEventListener("click", () => this.#order(what));
    return button;
  }

  async #order(what) {
    const { name } = this.#model;
    const versions = this.others.childElementCount;
    const answering = this.#model.rate > 0 ? rate(this.#model.rate) : "";
    await order(what, name, { answering, versions }, () => this.on.renew());
    this.#asked.at = -Infinity;
  }

  #compose() {
    const [latency, requests, queue, batch] = this.charts.map(({ node }) => node);
    const head = el("header", {}, this.heading, this.sign, this.others, el("div.acts", {}, this.unlock, this.load, this.unload, this.close));
    const reasons = el("section", {}, el("h3", {}, "Errors by reason"), this.reasons);
    const facts = el("section", {}, el("h3", {}, "What it is"), this.facts.node);
    const events = el("section", {}, el("h3", {}, "What happened to it"), this.events);
    this.all = el("div.all", {}, el("div.charts", {}, latency, requests, queue, batch, this.sizes.node, ...this.past.map(({ node }) => node)), el("div.words", {}, facts, reasons, events));
    this.root.append(el("div.inner", {}, head, this.reason, this.gone, this.figures.node, this.all));
  }

  #pointing() {
    for (const chart of this.charts) {
      chart.svg.addEventListener("pointermove", ({ clientX }) => this.#point(chart.slotAt(clientX)));
      chart.svg.addEventListener("pointerleave", () => this.#point(null));
    }
  }

  #point(slot) {
    for (const chart of this.charts) chart.point(slot);
  }

  /** Writes the model that is open; `model` is undefined where there is none of that name. */
  write(model, { models, currency, tracks, alone, wanted }) {
    this.#currency = currency;
    show(this.close, !alone);
    for (const node of [this.figures.node, this.all, this.sign, this.others]) show(node, Boolean(model));
    show(this.gone, !model);
    if (!model) return this.#missing(wanted);
    this.#model = model;
    this.#writeHead(model, models);
    this.figures.write(figuresOf(model, currency));
    const name = nameOf(model);
    this.charts.forEach((chart, i) => chart.draw(tracks, name, i === 0 ? model.target_p99_ms : 0));
    this.#drawSizes(model);
    this.#writeReasons(model);
    this.facts.write(factsOf(model));
    this.#askHistory(model);
  }

  #missing(wanted) {
    this.#model = null;
    put(this.title, wanted.name);
    put(this.version, wanted.version ? ` ${wanted.version}` : "");
    this.gone.textContent = "There is no such model here, or no longer.";
    this.#allow(false);
    show(this.reason, false);
  }

  #writeHead(model, models) {
    put(this.title, model.name);
    put(this.version, model.version ? ` version ${model.version}` : "");
    const [is, word] = stateOf(model);
    mark(this.sign, "data-is", is);
    mark(this.sign.querySelector("path"), "d", shapeOf(is));
    put(this.sign.lastChild.firstChild, word);
    show(this.reason, Boolean(model.reason));
    this.reason.textContent = model.reason ?? "";
    this.#allow(true);
    const versions = models.filter(({ name }) => name === model.name);
    const names = versions.map((one) => `${one.version}${one.live ? " live" : ""}`).join();
    if (this.others.dataset.names !== names + model.version) {
      this.others.dataset.names = names + model.version;
      this.others.replaceChildren(...(versions.length > 1 ? versions.map((one) => this.#other(one, model)) : []));
    }
  }

  #other(one, model) {
    const link = el("a", { href: hashOf(one) }, one.version, ...(one.live ? [el("span.live", {}, "live")] : []));
    if (one.version === model.version) link.setAttribute("aria-current", "page");
    return link;
  }

  #allow(some) {
    const may = this.on.may();
    const free = may === "all" || may === "admin";
    show(this.load, some && free);
    show(this.unload, some && free && this.#model.state !== "UNAVAILABLE");
    show(this.unlock, some && !free && may !== "");
    this.load.textContent = this.#model?.state === "READY" ? "Load anew" : "Load";
  }

  #drawSizes(model) {
    const sizes = model.batches ?? [];
    const count = sizes.reduce((sum, [, one]) => sum + one, 0);
    const most = Math.max(8, ...sizes.map(([rows]) => rows), 2 ** Math.ceil(Math.log2(model.batch_cap || 1)));
    const found = new Map(sizes);
    const bars = [];
    for (let rows = 1, least = 1; rows <= most; least = rows + 1, rows *= 2) {
      const value = found.get(rows) ?? 0;
      const words = least === rows ? String(rows) : `${least}–${rows}`;
      bars.push({ value, label: String(rows), told: `${words} rows: ${whole(value)} batches` });
    }
    this.sizes.draw(count ? bars : [], `${whole(count)} batches`);
  }

  #writeReasons(model) {
    const found = Object.entries(model.errors ?? {}).sort((a, b) => b[1] - a[1]);
    const words = JSON.stringify(found);
    if (this.reasons.dataset.words === words) return;
    this.reasons.dataset.words = words;
    const most = found[0]?.[1] || 1;
    const rows = found.map(([reason, count]) => {
      const bar = el("meter", { min: "0", max: String(most), value: String(count), "aria-label": reason });
      return el("li", {}, el("span", {}, reason), bar, el("b", {}, whole(count)));
    });
    this.reasons.replaceChildren(...(rows.length ? rows : [el("li.none", {}, "none")]));
  }

  #askHistory(model) {
    const name = nameOf(model);
    const asked = this.#asked;
    const due = performance.now() - asked.at > HISTORY_MS;
    if (asked.name === name && asked.state === model.state && !due) return;
    if (asked.name !== name) {
      this.root.firstChild.scrollTop = 0;
      this.#writeHistory({}, model, true);
    }
    this.#asked = { name, state: model.state, at: performance.now() };
    this.#fetchHistory(model);
  }

  async #fetchHistory(model) {
    try {
      const response = await ask(`penstock/history/${encodeURIComponent(model.name)}?since=24h`, key());
      const history = await response.json();
      if (response.ok && this.#model?.name === model.name) this.#writeHistory(history, model, false);
    } catch {
      /* asked again in a minute */
    }
  }

  #writeHistory({ events = [], series = [] }, model, asking) {
    const now = Date.now() / 1000;
    const hour = (one) => moment(one.start, now);
    const per = (one, figure) => (known(figure) && one.queries ? (figure / one.queries) * 1000 : null);
    const drawn = [
      [(one) => one.queries, (value) => whole(value)],
      [(one) => per(one, one.cost_full), (value) => money(value, this.#currency)],
      [(one) => per(one, one.joules), (value) => joined(joules(value))],
    ];
    const hours = day(series, now);
    drawn.forEach(([figure, words], i) => this.past[i].draw(...barsOf(hours, figure, words, hour)));
    const items = events.toSorted((a, b) => b.at - a.at).map((event) => {
      const version = event.version ? `version ${event.version} ` : "";
      const when = el("time", { datetime: new Date(event.at * 1000).toISOString() }, moment(event.at, now));
      return el("li", {}, when, el("span", {}, version, el("b", {}, event.what)), el("span.soft", {}, event.detail ?? ""));
    });
    this.events.replaceChildren(...(items.length ? items : [el("li.none", {}, asking ? "asking …" : "nothing in the last 24 hours")]));
  }
}

/** The last 24 hours, those without an entry in the books as well; none at all where no hour has one. */
function day(series, now) {
  const found = new Map(series.map((one) => [Math.floor(one.start / 3600), one]));
  const last = Math.floor(now / 3600);
  if (!found.size) return [];
  return Array.from({ length: 24 }, (_, i) => found.get(last - 23 + i) ?? { start: (last - 23 + i) * 3600, queries: null });
}

/** Every sixth hour of the day as a label. */
function clock(at) {
  const hour = new Date(at * 1000).getHours();
  return hour % 6 === 0 ? `${String(hour).padStart(2, "0")}:00` : "";
}

function barsOf(series, figure, words, hour) {
  const bars = series.map((one) => {
    const value = figure(one);
    const told = value === null ? "" : `${hour(one)}: ${words(value)}`;
    return { value, label: clock(one.start), told };
  });
  const last = bars.findLast(({ value }) => value !== null);
  return [bars, last ? `latest ${words(last.value)}` : ""];
}

