// Why a path is in the closure: the chains of references from another path to it.
import { baseOf } from "../../closure.ts";
import { h, replace } from "../../dom.ts";
import { layered, type GraphJSON } from "../../layered.ts";
import { picker } from "../../picker.ts";
import { address, go, type Route } from "../../route.ts";
import { getJSON } from "../../session.ts";
import { counted, size } from "../../text.ts";
import type { Context } from "../../view.ts";
import { mentions } from "./mentions.ts";
import type { Part } from "./path.ts";

interface WhyJSON {
  chain: string[];
  paths: number;
  references: number;
  graph: GraphJSON | null;
}

export const why: Part = {
  name: "why",
  title: "Why is it here?",
  available: (context) => context.live,
  async show(main: HTMLElement, context: Context, path: number, route: Route, signal: AbortSignal): Promise<void> {
    const { closure } = context;
    const from = start(context, path, route);
    const result = h("div", { role: "status" });
    replace(
      main,
      h("p", { class: "explanation" }, "A shortest chain of references that leads here. Each path contains the hash of the next one in a file."),
      picker(closure, {
        label: "From",
        value: closure.path(from),
        pick: (picked) => go(address("path", route.path, { show: "why", from: baseOf(picked) })),
      }),
      result,
    );
    if (from === path) {
      replace(result, h("p", {}, "It is a root of this page, so no other path is needed to explain it."));
      return;
    }
    const answer = await getJSON<WhyJSON>("why", { from: closure.path(from), to: closure.path(path) }, signal);
    if (answer.chain.length === 0) {
      replace(result, h("p", {}, closure.name(from), " does not need this path."));
      return;
    }
    replace(
      result,
      chain(context, answer.chain, signal),
      h("h2", {}, "All chains"),
      h("p", { class: "explanation" }, `${counted(answer.references, "reference")} between ${counted(answer.paths, "path")} are on some chain.${answer.graph ? "" : ` These are too many to draw.`}`),
    );
    if (!answer.graph) return;
    const image = layered(answer.graph, closure, { label: "All chains", current: closure.bases[path]!, open: (base) => go(address("path", base, { show: "why" })) });
    result.append(h("div", { class: "picture" }, image));
  },
};

// start returns the path from which the chains begin: the one in the address, or the first root that needs the path.
function start({ closure }: Context, path: number, route: Route): number {
  const named = closure.find(route.query.get("from") ?? "");
  if (named >= 0) return named;
  return closure.roots.find((root) => closure.reaches(root, path)) ?? path;
}

// chain returns the paths of a chain, with buttons for their reasons.
function chain(context: Context, paths: string[], signal: AbortSignal): HTMLElement {
  const { closure } = context;
  const indexes = paths.map((p) => closure.find(p));
  return h(
    "ol",
    { class: "chain" },
    ...indexes.map((i, n) => {
      const next = indexes[n + 1];
      const reasons = h("div", { role: "status" });
      return h(
        "li",
        {},
        h("a", { href: address("path", closure.bases[i]!), title: closure.path(i) }, closure.name(i)),
        h("span", { class: "muted" }, ` ${size(closure.sizes[i]!)}`),
        next !== undefined && context.summary.hasContents && h("button", { type: "button", class: "quiet", "aria-label": `Which files of ${closure.name(i)} contain the reference?`, on: { click: () => void mentions(reasons, context, i, next, signal) } }, "Which files?"),
        reasons,
      );
    }),
  );
}
