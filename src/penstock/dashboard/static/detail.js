/** One model at length: its figures and charts, what it is, and what happened to it. */

import { order } from "./actions.js";
import { Bars, Lines } from "./chart.js";
import { brief, hashOf } from "./columns.js";
import { arrange, el, mark, put, show, svg, text } from "./dom.js";
import { bytes, duration, joined, joules, known, money, ms, percent, rate, rounded, short, whole } from "./format.js";
import { Past } from "./past.js";
import { Scaling, scaleOf } from "./scaling.js";
import { shapeOf, stateOf } from "./signs.js";
import { isOver } from "./strip.js";
import { nameOf } from "./tracks.js";

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
  ["Runs in", m.isolation && { inline: "the event loop", thread: "a thread", process: "a process of its own", ray: "a Ray actor" }[m.isolation]],
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
    this.past = new Past();
    this.scaling = new Scaling((node) => new Terms(node));
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
    this.candidate = el("span.live.candidate", { hidden: "" }, text());
    this.heading = el("h2", { tabindex: "-1" }, el("span.words", {}, this.title), el("span.soft", {}, this.version), this.candidate);
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
    this.past.renew();
    this.scaling.renew();
  }

  #compose() {
    const [latency, requests, queue, batch] = this.charts.map(({ node }) => node);
    const head = el("header", {}, this.heading, this.sign, this.others, el("div.acts", {}, this.unlock, this.load, this.unload, this.close));
    const reasons = el("section", {}, el("h3", {}, "Errors by reason"), this.reasons);
    const facts = el("section", {}, el("h3", {}, "What it is"), this.facts.node);
    const events = el("section", {}, el("h3", {}, "What happened to it"), this.past.events);
    this.all = el("div.all", {}, el("div.charts", {}, latency, requests, queue, batch, this.sizes.node, ...this.past.nodes), this.scaling.node, el("div.words", {}, facts, reasons, events));
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
  write(model, { models, marks, currency, tracks, alone, wanted, scales, at }) {
    show(this.close, !alone);
    for (const node of [this.figures.node, this.all, this.sign, this.others]) show(node, Boolean(model));
    show(this.gone, !model);
    if (!model) return this.#missing(wanted);
    this.#model = model;
    this.#writeHead(model, models, marks.get(nameOf(model)) ?? "");
    this.figures.write(figuresOf(model, currency));
    const name = nameOf(model);
    this.charts.forEach((chart, i) => chart.draw(tracks, name, i === 0 ? model.target_p99_ms : 0));
    this.#drawSizes(model);
    this.#writeReasons(model);
    const scale = scaleOf(model, scales);
    this.scaling.follow(model, scale, at);
    this.facts.write([...factsOf(model), ...this.scaling.facts(model, scale)]);
    if (this.past.follow(model, currency)) this.root.firstChild.scrollTop = 0;
  }

  #missing(wanted) {
    this.#model = null;
    put(this.title, wanted.name);
    put(this.version, wanted.version ? ` ${wanted.version}` : "");
    this.gone.textContent = "There is no such model here, or no longer.";
    this.#allow(false);
    for (const node of [this.reason, this.candidate]) show(node, false);
  }

  #writeHead(model, models, candidate) {
    show(this.candidate, candidate !== "");
    put(this.candidate.firstChild, candidate);
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

}
