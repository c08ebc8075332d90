/** Keys, questions and orders: what a person may do from the page, and how it is told. */

import { byId, el, show } from "./dom.js";
import { ask, wrong } from "./feed.js";

const STORED = "penstock-key";
const TOLD_MS = { good: 6000, bad: 15000 };

export function key() {
  try {
    return sessionStorage.getItem(STORED) ?? "";
  } catch {
    return kept; // storage may be forbidden
  }
}
let kept = "";

function keep(value) {
  kept = value;
  try {
    if (value) sessionStorage.setItem(STORED, value);
    else sessionStorage.removeItem(STORED);
  } catch {
    /* it lasts until the page is left */
  }
}

/** Tells something in words, aloud to screen readers; `is` is good, bad, or wait, which stays. */
export function say(words, is = "good") {
  const close = el("button.icon", { type: "button", "aria-label": "Dismiss" }, "×");
  const note = el("p.told", { "data-is": is }, el("span", {}, words), close);
  close.addEventListener("click", () => note.remove());
  byId("say").replaceChildren(note);
  if (TOLD_MS[is]) setTimeout(() => note.remove(), TOLD_MS[is]);
}

for (const button of document.querySelectorAll("[data-close]")) {
  button.addEventListener("click", () => button.closest("dialog").close("no"));
}
byId("keys-forget").addEventListener("click", () => byId("keys").close("forget"));

/** Opens a dialog; the answer is the value of the button that closed it, "no" for Escape. */
async function open(dialog) {
  await closing.get(dialog); // its event comes after it is closed, and would answer the next question too
  dialog.returnValue = "no";
  dialog.showModal();
  const answer = new Promise((done) => dialog.addEventListener("close", () => done(dialog.returnValue), { once: true }));
  closing.set(dialog, answer);
  return answer;
}
const closing = new Map();

/** Asks for a key; true when one was given or forgotten. */
export async function askKey(why) {
  const dialog = byId("keys");
  if (dialog.open) return false;
  const input = byId("keys-value");
  byId("keys-text").textContent = why;
  byId("keys-forget").hidden = !key();
  input.value = "";
  const answer = await open(dialog);
  const value = input.value.trim();
  input.value = "";
  if (answer === "forget") keep("");
  else if (answer !== "yes" || !value) return false;
  else keep(value);
  return true;
}

/** Asks a question; `why` asks for a reason too. Answers null for no, else an object with the reason. */
async function confirmed({ title, words, verb, danger = false, why = false }) {
  byId("confirm-title").textContent = title;
  byId("confirm-text").textContent = words;
  const yes = byId("confirm-yes");
  yes.textContent = verb;
  yes.classList.toggle("danger", danger);
  const input = byId("confirm-why");
  input.value = "";
  show(input.parentElement, why);
  return (await open(byId("confirm"))) === "yes" ? { why: input.value.trim() } : null;
}

const ORDERS = {
  load: {
    verb: "Load",
    done: "is loaded",
    words: () => "Its versions are read from the repository anew. Requests go on being answered meanwhile.",
  },
  unload: {
    verb: "Unload",
    done: "is unloaded",
    words: ({ answering, versions }) =>
      (versions > 1 ? `All its ${versions} versions go. ` : "") +
      "Requests for it are refused until it is loaded again." +
      (answering ? ` It answers ${answering} a second now.` : " It answers nobody now."),
  },
};

/** Asks, then orders the server to load or unload a model; `now` says what would be lost, `renew` is called after a new key. */
export async function order(what, model, now, renew) {
  const { verb, done, words } = ORDERS[what];
  if (!(await confirmed({ title: `${verb} ${model}?`, words: words(now), verb, danger: what === "unload" }))) return;
  const path = `v2/repository/models/${encodeURIComponent(model)}/${what}`;
  await carry(`${verb}ing`, model, `${model} ${done}.`, () => post(path, {}), renew);
}

const STEERS = {
  pause: {
    verb: "Pause",
    doing: "Pausing",
    done: () => "the rollout is paused",
    words: () => "It stays at this stage until it is resumed.",
  },
  resume: {
    verb: "Resume",
    doing: "Resuming",
    done: () => "the rollout goes on",
    words: () => "It goes on from this stage.",
  },
  promote: {
    verb: "Promote",
    doing: "Promoting",
    done: ({ candidate }) => `version ${candidate} is promoted`,
    words: ({ candidate }, unproven) =>
      `Version ${candidate} is to answer all requests, without waiting for more evidence.` +
      (unproven.length ? ` Not passed: ${unproven.join(", ")}.` : ""),
  },
  rollback: {
    verb: "Roll back",
    doing: "Rolling back",
    done: ({ stable }) => `version ${stable} answers again`,
    words: ({ stable, candidate }) =>
      `Version ${stable} answers all requests again, at once. Version ${candidate} is marked bad and is not rolled out again by itself.`,
  },
};

/** Asks why, then pauses, resumes, promotes or rolls back; `unproven` names guards that have not passed. */
export async function steer(what, rollout, unproven, renew) {
  const { verb, doing, done, words } = STEERS[what];
  const { model, stable, candidate } = rollout;
  const danger = what === "rollback" || (what === "promote" && unproven.length > 0);
  const title = `${verb} ${model} ${stable} → ${candidate}?`;
  const answer = await confirmed({ title, words: words(rollout, unproven), verb, danger, why: true });
  if (!answer) return;
  const path = `penstock/rollouts/${encodeURIComponent(model)}/${what}`;
  await carry(doing, model, `${model}: ${done(rollout)}.`, () => post(path, answer), renew);
}

/** Sends an order until it is carried out or refused, and asks for another key where the key is refused. */
async function carry(doing, model, done, send, renew) {
  say(`${doing} ${model} …`, "wait");
  for (;;) {
    const answer = await send();
    if (answer.ok) return say(done);
    if (!answer.key) return say(`${doing} ${model} failed: ${answer.why}`, "bad");
    say(answer.why, "bad");
    if (!(await askKey(`${doing} needs an admin key. The server said: ${answer.why}`))) return;
    renew();
  }
}

async function post(path, body) {
  try {
    const headers = { "Content-Type": "application/json" };
    const response = await ask(path, key(), { method: "POST", headers, body: JSON.stringify(body) });
    if (response.ok) return { ok: true };
    return { key: response.status === 401 || response.status === 403, why: await wrong(response) };
  } catch {
    return { why: "the server cannot be reached" };
  }
}
