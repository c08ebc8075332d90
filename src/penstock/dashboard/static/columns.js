/** The table's columns: what each is called, what it sorts by, and how its cell is made and written. */

import { el, mark, put, svg, text } from "./dom.js";
import { DASH, joined, joules, known, money, ms, percent, rate, rounded, short, whole } from "./format.js";
import { countOf, scaleOf } from "./scaling.js";
import { shapeOf, stateOf } from "./signs.js";
import { Bullet, Histogram, Spark } from "./spark.js";
import { isOver } from "./strip.js";
import { nameOf } from "./tracks.js";

/** The method by which energy is told, in brief. */
export const brief = (method) => (method === "estimate" ? "est." : method);

export const hashOf = (model) => `#/${encodeURIComponent(model.name)}/${encodeURIComponent(model.version ?? "")}`;

/** The reason that came most often, and how often all came. */
function reasons(model) {
  const found = Object.entries(model.errors ?? {}).sort((a, b) => b[1] - a[1]);
  return { top: found[0]?.[0] ?? "", all: found.reduce((sum, [, count]) => sum + count, 0), found };
}

/** A cell with one figure. */
function plain(write) {
  return () => {
    const words = text();
    return { nodes: [words], write: (model, all) => put(words, write(model, all)) };
  };
}

function name() {
  const words = text();
  const version = text();
  const link = el("a", { tabindex: "-1" }, words);
  const live = el("span.live", { hidden: "", title: "Requests that name no version go here" }, "live");
  const rolling = text();
  const candidate = el("span.live.candidate", { hidden: "", title: "A rollout brings it in" }, rolling);
  const write = (model, all) => {
    put(words, model.name);
    const marked = all.marks.get(nameOf(model)) ?? "";
    put(rolling, marked);
    mark(candidate, "hidden", marked ? null : "");
    put(version, model.version ? ` ${model.version}` : "");
    mark(link, "href", hashOf(model));
    mark(link, "title", model.name);
    mark(live, "hidden", model.live && all.versions.get(model.name) > 1 ? null : "");
  };
  return { nodes: [link, el("span.soft", {}, version), live, candidate], write };
}

function state() {
  const path = svg("path");
  const words = text();
  const node = el("span.sign", {}, svg("svg.shape", { viewBox: "0 0 10 10", "aria-hidden": "true" }, path), el("span", {}, words));
  const write = (model) => {
    const [is, word] = stateOf(model);
    mark(node, "data-is", is);
    mark(path, "d", shapeOf(is));
    mark(node, "title", model.reason || null);
    put(words, word);
  };
  return { nodes: [node], write };
}

function rates() {
  const words = text();
  const spark = new Spark(72, 20);
  return {
    nodes: [spark.node, el("span.number", {}, words)],
    write: (model) => put(words, rate(model.rate ?? 0)),
    draw: (model, tracks) => spark.draw(tracks.track(nameOf(model), "rate"), tracks),
  };
}

function p99() {
  const words = text();
  const node = el("span.judged", {}, words);
  const write = (model) => {
    const over = isOver(model);
    put(words, (over ? "▲ " : "") + ms(model.p99_ms));
    mark(node, "data-bad", over ? "" : null);
  };
  return { nodes: [node], write };
}

function target() {
  const bullet = new Bullet(80, 8);
  const words = text();
  const node = el("span.bulleted", {}, bullet.node, el("span.aim", {}, words));
  const write = (model) => {
    const aim = model.target_p99_ms;
    put(words, aim ? rounded(aim) : DASH);
    mark(node, "data-bad", isOver(model) ? "" : null);
    mark(node, "data-none", aim ? null : "");
    mark(node, "title", aim ? `p99 ${ms(model.p99_ms)} ms, target ${rounded(aim)} ms` : "[target] p99_ms is not set");
  };
  return { nodes: [node], write, draw: (model) => bullet.draw(model) };
}

function batch() {
  const words = text();
  const histogram = new Histogram(44, 16);
  return {
    nodes: [histogram.node, el("span.number", {}, words)],
    write: (model) => put(words, model.batched ? short(model.batch) : known(model.batch) ? "single" : DASH),
    draw: (model) => {
      mark(histogram.node, "data-none", model.batched ? null : "");
      if (model.batched) histogram.draw(model.batches);
    },
  };
}

function where() {
  const words = text();
  const each = text();
  const place = text();
  const node = el("span", {}, words, el("span.each", {}, each), el("span.soft", {}, place));
  const write = (model, { scales }) => {
    const some = model.instances;
    const scale = scaleOf(model, scales);
    const cold = model.state === "COLD";
    put(words, scale ? countOf(scale) : some ? String(some) : cold ? "none" : DASH);
    put(each, some ? `${scale && scale.ready !== scale.wanted ? " " : ""}×${model.threads ?? 1} ` : "");
    put(place, some ? `${model.device ?? ""} ${model.isolation ?? ""}` : "");
    const told = `${some} instances of ${model.threads ?? 1} threads each on ${model.device}, isolation ${model.isolation}`;
    const wanted = scale && scale.ready !== scale.wanted ? `; ${scale.wanted ?? 0} wanted` : "";
    mark(node, "title", some ? told + wanted : null);
    mark(node, "data-moves", scale ? "" : null);
  };
  return { nodes: [node], write };
}

function busy() {
  const words = text();
  const bar = svg("rect.p50", { height: 4, width: 0, rx: 1 });
  const rail = svg("rect.rail", { height: 4, width: 48, rx: 1 });
  const node = svg("svg.meter", { viewBox: "0 0 48 4", preserveAspectRatio: "none", "aria-hidden": "true" }, rail, bar);
  const write = (model) => {
    put(words, percent(model.busy));
    mark(bar, "width", Math.round(Math.min(1, model.busy ?? 0) * 48));
  };
  return { nodes: [node, el("span.number", {}, words)], write };
}

function errors() {
  const words = text();
  const why = text();
  const node = el("span.judged", {}, words, el("span.soft", {}, why));
  const write = (model) => {
    const { top, all, found } = reasons(model);
    const now = model.error_rate > 0;
    put(words, now ? `! ${rate(model.error_rate)}/s ` : all ? `${short(all)} ` : DASH);
    put(why, top);
    mark(node, "data-bad", now ? "" : null);
    mark(node, "title", found.map(([reason, count]) => `${reason}: ${whole(count)}`).join(", ") || null);
  };
  return { nodes: [node], write };
}

function energy() {
  const words = text();
  const how = text();
  const write = (model) => {
    put(words, joined(joules(model.joules_per_1000)));
    put(how, known(model.joules_per_1000) && model.method ? ` ${brief(model.method)}` : "");
  };
  return { nodes: [el("span", {}, words, el("span.soft", {}, how))], write };
}

const ratio = (model) => (model.target_p99_ms ? model.p99_ms / model.target_p99_ms : undefined);

/** `up`: sorts from the least at first. `narrow`: what stands before the figure where there is no header. */
export const COLUMNS = [
  { id: "name", label: "Model", up: true, make: name, key: (m) => m.name.toLowerCase() },
  { id: "state", label: "State", up: true, make: state, key: (m) => stateOf(m)[1] },
  { id: "rate", label: "Rate /s", make: rates, key: (m) => m.rate ?? 0, right: true },
  { id: "p50", label: "p50", make: plain((m) => ms(m.p50_ms)), key: (m) => m.p50_ms, right: true },
  { id: "p95", label: "p95", make: plain((m) => ms(m.p95_ms)), key: (m) => m.p95_ms, right: true },
  { id: "p99", label: "p99 ms", make: p99, key: (m) => m.p99_ms, right: true },
  { id: "target", label: "Target ms", make: target, key: ratio },
  { id: "batch", label: "Batch", make: batch, key: (m) => m.batch, right: true },
  { id: "queue", label: "Queue", make: plain((m) => whole(m.queue ?? 0)), key: (m) => m.queue ?? 0, right: true },
  { id: "busy", label: "Busy", make: busy, key: (m) => m.busy, right: true },
  { id: "where", label: "Instances", make: where, key: (m) => m.instances },
  { id: "errors", label: "Errors", make: errors, key: (m) => (m.error_rate ?? 0) * 1e9 + reasons(m).all },
  { id: "cost", label: "Cost /1,000", make: plain((m, all) => money(m.cost_per_1000, all.currency)), key: (m) => m.cost_per_1000, right: true },
  { id: "energy", label: "Energy /1,000", make: energy, key: (m) => m.joules_per_1000, right: true },
];
