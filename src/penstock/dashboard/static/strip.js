/** The big figures of the whole server, each with its last five minutes. */

import { arrange, el, mark, put, show, text } from "./dom.js";
import { bytes, grams, joined, joules, known, money, ms, percent, rate, rounded, short, whole } from "./format.js";
import { Share, Spark } from "./spark.js";

/** The model that answers most and has a p99. */
export function busiest(models) {
  let found = null;
  for (const model of models) {
    if (known(model.p99_ms) && (!found || (model.rate ?? 0) > (found.rate ?? 0))) found = model;
  }
  return found;
}

export const isOver = (model) => Boolean(model.target_p99_ms && model.p99_ms > model.target_p99_ms);

/** What the strip's sparklines are made of. */
export function totals(tick) {
  const { cost = {}, energy = {}, machine = {} } = tick;
  return {
    rate: tick.rate ?? 0,
    errors: tick.errors ?? 0,
    p99: busiest(tick.models ?? [])?.p99_ms,
    busy: machine.busy ?? 0,
    cost: cost.per_1000,
    watts: energy.watts,
    grams: energy.grams_per_1000,
  };
}

function errors(tick) {
  const now = tick.errors ?? 0;
  const all = now + (tick.rate ?? 0);
  const note = now ? `${percent(now / all).replace(/^0 %/, "<1 %")} of all requests` : "none now";
  return { value: rate(now), unit: "/s", note, bad: now > 0 };
}

function p99(tick) {
  const model = busiest(tick.models ?? []);
  if (!model) return { value: "–", note: "nothing answered in 10 s" };
  const target = model.target_p99_ms ? ` · target ${rounded(model.target_p99_ms)} ms` : "";
  const seconds = model.p99_ms >= 1e4;
  const value = seconds ? short(model.p99_ms / 1e3) : ms(model.p99_ms);
  return { value, unit: seconds ? "s" : "ms", note: model.name + target, bad: isOver(model) };
}

function requests(tick) {
  const models = tick.models ?? [];
  const busy = models.filter((model) => model.rate > 0).length;
  return { value: rate(tick.rate ?? 0), unit: "/s", note: models.length === 1 ? models[0].name : `${whole(busy)} of ${whole(models.length)} models answering` };
}

function machine({ machine = {} }) {
  const cpu = `${percent(machine.cpu ?? 0)} of ${whole(machine.cores)} cores`;
  const memory = machine.memory_bytes ? ` · ${joined(bytes(machine.memory_bytes))}` : "";
  return { value: whole((machine.busy ?? 0) * 100), unit: "%", note: `CPU ${cpu}${memory}` };
}

function hourly({ cost = {}, machine = {} }) {
  if (!known(cost.per_hour)) return { hint: ["Set", "[price] per_hour", "to see money."] };
  const used = money(cost.per_hour * (machine.busy ?? 0), cost.currency);
  const source = cost.source ? ` · ${cost.source}` : "";
  return { value: money(cost.per_hour, cost.currency), note: `${used} of it in use${source}`, share: machine.busy ?? 0 };
}

function perThousand({ cost = {} }) {
  if (!known(cost.per_hour) && !known(cost.per_1000)) return null;
  if (!known(cost.per_1000)) return { value: "–", note: "no query in the last hour" };
  const marginal = known(cost.marginal_per_1000);
  const note = marginal ? `${money(cost.marginal_per_1000, cost.currency)} while busy` : "in the last hour";
  return { value: money(cost.per_1000, cost.currency), note };
}

function power({ energy = {} }) {
  if (!known(energy.watts)) return { hint: ["Power is not known;", "[energy]", "says how it may be told."] };
  const band = known(energy.low) ? `${short(energy.low)}–${short(energy.high)} W · ` : "";
  const each = known(energy.per_1000) ? ` · ${joined(joules(energy.per_1000))} / 1,000` : "";
  return { value: short(energy.watts), unit: "W", note: band + energy.method + each };
}

function carbon({ energy = {} }) {
  if (!known(energy.watts)) return null;
  if (!known(energy.intensity)) return { hint: ["Set", "[carbon] country", "to see its weight."] };
  const grid = `grid ${whole(energy.intensity)} g/kWh`;
  if (!known(energy.grams_per_1000)) return { value: "–", note: `no query in the last hour · ${grid}` };
  const [value, unit] = grams(energy.grams_per_1000);
  return { value, unit: `${unit} CO₂e`, note: grid };
}

const FIGURES = [
  { label: "Requests", track: "rate", tell: requests },
  { label: "Errors", track: "errors", tell: errors },
  { label: "p99 of the busiest", track: "p99", tell: p99 },
  { label: "Machine busy", track: "busy", tell: machine, least: 1 },
  { label: "Cost an hour", tell: hourly },
  { label: "Cost per 1,000", track: "cost", tell: perThousand },
  { label: "Power", track: "watts", tell: power },
  { label: "Carbon per 1,000", track: "grams", tell: carbon },
];

class Figure {
  constructor({ label, track, tell, least = 0 }) {
    this.track = track;
    this.tell = tell;
    this.value = text();
    this.unit = text();
    this.note = text();
    this.spark = track ? new Spark(200, 36, { least }) : new Share(200, 36);
    this.hint = el("p.hint");
    const big = el("p.big", {}, el("b", {}, this.value), el("span", {}, this.unit));
    this.node = el("article.figure", {}, el("h2", {}, label), big, this.spark.node, el("p.note", {}, this.note), this.hint);
  }

  write(tick, tracks) {
    const told = this.tell(tick);
    show(this.node, told !== null);
    if (told === null) return;
    mark(this.node, "data-state", told.hint ? "unknown" : told.bad ? "bad" : null);
    if (told.hint) return this.#ask(told.hint);
    put(this.value, told.value);
    put(this.unit, told.unit ?? "");
    put(this.note, told.note);
    mark(this.node.lastChild.previousSibling, "title", told.note);
    if (this.track) this.spark.draw(tracks.track("", this.track), tracks);
    else this.spark.draw(told.share ?? 0);
  }

  #ask([before, setting, after]) {
    if (!this.hint.firstChild) this.hint.append(`${before} `, el("code", {}, setting), ` ${after}`);
  }
}

export class Strip {
  constructor(root) {
    this.root = root;
    this.figures = FIGURES.map((figure) => new Figure(figure));
    arrange(root, this.figures.map((figure) => figure.node));
  }

  write(tick, tracks) {
    for (const figure of this.figures) figure.write(tick, tracks);
    mark(this.root, "data-count", this.figures.filter(({ node }) => !node.hidden).length);
  }
}
