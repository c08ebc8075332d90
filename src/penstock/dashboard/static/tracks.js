/** What was seen in the last five minutes, a slot a second; a second without news is NaN, a gap. */

export const SPAN = 300;
const STEP = 10; // seconds that a figure of the server's past stands for at most: rates are since the one before
const SPANS = [60, 120, SPAN]; // what is drawn: a page just opened would show a sliver of five minutes

/** Figures that are kept of every model, and where in a tick they stand. */
const OF_MODEL = {
  rate: (m) => m.rate ?? 0,
  p50: (m) => m.p50_ms,
  p95: (m) => m.p95_ms,
  p99: (m) => m.p99_ms,
  queue: (m) => m.queue ?? 0,
  batch: (m) => m.batch,
  errors: (m) => m.error_rate ?? 0,
  busy: (m) => m.busy,
};

export const nameOf = (model) => `${model.name}/${model.version ?? ""}`;

export class Tracks {
  /** Seconds seen so far; the newest figure of a track stands at `now % SPAN`. */
  now = -1;
  #at = 0;
  #groups = new Map();

  /** The tracks of a model, or of the whole server by the name "". */
  of(name) {
    return this.#groups.get(name);
  }

  /** Seconds that are drawn, up to now. */
  get span() {
    return SPANS.find((seconds) => this.now < seconds) ?? SPAN;
  }

  /** Begins with the server's past; a page that has figures of its own needs none. */
  begin({ at, whole, models }) {
    if (this.now >= 0) return;
    at.forEach((time, i) => {
      const seconds = Math.min(STEP, this.#step(time));
      for (const [name, tracks] of [["", whole], ...Object.entries(models)]) {
        const figures = Object.fromEntries(Object.entries(tracks).map(([key, track]) => [key, track[i]]));
        for (let ago = 0; ago < seconds; ago++) this.#write(name, figures, (this.now - ago) % SPAN);
      }
    });
  }

  /** Steps to the time of `tick` and keeps its figures. */
  keep(tick, totals) {
    this.#step(tick.at);
    this.#write("", totals);
    for (const model of tick.models ?? []) {
      const figures = {};
      for (const key in OF_MODEL) figures[key] = OF_MODEL[key](model);
      this.#write(nameOf(model), figures);
    }
  }

  #step(at) {
    const seconds = this.now < 0 ? 1 : Math.min(SPAN, Math.max(1, Math.round(at - this.#at)));
    this.#at = at;
    for (let i = 0; i < seconds; i++) this.#clear(++this.now % SPAN);
    for (const [name, group] of this.#groups) {
      if (this.now - group.last > SPAN) this.#groups.delete(name);
    }
    return seconds;
  }

  #clear(slot) {
    for (const group of this.#groups.values()) {
      for (const key in group.tracks) group.tracks[key][slot] = NaN;
    }
  }

  #write(name, figures, slot = this.now % SPAN) {
    let group = this.#groups.get(name);
    if (!group) this.#groups.set(name, (group = { tracks: {} }));
    group.last = this.now;
    for (const key in figures) {
      group.tracks[key] ??= new Float32Array(SPAN).fill(NaN);
      group.tracks[key][slot] = figures[key] ?? NaN;
    }
  }

  /** A model's track by key, as long as is drawn, oldest first. */
  *values(name, key) {
    const track = this.#groups.get(name)?.tracks[key];
    for (let i = this.now - this.span + 1; track && i <= this.now; i++) yield i < 0 ? NaN : track[i % SPAN];
  }

  track(name, key) {
    return this.#groups.get(name)?.tracks[key];
  }
}
