import type { Wait } from "./display";

export interface Place { position: number; waiting: number; rate: number; wait: Wait | null; at: string }
export interface Joined extends Place {
  type: "joined"; session: string; token: string;
  queue: { id: string; name: string; status: Status; settleSeconds: number; graceSeconds: number };
}
export interface Position extends Place { type: "position"; reason?: string }
export interface Admitted { type: "admitted"; admission: string; redirect: string | null; expiresAt: string }
export interface Announcement {
  type: "announcement"; id: string; text: string; severity: "info" | "warning" | "critical";
  publishedAt: string; expiresAt: string | null;
}
export type Status = "scheduled" | "open" | "paused" | "closed";
export interface Queue { type: "queue"; status: Status; message: string }
export interface State { type: "state"; state: "live" | "stale"; since?: string; message?: string }
export interface Ended { reason: "left" | "expired" | "completed" | "closed" | "unauthorized" | "no_such_queue" | "replaced" }
export interface Problem { type: "error"; code: string; message: string; retryAfterSeconds?: number; field?: string }
export interface Reconnect { type: "reconnect"; afterSeconds: number }
/** "polling": by REST, where no WebSocket gets through, and without announcements; "refused": the page's origin is not allowed. */
export type Connection = "connecting" | "open" | "polling" | "waiting" | "offline" | "refused" | "closed";

export interface QueueClientOptions {
  queue: string;
  url?: string;
  displayName?: string;
  user?: string;
  metadata?: Record<string, unknown>;
  updates?: "predicted" | "exact";
  storage?: Storage | null;
  socket?: typeof WebSocket;
}

export interface QueueClientEvents {
  joined: Joined; position: Position; admitted: Admitted; announcement: Announcement; queue: Queue; state: State;
  reconnect: Reconnect; ended: Ended; error: Problem; connection: Connection; leaving: undefined; forgetful: undefined;
}

export declare class QueueClient extends EventTarget {
  constructor(options: QueueClientOptions);
  readonly token: string | null;
  /** Why the connection is in the state that was told last. */
  readonly reason: string | null;
  /** Until when the place is safe without a connection, in milliseconds since 1970; Infinity with one; null where no place is known of. */
  readonly safeUntil: number | null;
  start(): void;
  leave(): void;
  stop(): void;
  addEventListener<T extends keyof QueueClientEvents>(
    type: T, listener: (event: CustomEvent<QueueClientEvents[T]>) => void, options?: AddEventListenerOptions): void;
}
