/** The rollouts that run, and those that ended lately. */

import { say, steer } from "./actions.js";
import { arrange, el, put, show, text } from "./dom.js";
import { Card, kindOf, over, share, unproven } from "./rollout.js";
import { nameOf } from "./tracks.js";

const FEW = 2; // so many cards are unfolded by themselves; of more, the first

/** What the models' names are marked with, by name and version: `canary 5 %`. */
export function candidates(rollouts) {
  const running = rollouts.filter((rollout) => !over(rollout));
  return new Map(running.map((one) => [nameOf({ name: one.model, version: one.candidate }), `${kindOf(one)} ${share(one.weight)}`]));
}

function ended({ model, phase, stable, candidate, says = "" }) {
  if (phase === "promoted") return [`${model}: version ${candidate} is promoted. ${says}`, "good"];
  return [`${model}: version ${candidate} is taken back, ${stable} answers again. ${says}`, "bad"];
}

export class Rollouts {
  #cards = new Map();
  #phases = null;

  /** `on` has may(), renew() and unlock(), as for a model. */
  constructor(root, on) {
    this.root = root;
    this.on = on;
    this.count = text();
    this.unlock = el("button.quiet", { type: "button" }, "Enter an admin key to steer them");
    this.unlock.addEventListener("click", () => on.unlock());
    this.list = el("div.cards");
    root.append(el("header", {}, el("h2", { id: "rollouts-title" }, "Rollouts ", el("small", {}, this.count)), this.unlock), this.list);
  }

  /** Writes the rollouts of a tick at its time in seconds. */
  write(rollouts, at) {
    show(this.root, rollouts.length > 0);
    this.#tell(rollouts);
    this.#forget(rollouts);
    if (!rollouts.length) return;
    const running = rollouts.filter((rollout) => !over(rollout)).length;
    const past = rollouts.length - running;
    put(this.count, [running && `${running} under way`, past && `${past} ended lately`].filter(Boolean).join(", "));
    const may = this.on.may();
    const free = may === "all" || may === "admin";
    show(this.unlock, running > 0 && !free && may !== "");
    const few = rollouts.length <= FEW;
    arrange(this.list, rollouts.map((rollout) => this.#card(rollout, at, free, few).node));
  }

  #card(rollout, at, free, few) {
    let card = this.#cards.get(rollout.id);
    if (!card) {
      card = new Card(rollout.id, { order: (verb, one) => steer(verb, one, unproven(one), () => this.on.renew()) });
      card.open(few || ![...this.#cards.values()].some(({ opened }) => opened));
      this.#cards.set(rollout.id, card);
    }
    card.write(rollout, at, free);
    return card;
  }

  #forget(rollouts) {
    const ids = new Set(rollouts.map(({ id }) => id));
    for (const id of this.#cards.keys()) if (!ids.has(id)) this.#cards.delete(id);
  }

  /** Says how one has ended, where one saw it run. */
  #tell(rollouts) {
    const before = this.#phases;
    this.#phases = new Map(rollouts.map(({ id, phase }) => [id, phase]));
    for (const rollout of before ? rollouts : []) {
      const was = before.get(rollout.id);
      if (was && was !== rollout.phase && over(rollout)) say(...ended(rollout));
    }
  }
}
