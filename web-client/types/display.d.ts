/** What is shown of a position between two frames; see docs/protocol.md, "The display model". */
export declare class Display {
  receive(position: number, rate: number, now: number, reason?: string): void;
  hold(now: number): void;
  exact(now: number): number;
  value(now: number): number | null;
}
export interface Wait { p50Seconds: number; p90Seconds: number }
export declare function remaining(wait: Wait | null, elapsedSeconds: number): { p50: number; p90: number } | null;
export declare function waitInWords(wait: { p50: number; p90: number } | null): string;
