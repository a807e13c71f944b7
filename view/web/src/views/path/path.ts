// The page of one path: what it is, and the parts that explain it.
import { h, replace } from "../../dom.ts";
import { address, type Route } from "../../route.ts";
import { counted, size } from "../../text.ts";
import type { Context, View } from "../../view.ts";
import { derivation } from "./derivation.ts";
import { facts } from "./facts.ts";
import { neighbourhood } from "./neighbourhood.ts";
import { kept } from "./kept.ts";
import { why } from "./why.ts";

// A Part is a part of the page of a path.
export interface Part {
  name: string;
  title: string;
  available(context: Context): boolean;
  show(main: HTMLElement, context: Context, path: number, route: Route, signal: AbortSignal): void | Promise<void>;
}

const parts: Part[] = [neighbourhood, why, kept, derivation, facts];

export const path: View = {
  name: "path",
  title: "Path",
  inTabs: false,
  available: (context) => context.summary.hasClosure,
  show(main: HTMLElement, context: Context, route: Route, signal: AbortSignal): void | Promise<void> {
    const { closure } = context;
    const i = closure.require(route.path);
    document.title = `${closure.name(i)} \u2013 pix view`;
    const shown = parts.filter((part) => part.available(context));
    const part = shown.find((p) => p.name === route.query.get("show")) ?? shown[0]!;
    const content = h("section", { class: "part", "aria-label": part.title });
    replace(
      main,
      h("h1", {}, closure.name(i)),
      h("p", { class: "whole-path" }, h("code", {}, closure.path(i)), copyButton(closure.path(i))),
      h(
        "dl",
        { class: "facts" },
        fact("Size", size(closure.sizes[i]!), "the path itself"),
        closureFact(context, i, signal),
        fact("Added", size(closure.addedSizes[i]!), "what would leave with it"),
        fact("Needs", counted(closure.referencesOf(i).length, "path"), "directly"),
        fact("Needed by", counted(closure.referrersOf(i).length, "path"), closure.roots.includes(i) ? "directly; it is a root of this page" : "directly"),
      ),
      h(
        "nav",
        { class: "tabs small", "aria-label": "Parts" },
        ...shown.map((p) => h("a", { href: address("path", route.path, p === shown[0] ? {} : { show: p.name }), "aria-current": p === part ? "page" : undefined }, p.title)),
      ),
      content,
    );
    return part.show(content, context, i, route, signal);
  },
};

function fact(name: string, value: string, explanation: string): HTMLElement {
  return h("div", {}, h("dt", {}, name), h("dd", {}, h("strong", {}, value), h("span", { class: "muted" }, explanation)));
}

// closureFact returns the closure size, which may arrive later.
function closureFact({ closure, sized }: Context, i: number, signal: AbortSignal): HTMLElement {
  const element = fact("Closure", closure.closureSize(i), "with everything that it needs");
  if (!closure.sizesKnown) void sized.then(() => !signal.aborted && replace(element.querySelector("strong")!, closure.closureSize(i)));
  return element;
}

// copyButton returns a button that copies a text.
function copyButton(text: string): HTMLElement {
  const button = h("button", { type: "button", class: "quiet" }, "Copy");
  button.addEventListener("click", () => {
    navigator.clipboard.writeText(text).then(
      () => replace(button, "Copied"),
      () => replace(button, "Not permitted"),
    );
  });
  return button;
}
