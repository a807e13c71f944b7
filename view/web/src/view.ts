// What views share.
import type { Closure, Summary } from "./closure.ts";
import type { Route } from "./route.ts";

// A LayoutJSON is the answer of /api/layout: the coordinates of each path.
export interface LayoutJSON {
  x: number[];
  y: number[];
}

// A Context is what a view shows.
export interface Context {
  closure: Closure;
  summary: Summary;
  live: boolean; // false in an exported file, which has no server
  sized: Promise<void>; // ends when the closure sizes are known, or known to be missing
  layout: () => Promise<LayoutJSON>; // of the whole graph
}

// A View is a part of the page with an address of its own.
export interface View {
  name: string;
  title: string;
  inTabs: boolean;
  // available reports whether the store can answer what the view asks.
  available(context: Context): boolean;
  // show fills an element. signal ends when the user leaves the view.
  show(main: HTMLElement, context: Context, route: Route, signal: AbortSignal): void | Promise<void>;
}
