import type { QueueClient } from "./queue-client";

/** `<queue-position>`; parts for styling: label, position, waiting, wait. */
export declare class QueuePosition extends HTMLElement {
  client: QueueClient | null;
  readonly position: number | null;
}
