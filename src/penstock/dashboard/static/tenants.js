/** Who asked in the last hour, and how far each budget is used. */

import { arrange, el, mark, put, show, text } from "./dom.js";
import { joined, joules, money, percent, whole } from "./format.js";

/** A budget's limit an hour in words. */
function limit({ what, limit }, currency) {
  if (what === "money") return `${money(limit, currency)} an hour`;
  if (what === "joules") return `${joined(joules(limit))} an hour`;
  return `${whole(limit)} ${what} an hour`;
}

class Budget {
  constructor() {
    this.words = text();
    this.bar = el("meter", { min: "0", max: "1", optimum: "0" });
    this.node = el("div.budget", {}, this.bar, el("span", {}, this.words));
  }

  write(budget, currency) {
    const { used, warn } = budget;
    const is = used >= 1 ? "bad" : used >= warn ? "warn" : null;
    const sign = { bad: "▲ ", warn: "! " }[is] ?? "";
    const words = `${sign}${percent(used)} of ${limit(budget, currency)}`;
    put(this.words, words);
    mark(this.bar, "high", warn);
    mark(this.bar, "value", Math.min(1, used));
    mark(this.bar, "aria-label", words);
    mark(this.node, "data-is", is);
  }
}

class Tenant {
  constructor(name) {
    this.queries = text();
    this.budgets = [];
    this.row = el("div.budgets");
    this.node = el("li", {}, el("b", { title: name || "without a name" }, name || "(none)"), el("span.count", {}, this.queries), this.row);
  }

  write(tenant, currency) {
    put(this.queries, `${whole(tenant.queries)} queries`);
    const budgets = tenant.budget ?? [];
    while (this.budgets.length < budgets.length) this.budgets.push(new Budget());
    budgets.forEach((budget, i) => this.budgets[i].write(budget, currency));
    arrange(this.row, this.budgets.slice(0, budgets.length).map(({ node }) => node));
  }
}

export class Tenants {
  #rows = new Map();

  constructor(root) {
    this.root = root;
    this.list = root.querySelector("ul");
  }

  write(tenants, currency) {
    show(this.root, tenants.length > 0);
    const nodes = tenants.map((tenant) => {
      const { name } = tenant;
      if (!this.#rows.has(name)) this.#rows.set(name, new Tenant(name));
      this.#rows.get(name).write(tenant, currency);
      return this.#rows.get(name).node;
    });
    arrange(this.list, nodes);
  }
}
