// The display model: what a page shows between two frames. The server computes the same and sends a frame only when
// this is wrong. docs/protocol.md, "The display model", is the contract; Tests/Vectors/display.json checks both sides.

/** What is shown of a position at any moment. Times are in milliseconds of one clock, the caller's. */
export class Display {
  #ceiling = Infinity;
  #position = Infinity;
  #rate = 0;
  #at = 0;

  /** Takes a frame's position and rate (positions a second). Only a frame with a reason may raise what is shown. */
  receive(position, rate, now, reason) {
    this.#ceiling = reason || this.#position === Infinity ? position : this.exact(now);
    this.#position = position;
    this.#rate = rate;
    this.#at = now;
  }

  /** The connection is lost: what is shown stands still until there is word again. */
  hold(now) {
    if (this.#position !== Infinity) this.receive(this.exact(now), 0, now);
  }

  /** Before rounding. */
  exact(now) {
    return Math.max(1, Math.min(this.#ceiling, this.#position - (this.#rate * (now - this.#at)) / 1000));
  }

  /** The number on the screen; null before the first frame. */
  value(now) {
    return this.#position === Infinity ? null : Math.floor(this.exact(now) + 0.5);
  }
}

/** Seconds since a frame came, taken off a wait that it told. */
export function remaining(wait, elapsedSeconds) {
  if (!wait) return null;
  return { p50: Math.max(0, wait.p50Seconds - elapsedSeconds), p90: Math.max(0, wait.p90Seconds - elapsedSeconds) };
}

/** An honest range in words: never finer than it is known. */
export function waitInWords(wait) {
  if (!wait) return "";
  const [low, high] = [Math.floor(wait.p50 / 60), Math.ceil(wait.p90 / 60)];
  if (high <= 1) return "less than a minute";
  if (high < 90) return low < 1 ? `up to ${high} minutes` : low === high ? `about ${high} minutes` : `${low} to ${high} minutes`;
  const [from, to] = [Math.floor(wait.p50 / 3600), Math.ceil(wait.p90 / 3600)];
  return from < 1 ? `up to ${to} hours` : `${from} to ${to} hours`;
}
