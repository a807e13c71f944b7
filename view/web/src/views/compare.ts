// Two closures compared, by package.
import { h, replace, type Child } from "../dom.ts";
import { picker } from "../picker.ts";
import { address, go, type Route } from "../route.ts";
import { getJSON } from "../session.ts";
import { count, counted, signedSize, size } from "../text.ts";
import type { Context, View } from "../view.ts";

// A DiffJSON is the answer of /api/compare.
interface DiffJSON {
  packages: PackageDiffJSON[];
  pathsAdded: number;
  pathsRemoved: number;
  sizeBefore: number;
  sizeAfter: number;
}

interface PackageDiffJSON {
  name: string;
  before: string[];
  after: string[];
  sizeDelta: number;
  pathsBefore: number;
  pathsAfter: number;
  isRebuild: boolean;
}

const orders: { key: string; title: string; compare: (a: PackageDiffJSON, b: PackageDiffJSON) => number }[] = [
  { key: "size", title: "by change in size", compare: (a, b) => Math.abs(b.sizeDelta) - Math.abs(a.sizeDelta) || (a.name < b.name ? -1 : 1) },
  { key: "name", title: "by name", compare: (a, b) => (a.name < b.name ? -1 : 1) },
];

const step = 500; // rows that are shown at a time

export const compare: View = {
  name: "compare",
  title: "Compare",
  inTabs: true,
  available: (context) => context.live && context.summary.hasClosure,
  async show(main: HTMLElement, { closure }: Context, route: Route, signal: AbortSignal): Promise<void> {
    const { roots } = closure;
    const two = roots.length === 2; // two paths were given, so they are the ones to compare
    const before = route.query.get("before") ?? (two ? closure.path(roots[0]!) : "");
    const after = route.query.get("after") ?? (two ? closure.path(roots[1]!) : "");
    const order = orders.find((o) => o.key === route.query.get("order")) ?? orders[0]!;
    const to = (parameters: Record<string, string>) => address("compare", "", { before, after, order: order.key, ...parameters });
    const result = h("div", { role: "status" });
    replace(
      main,
      h("p", { class: "explanation" }, "What changes from one closure to another, by package. A path is compared by the name of its package; a package is rebuilt if its paths change and its versions do not."),
      h("div", { class: "columns" }, picker(closure, { label: "Before", value: before, pick: (path) => go(to({ before: path })) }), picker(closure, { label: "After", value: after, pick: (path) => go(to({ after: path })) })),
      result,
    );
    if (before === "" || after === "") {
      replace(result, h("p", { class: "muted" }, "Choose two paths of the store."));
      return;
    }
    replace(result, h("p", { class: "muted" }, "Comparing\u2026"));
    const diff = await getJSON<DiffJSON>("compare", { before, after }, signal);
    replace(result, ...summary(diff));
    if (diff.packages.length === 0) return;
    result.append(
      h("p", { class: "choices", role: "group", "aria-label": "Order" }, ...orders.map((o) => h("a", { href: to({ order: o.key }), "aria-current": o === order ? "true" : undefined }, o.title))),
      table([...diff.packages].sort(order.compare)),
    );
  },
};

function summary(diff: DiffJSON): HTMLElement[] {
  if (diff.packages.length === 0) return [h("p", {}, "Both closures have the same paths.")];
  const delta = diff.sizeAfter - diff.sizeBefore;
  return [
    h(
      "dl",
      { class: "facts" },
      ...[
        ["Before", size(diff.sizeBefore), ""],
        ["After", size(diff.sizeAfter), signedSize(delta)],
        ["Added", counted(diff.pathsAdded, "path"), "only after"],
        ["Removed", counted(diff.pathsRemoved, "path"), "only before"],
        ["Changed", counted(diff.packages.length, "package"), ""],
      ].map(([name, value, explanation]) => h("div", {}, h("dt", {}, name), h("dd", {}, h("strong", {}, value), h("span", { class: "muted" }, explanation)))),
    ),
  ];
}

function table(packages: PackageDiffJSON[]): HTMLElement {
  const largest = packages.reduce((most, p) => Math.max(most, Math.abs(p.sizeDelta)), 1); // there may be too many for arguments
  const body = h("tbody");
  const element = h(
    "div",
    { class: "wide" },
    h("table", { class: "plain diff" }, h("thead", {}, h("tr", {}, ...["Package", "Before", "After", "Size"].map((title, i) => h("th", { scope: "col", class: i === 3 ? "number" : "" }, title)))), body),
  );
  let shown = 0;
  const more = h("button", { type: "button", class: "quiet", on: { click: () => show() } });
  const show = () => {
    for (const end = Math.min(shown + step, packages.length); shown < end; shown++) body.append(row(packages[shown]!, largest));
    if (shown < packages.length) element.append((replace(more, `Show ${count(Math.min(step, packages.length - shown))} of ${count(packages.length - shown)} more`), more));
    else more.remove();
  };
  show();
  return element;
}

function row(p: PackageDiffJSON, largest: number): HTMLElement {
  const cell = h("td", { class: "number delta" }, p.sizeDelta === 0 ? "\u2013" : signedSize(p.sizeDelta));
  cell.style.setProperty("--part", `${((Math.abs(p.sizeDelta) / largest) * 100).toFixed(1)}%`);
  cell.classList.add(p.sizeDelta > 0 ? "grows" : "shrinks");
  return h("tr", {}, h("th", { scope: "row" }, p.name), h("td", {}, ...versions(p, "before")), h("td", {}, ...versions(p, "after")), cell);
}

const mostVersions = 6;

// versions returns the versions of a package on one side.
function versions(p: PackageDiffJSON, side: "before" | "after"): Child[] {
  const [list, paths] = side === "before" ? [p.before, p.pathsBefore] : [p.after, p.pathsAfter];
  if (paths === 0) return [h("span", { class: "muted" }, "not there")];
  const words = list.map((v) => v || "no version");
  const texts: Child[] = [words.slice(0, mostVersions).join(", ")];
  if (words.length > mostVersions) texts.push(h("span", { class: "muted", title: words.join(", ") }, ` and ${count(words.length - mostVersions)} more`));
  if (p.isRebuild && side === "after") texts.push(h("span", { class: "muted" }, " rebuilt"));
  else if (p.pathsBefore !== p.pathsAfter && p.before.join() === p.after.join()) texts.push(h("span", { class: "muted" }, ` ${counted(paths, "path")}`));
  return texts;
}
