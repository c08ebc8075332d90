/** How many instances the open model has and why: what came against the forecast, and each decision. */

import { key } from "./actions.js";
import { Course } from "./course.js";
import { el, mark, put, show, text } from "./dom.js";
import { ask, wrong } from "./feed.js";
import { duration, known, moment, percent, rate, rounded, short, whole } from "./format.js";
import { nameOf } from "./tracks.js";

const SOON_MS = 10_000; // between two questions how it stands; it is also asked when the feed shows a change
const LATE_MS = 60_000; // between two for the last hours, and for a model whose number does not move
const LIMIT_MS = 8_000; // for an answer
const FRESH_S = 5; // between two figures of the feed that go on where the last hours end

const WHY = {
  fixed: "does not move: min or max under [instances] in model.toml would let it follow the traffic",
  inline: "does not move: it is so quick that it runs in the event loop, in one instance",
  pipeline: "a pipeline has none of its own; its steps' models have",
  absent: "",
  unseen: "has not been looked at yet, or [scaling] enabled is false in the server's settings",
};
const COLUMNS = ["rate", "forecast", "capacity", "ready", "wanted"];

/** `2`, `2 → 4` while they are on their way, `none` for a model that is not in memory. */
export function countOf({ ready = 0, wanted = 0 }) {
  if (!ready && !wanted) return "none";
  return ready === wanted ? String(ready) : `${ready} → ${wanted}`;
}

/** What the feed tells of the instances of this version's model, if they are its own. */
export function scaleOf(model, scales) {
  const one = scales?.get(model.name);
  return one && [model.version ?? "", ""].includes(one.version ?? "") ? one : undefined;
}

function startup({ starts, startup_s }) {
  if (!starts) return "not measured yet";
  if (!startup_s) return "at once: they share what is loaded";
  return `up to ${rounded(startup_s)} s (19 of 20; ${whole(starts)} measured)`;
}

function corrected({ carries, corrected = 1 }) {
  if (!known(carries)) return "";
  return Math.abs(corrected - 1) > 0.01 ? `to ${percent(corrected)} of what run times say, by what happened` : "no: what happened agrees with run times";
}

const carried = ({ carries, target_ms }) => `${rounded(carries)} rows/s${target_ms ? ` within ${rounded(target_ms)} ms` : ""}`;

const termsOf = (one) => [
  ["One carries", known(one.carries) ? carried(one) : "not known yet"],
  ["By itself", known(one.alone) ? `99 % in time up to ${rounded(one.alone)} rows/s` : ""],
  ["May wait", known(one.carries) ? `${duration(one.wait_ms)} in the queue` : ""],
  ["Start-up", startup(one)],
  ["Over target", known(one.missed) ? `${rounded(one.missed * 100)} % of the last hours' requests` : "no requests in the last hours"],
  ["Corrected", corrected(one)],
  ["Forecast by", one.by ? (one.method === "none" ? "headroom: no history yet" : `${one.method}, at ${percent(one.quantile)}`) : ""],
  ["Burst", one.by ? `${short(one.burst)} (variance over mean in a second)` : ""],
];

export class Scaling {
  #asked = { name: "", seen: "", soon: -Infinity, late: -Infinity, busy: false };
  #standing = null;
  #data = null;
  #at = 0;
  #failed = "";

  /** `terms(node)` makes a list of terms that is written in place. */
  constructor(terms) {
    const on = { point: (i) => this.charts.forEach((chart) => chart.point(i)) };
    this.charts = [
      new Course({
        title: "Traffic and capacity", unit: "/s", words: rate, over: ["rate", "capacity"],
        lines: [{ key: "rate", label: "came", ground: true }, { key: "forecast", label: "expected" }, { key: "capacity", label: "capacity", step: true }],
      }, on),
      new Course({
        title: "Instances", words: whole, full: true,
        lines: [{ key: "ready", label: "ready", step: true, ground: true }, { key: "wanted", label: "wanted", step: true }],
      }, on),
    ];
    this.count = text();
    this.bounds = text();
    this.line = text();
    this.trouble = text();
    this.told = el("p.none", { role: "status", hidden: "" }, this.trouble);
    this.terms = terms(el("dl.facts"));
    this.list = el("ol.decisions", { tabindex: "0", "aria-label": "Decisions, the newest first" });
    this.decided = el("p.decided", {}, el("b", {}, "Last decision "), this.line);
    const heading = el("h3", { id: "scaling-title" }, "Instances ", el("b", {}, this.count), el("span.soft", {}, this.bounds));
    const log = el("section.log", {}, el("h4", {}, "Decisions"), this.list);
    const facts = el("section", {}, el("h4", {}, "What one carries"), this.terms.node);
    this.node = el("section.scaling", { "aria-labelledby": heading.id, hidden: "" }, heading, this.told, el("div.courses", {}, ...this.charts.map(({ node }) => node)), this.decided, el("div.scaling-parts", {}, facts, log));
  }

  /** Asks anew at the next tick. */
  renew() {
    this.#asked.soon = this.#asked.late = -Infinity;
  }

  /** Follows the model that is open, at a time in seconds; `scale` is what the feed tells of its instances, if they move. */
  follow(model, scale, at) {
    const name = nameOf(model);
    this.#at = at;
    if (this.#asked.name !== name) this.#turn(name);
    show(this.node, Boolean(scale));
    const seen = JSON.stringify([model.state, scale?.version, scale?.ready, scale?.wanted, scale?.by]);
    const now = performance.now();
    const due = now - this.#asked.soon > (scale || this.#failed ? SOON_MS : LATE_MS);
    if (!this.#asked.busy && (due || this.#asked.seen !== seen)) this.#ask(model, name, seen, Boolean(scale) && now - this.#asked.late > LATE_MS);
    if (!scale) return;
    put(this.count, countOf(scale));
    this.#go(scale, at);
  }

  /** Entries for the model's facts where its number does not move. */
  facts(model, scale) {
    const one = this.#standing;
    if (!scale && !one && this.#failed) return [["Capacity", this.#failed]];
    if (scale || !one || (one.version !== (model.version ?? "") && one.fixed !== "pipeline")) return [];
    return [
      ["Its number", WHY[one.fixed] ?? ""],
      ["Capacity", known(one.carries) ? `one instance carries ${carried(one)}` : ""],
    ];
  }

  #turn(name) {
    this.#asked = { name, seen: "", soon: -Infinity, late: -Infinity, busy: false };
    this.#standing = this.#data = null;
    this.#failed = "";
    this.#tell("asking …");
    for (const node of [this.decided, this.terms.node.parentNode, this.list.parentNode]) show(node, false);
    put(this.bounds, "");
    for (const chart of this.charts) {
      chart.point(null);
      chart.draw({ at: [] }, this.#at);
    }
  }

  #fail(words) {
    this.#failed = words;
    this.#tell(words && `What is decided ${words}. It is asked for again in ${SOON_MS / 1e3} s.`);
  }

  #tell(words) {
    put(this.trouble, words);
    show(this.told, words !== "");
  }

  async #ask(model, name, seen, long) {
    const asked = this.#asked;
    Object.assign(asked, { seen, busy: true, soon: performance.now() });
    const path = `penstock/scale/${encodeURIComponent(model.name)}`;
    try {
      const [standing, history] = await Promise.all([json(`${path}?limit=50`), long ? json(`${path}/history`) : null]);
      if (this.#asked !== asked) return;
      if (history) {
        asked.late = asked.soon;
        this.#data = history;
        this.#draw();
      }
      this.#write(standing);
      this.#fail("");
    } catch (error) {
      if (this.#asked === asked) this.#fail(`cannot be shown: ${saidBy(error)}`);
    } finally {
      asked.busy = false;
    }
  }

  /** Goes on where the last hours end, with what the feed tells. */
  #go(scale, at) {
    const last = this.#data?.at.at(-1) ?? -Infinity;
    if (!this.#data || at - last < FRESH_S) return;
    const data = { at: [...this.#data.at, at] };
    for (const name of COLUMNS) data[name] = [...this.#data[name], scale[name] ?? 0];
    this.#data = data;
    this.#draw();
  }

  #draw() {
    for (const chart of this.charts) chart.draw(this.#data, this.#at);
  }

  #write(standing) {
    this.#standing = standing;
    if (standing.fixed) return;
    put(this.bounds, standing.most ? `, ${standing.least} to ${standing.most} allowed` : "");
    const words = standing.line || standing.note;
    put(this.line, words);
    show(this.decided, Boolean(words));
    this.terms.write(termsOf(standing));
    show(this.terms.node.parentNode, true);
    const found = standing.decisions ?? [];
    show(this.list.parentNode, true);
    const drawn = JSON.stringify(found);
    if (this.list.dataset.drawn === drawn) return;
    this.list.dataset.drawn = drawn;
    this.list.replaceChildren(...(found.length ? found.map((one) => item(one, this.#at)) : [el("li.none", {}, "nothing has changed since it was loaded")]));
  }
}

function item({ at, had, wanted, line }, now) {
  const when = el("time", { datetime: new Date(at * 1000).toISOString(), title: new Date(at * 1000).toLocaleString() }, moment(at, now));
  const change = had === wanted ? `stays ${had}` : `${had} → ${wanted}`;
  return el("li", {}, when, el("b", {}, change), el("span.soft", {}, line));
}

async function json(path) {
  const response = await ask(path, key(), { signal: AbortSignal.timeout(LIMIT_MS) });
  if (!response.ok) throw new Refused(await wrong(response));
  return response.json();
}

class Refused extends Error {}

function saidBy(error) {
  if (error instanceof Refused) return `the server said: ${error.message}`;
  return error.name === "TimeoutError" ? `no answer in ${LIMIT_MS / 1e3} s` : "the server cannot be reached";
}
