// A list of paths with their sizes, the largest first, which grows on demand.
import type { Closure } from "./closure.ts";
import { h, replace } from "./dom.ts";
import { address } from "./route.ts";
import { count, size } from "./text.ts";

const first = 20;
const step = 200;

// pathList returns a list. action returns a further element for a path, such as a button.
export function pathList(closure: Closure, paths: ArrayLike<number>, action?: (i: number) => HTMLElement | null): HTMLElement {
  const sorted = Array.from(paths).sort((a, b) => closure.sizes[b]! - closure.sizes[a]! || a - b);
  const list = h("ul", { class: "path-list" });
  const element = h("div", {}, list);
  let shown = 0;
  const more = h("button", { type: "button", class: "quiet", on: { click: () => show(step) } });
  const show = (n: number) => {
    const had = shown;
    for (const end = Math.min(shown + n, sorted.length); shown < end; shown++) {
      const i = sorted[shown]!;
      list.append(
        h("li", {}, h("a", { href: address("path", closure.bases[i]!), title: closure.path(i) }, closure.name(i)), action?.(i) ?? null, h("span", { class: "number" }, size(closure.sizes[i]!))),
      );
    }
    const left = sorted.length - shown;
    if (left > 0) {
      replace(more, `Show ${count(Math.min(left, step))} of ${count(left)} more`);
      element.append(more);
    } else {
      more.remove();
    }
    if (had > 0) list.children[had]?.querySelector("a")?.focus();
  };
  show(first);
  return sorted.length > 0 ? element : h("p", { class: "muted" }, "None");
}
