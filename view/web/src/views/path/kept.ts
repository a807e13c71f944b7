// What keeps a path from being collected.
import { baseOf, nameOf } from "../../closure.ts";
import { h, replace } from "../../dom.ts";
import { address, type Route } from "../../route.ts";
import { getJSON } from "../../session.ts";
import { counted, visible } from "../../text.ts";
import type { Context } from "../../view.ts";
import type { Part } from "./path.ts";

interface LivenessJSON {
  root: string | null;
  chain: { path: string; needed: string }[];
  roots: { link: string; path: string }[];
  more: number;
}

const reasons: Record<string, string> = {
  root: "the root leads to it",
  reference: "the path above needs it",
  deriver: "it has built the path above",
  output: "the path above builds it",
};

export const kept: Part = {
  name: "kept",
  title: "What keeps it?",
  available: (context) => context.live && context.summary.hasRoots,
  async show(main: HTMLElement, context: Context, path: number, _route: Route, signal: AbortSignal): Promise<void> {
    const { closure } = context;
    const result = h("div", { role: "status" }, h("p", { class: "muted" }, "Looking for roots\u2026"));
    replace(main, h("p", { class: "explanation" }, "A path is kept while a root needs it: a link such as a profile, or a running process. All other paths are garbage, which a collection deletes."), result);
    const answer = await getJSON<LivenessJSON>("roots", { path: closure.path(path) }, signal);
    if (answer.root === null) {
      replace(result, h("p", {}, h("strong", {}, "Garbage."), " No root that the store shows needs this path."));
      return;
    }
    const link = (p: string) => (closure.find(p) >= 0 ? h("a", { href: address("path", closure.bases[closure.find(p)]!), title: p }, nameOf(baseOf(p))) : h("code", {}, p));
    replace(
      result,
      h("h2", {}, "Kept by"),
      h("ol", { class: "chain" }, h("li", {}, h("code", {}, visible(answer.root))), ...answer.chain.map((step) => h("li", {}, link(step.path), h("span", { class: "muted" }, ` ${reasons[step.needed] ?? ""}`)))),
      h("h2", {}, counted(answer.roots.length + answer.more, "root keeps it", "roots keep it")),
      h("ul", { class: "path-list roots" }, ...answer.roots.map((r) => h("li", {}, h("code", {}, visible(r.link)), link(r.path)))),
      answer.more > 0 && h("p", { class: "muted" }, `and ${counted(answer.more, "more root")}`),
    );
  },
};
