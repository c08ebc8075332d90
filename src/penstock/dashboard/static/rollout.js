/** One rollout as a card: its head is always there, its stages, traffic and guards when it is unfolded. */

import { hashOf } from "./columns.js";
import { arrange, el, mark, put, show, svg, text } from "./dom.js";
import { moment, rate, rounded, span, whole } from "./format.js";
import { emptySign, Guards, tally } from "./guards.js";
import { sign } from "./signs.js";

const PHASES = {
  loading: ["wait", "loading"],
  running: ["good", "running"],
  paused: ["none", "paused"],
  promoted: ["good", "promoted"],
  "rolled-back": ["bad", "rolled back"],
};
const KINDS = { ab: "A/B" };
const VERBS = { pause: "Pause", resume: "Resume", promote: "Promote", rollback: "Roll back" };

export const kindOf = ({ kind }) => KINDS[kind] ?? kind;
export const share = (weight) => `${rounded(weight ?? 0)} %`;
export const over = ({ phase }) => phase === "promoted" || phase === "rolled-back";
const stepOf = (weight) => (weight ? share(weight) : "copies");

/** What stands in the head: the share now and which stage it is, or when it ended. */
function standing(rollout, at) {
  const { stages = [], stage = 0, ended } = rollout;
  if (over(rollout)) return ended ? `ended ${span(Math.max(0, at - ended))} ago` : "";
  return `${share(rollout.weight)}${stages.length > 1 ? ` · stage ${stage + 1} of ${stages.length}` : ""}`;
}

/** A stage's sign and words; `at` is the time in seconds. */
function stageOf(stage, i, rollout, at) {
  const present = i === (rollout.stage ?? 0);
  const long = stage.began ? span(Math.max(0, (stage.ended ?? rollout.ended ?? at) - stage.began)) : "";
  if (present && rollout.phase === "rolled-back") return ["bad", `taken back${long && ` after ${long}`}`];
  if (stage.ended || rollout.phase === "promoted") return ["done", `done${long && ` in ${long}`}`];
  if (present && long) return ["now", `now, for ${long}`];
  return ["next", over(rollout) ? "not reached" : "to come"];
}

class Step {
  constructor() {
    this.weight = text();
    this.words = text();
    this.node = el("li", {}, svg("svg.dot", { viewBox: "0 0 16 16", "aria-hidden": "true" }, svg("circle", { cx: 8, cy: 8, r: 6 }), svg("path")), el("b", {}, this.weight), el("span.soft", {}, this.words));
    this.path = this.node.querySelector("path");
  }

  write(stage, i, rollout, at) {
    const [is, words] = stageOf(stage, i, rollout, at);
    mark(this.node, "data-is", is);
    mark(this.node, "aria-current", is === "now" ? "step" : null);
    mark(this.path, "d", { done: "M5 8.2l2.2 2.2L11.2 6", bad: "M5.7 5.7l4.6 4.6M10.3 5.7l-4.6 4.6" }[is] ?? "");
    put(this.weight, stepOf(stage.weight));
    put(this.words, words);
  }
}

/** One version's part of the traffic. */
class Arm {
  constructor(what) {
    this.what = what;
    this.version = text();
    this.link = el("a", {}, this.version);
    this.meter = el("meter", { min: "0", max: "100" });
    this.share = text();
    this.count = text();
    this.node = el(`li.${what}`, {}, this.link, this.meter, el("b", {}, this.share), el("span.soft", {}, this.count));
  }

  write(model, version, weight, count) {
    put(this.version, `version ${version}`);
    mark(this.link, "href", hashOf({ name: model, version }));
    mark(this.link, "title", `version ${version} of ${model}`);
    mark(this.meter, "value", weight);
    mark(this.meter, "aria-label", `share of the ${this.what} version`);
    put(this.share, share(weight));
    put(this.count, `${this.what}, ${whole(count ?? 0)} answered`);
  }
}

/** What else there is to say of the traffic. */
function notes(rollout, at) {
  const { saved, mirrored, sticky, baseline, stable, candidate } = rollout;
  const { began, ended, by } = rollout;
  const long = ended ? `, took ${span(Math.max(0, ended - began))}` : "";
  return [
    saved && `${whole(saved)} saved: failed on version ${candidate}, answered by version ${stable}`,
    mirrored && `${whole(mirrored)} copies asked of both`,
    rollout.rate > 0 && !over(rollout) && `${rate(rollout.rate)} requests/s`,
    sticky && `who returns stays on his version, by ${sticky.replace(":", " ")}`,
    baseline && `judged against a fresh copy of version ${stable}`,
    began && `begun ${moment(began, at)}${by ? ` by ${by}` : ""}${long}`,
  ].filter(Boolean);
}

export class Card {
  #rollout = null;
  #at = 0;

  /** `on.order(verb, rollout)` is called by its buttons. */
  constructor(id, on) {
    this.on = on;
    this.steps = [];
    this.notes = [];
    this.tallies = [];
    this.guards = new Guards();
    this.#head();
    this.#body(id);
    this.node = el("article.rollout", {}, this.heading, this.kind, this.sign, this.where, this.tally, this.acts, this.says, this.body);
    this.open(false);
  }

  #head() {
    this.model = text();
    this.versions = text();
    const chevron = svg("svg.fold", { viewBox: "0 0 10 10", "aria-hidden": "true" }, svg("path", { d: "M3.5 1.5L7 5L3.5 8.5" }));
    this.toggle = el("button", { type: "button" }, chevron, el("b", {}, this.model), el("span.soft", {}, this.versions));
    this.toggle.addEventListener("click", () => this.open(!this.opened));
    this.heading = el("h3", {}, this.toggle);
    this.kind = el("span.tag", {}, text());
    this.sign = emptySign("p");
    this.where = el("p.where", {}, text());
    this.tally = el("p.tally");
    this.says = el("p.says", {}, text());
    this.buttons = Object.entries(VERBS).map(([verb, words]) => this.#button(verb, words));
    this.acts = el("div.acts", {}, ...this.buttons.map(({ node }) => node));
  }

  #button(verb, words) {
    const node = el("button", { type: "button" }, words);
    node.addEventListener("click", () => this.on.order(verb, this.#rollout));
    return { verb, words, node };
  }

  #body(id) {
    this.track = el("ol.track", { "aria-label": "Stages" });
    this.arms = [new Arm("new"), new Arm("old")];
    this.list = el("ul.notes");
    const traffic = el("ul.arms", { "aria-label": "Traffic" }, ...this.arms.map(({ node }) => node));
    this.body = el("div.body", { id: `rollout-${id}` }, el("div.course", {}, this.track, traffic, this.list), this.guards.node);
    mark(this.toggle, "aria-controls", this.body.id);
  }

  /** Folds or unfolds it. */
  open(yes) {
    this.opened = yes;
    mark(this.toggle, "aria-expanded", String(yes));
    mark(this.node, "data-open", yes ? "" : null);
    show(this.body, yes);
    if (this.#rollout) this.write(this.#rollout, this.#at, this.free);
  }

  /** Writes it as it stands at a time in seconds; `free`: the viewer may steer it. */
  write(rollout, at, free) {
    this.#rollout = rollout;
    this.#at = at;
    this.free = free;
    put(this.model, rollout.model);
    put(this.versions, `version ${rollout.stable} → ${rollout.candidate}`);
    put(this.kind.firstChild, kindOf(rollout));
    sign(this.sign, ...(PHASES[rollout.phase] ?? ["none", rollout.phase]));
    mark(this.node, "data-phase", rollout.phase);
    put(this.where.firstChild, standing(rollout, at));
    put(this.says.firstChild, rollout.says ?? "");
    mark(this.says, "title", this.opened ? null : rollout.says);
    this.#writeTally(tally(rollout.guards ?? []));
    this.#allow(rollout, free);
    if (this.opened) this.#writeBody(rollout, at);
  }

  #writeTally(found) {
    while (this.tallies.length < found.length) this.tallies.push(emptySign());
    found.forEach(([verdict, is, count], i) => sign(this.tallies[i], is, `${count} ${verdict}`));
    arrange(this.tally, this.tallies.slice(0, found.length));
  }

  #allow(rollout, free) {
    const { phase, model } = rollout;
    const focused = this.buttons.find(({ node }) => node === document.activeElement);
    show(this.acts, free && !over(rollout));
    for (const { verb, words, node } of this.buttons) {
      show(node, verb === "pause" ? phase !== "paused" : verb === "resume" ? phase === "paused" : true);
      mark(node, "aria-label", `${words} ${model}`);
    }
    if (focused && !focused.node.checkVisibility()) this.#refocus();
  }

  /** The focus was on a button that has gone. */
  #refocus() {
    const left = this.buttons.find(({ node }) => node.checkVisibility());
    (left?.node ?? this.toggle).focus({ preventScroll: true });
  }

  #writeBody(rollout, at) {
    const { model, stages = [], weight = 0 } = rollout;
    while (this.steps.length < stages.length) this.steps.push(new Step());
    stages.forEach((stage, i) => this.steps[i].write(stage, i, rollout, at));
    arrange(this.track, this.steps.slice(0, stages.length).map(({ node }) => node));
    this.arms[0].write(model, rollout.candidate, weight, rollout.answered_candidate);
    this.arms[1].write(model, rollout.stable, 100 - weight, rollout.answered_stable);
    this.#writeNotes(notes(rollout, at));
    this.guards.write(rollout.guards ?? [], at, over(rollout));
  }

  #writeNotes(found) {
    while (this.notes.length < found.length) this.notes.push(el("li", {}, text()));
    found.forEach((words, i) => put(this.notes[i].firstChild, words));
    arrange(this.list, this.notes.slice(0, found.length));
  }
}

/** Guards of a rollout that have not passed, by name. */
export function unproven({ guards = [] }) {
  return guards.filter(({ verdict }) => verdict === "fail" || verdict === "not yet").map(({ name }) => name);
}
