// The table of all paths with their sizes.
import type { Closure } from "../closure.ts";
import { h, replace } from "../dom.ts";
import { address, go, type Route } from "../route.ts";
import { Rows } from "../rows.ts";
import { count, counted, size } from "../text.ts";
import type { Context, View } from "../view.ts";

interface Column {
  key: string;
  title: string;
  explanation: string;
  numbers: ((closure: Closure) => ArrayLike<number> | null) | null; // null for the name
  text: (n: number) => string;
}

const columns: Column[] = [
  { key: "name", title: "Name", explanation: "The name of the path, after its hash", numbers: null, text: String },
  { key: "size", title: "Size", explanation: "The size of the path itself", numbers: (c) => c.sizes, text: size },
  { key: "closure", title: "Closure", explanation: "The size of the path and of everything that it needs", numbers: (c) => c.closureSizes, text: size },
  { key: "added", title: "Added", explanation: "The size of what would leave with the path, because nothing else needs it", numbers: (c) => c.addedSizes, text: size },
  { key: "needed", title: "Needed by", explanation: "The number of paths that refer to it", numbers: neededBy, text: count },
];

const neededByCache = new WeakMap<Closure, Int32Array>();

function neededBy(closure: Closure): Int32Array {
  let numbers = neededByCache.get(closure);
  if (!numbers) {
    numbers = Int32Array.from({ length: closure.length }, (_, i) => closure.referrersOf(i).length);
    neededByCache.set(closure, numbers);
  }
  return numbers;
}

export const paths: View = {
  name: "paths",
  title: "Paths",
  inTabs: true,
  available: (context) => context.summary.hasClosure,
  show(main: HTMLElement, context: Context, route: Route, signal: AbortSignal): void {
    const { closure } = context;
    const query = route.query.get("q") ?? "";
    const key = route.query.get("sort") ?? "added";
    const ascending = route.query.get("order") === "up";
    const sorted = columns.find((c) => c.key === key) ?? columns[3]!;
    const found = sort(closure, closure.search(query), sorted, ascending);

    replace(
      main,
      h("p", { class: "explanation" }, "Size is the path itself. Closure is the path with everything that it needs. Added is what would leave with it, because nothing else needs it."),
      query !== "" && h("p", { class: "muted", role: "status" }, `${counted(found.length, "path")} of ${count(closure.length)}`),
    );
    const largest = maximum(sorted.numbers?.(closure) ?? [], found);
    const rows = new Rows({
      label: "Paths and their sizes",
      count: found.length,
      header: columns.map((column) => header(column, column === sorted, ascending, query)),
      cells: (row) => cells(closure, found[row]!, sorted, largest),
      open: (row) => go(address("path", closure.bases[found[row]!]!)),
      signal,
    });
    main.append(rows.element);
    rows.render();
    if (closure.sizesKnown) return;
    void context.sized.then(() => {
      if (signal.aborted) return;
      if (sorted.key === "closure") this.show(main, context, route, signal);
      else rows.render(true);
    });
  },
};

// header returns the header of a column, which sorts by it.
function header(column: Column, isSorted: boolean, ascending: boolean, query: string): HTMLElement {
  const up = isSorted ? !ascending : column.numbers === null;
  const parameters: Record<string, string> = { sort: column.key, order: up ? "up" : "down" };
  if (query) parameters.q = query;
  return h(
    "span",
    { role: "columnheader", class: `cell ${column.numbers ? "number" : "name"} ${isSorted ? "sorted" : ""}`, "aria-sort": isSorted ? (ascending ? "ascending" : "descending") : "none", title: column.explanation },
    h("a", { href: address("paths", "", parameters) }, column.title, isSorted && h("span", { class: "arrow", "aria-hidden": true }, ascending ? " \u2191" : " \u2193")),
  );
}

function cells(closure: Closure, i: number, sorted: Column, largest: number): HTMLElement[] {
  return columns.map((column) => {
    if (!column.numbers) {
      return h("span", { role: "gridcell", class: "cell name", title: closure.path(i) }, h("span", { class: "label" }, closure.name(i)), h("span", { class: "hash" }, closure.hash(i)));
    }
    const n = column.numbers(closure)?.[i] ?? 0;
    const isSorted = column === sorted;
    const cell = h("span", { role: "gridcell", class: `cell number ${isSorted ? "sorted" : ""}` }, column.key === "closure" ? closure.closureSize(i) : column.text(n));
    if (isSorted && largest > 0) cell.style.setProperty("--part", `${((n / largest) * 100).toFixed(1)}%`);
    return cell;
  });
}

// sort sorts paths by a column. Equal numbers keep the order of the paths.
function sort(closure: Closure, found: Int32Array, column: Column, ascending: boolean): Int32Array {
  const order = Int32Array.from(found);
  const sign = ascending ? 1 : -1;
  if (!column.numbers) {
    const compare = (a: number, b: number) => (closure.name(a) < closure.name(b) ? -sign : closure.name(a) > closure.name(b) ? sign : a - b);
    return order.sort(compare);
  }
  const numbers = column.numbers(closure);
  if (!numbers) return order;
  return order.sort((a, b) => sign * (numbers[a]! - numbers[b]!) || a - b);
}

function maximum(numbers: ArrayLike<number>, of: Int32Array): number {
  let largest = 0;
  for (const i of of) largest = Math.max(largest, numbers[i] ?? 0);
  return largest;
}
