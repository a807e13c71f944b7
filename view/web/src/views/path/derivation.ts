// The derivation of a path: what is built, from which inputs, and how.
import { baseOf, nameOf } from "../../closure.ts";
import { h, replace, type Child } from "../../dom.ts";
import { address, type Route } from "../../route.ts";
import { getJSON } from "../../session.ts";
import { counted, visible, visibleLines } from "../../text.ts";
import type { Context } from "../../view.ts";
import { explanation } from "./explanation.ts";
import type { Part } from "./path.ts";

interface DerivationJSON {
  path: string;
  derivation: {
    outputs: Record<string, { path?: string; hash?: string; hashAlgo?: string; method?: string; impure?: boolean }>;
    inputDrvs: Record<string, unknown>;
    inputSrcs: string[];
    platform: string;
    builder: string;
    args: string[];
    env: Record<string, string>;
  };
}

export const derivation: Part = {
  name: "derivation",
  title: "How was it built?",
  available: (context) => context.live && context.summary.hasContents,
  async show(main: HTMLElement, context: Context, path: number, _route: Route, signal: AbortSignal): Promise<void> {
    const { closure } = context;
    const result = h("div", { role: "status" }, h("p", { class: "muted" }, "Reading the derivation\u2026"));
    replace(main, h("p", { class: "explanation" }, "A derivation is the recipe of a build: a program with its arguments and environment, and the inputs that it may read. Its hash decides the paths of its outputs."), result);
    const answer = await getJSON<DerivationJSON>("derivation", { path: closure.path(path) }, signal);
    const d = answer.derivation;
    const link = (p: string): Child => (closure.find(p) >= 0 ? h("a", { href: address("path", closure.bases[closure.find(p)]!), title: p }, nameOf(baseOf(p))) : h("code", { title: p }, nameOf(baseOf(p))));
    const inputs = Object.entries(d.inputDrvs ?? {});
    const steps = h("div", {});
    const recipe = h(
      "section",
      { "aria-label": "Derivation" },
      h("p", { class: "whole-path" }, h("code", {}, answer.path)),
      h("h2", {}, "Outputs"),
      table(Object.entries(d.outputs ?? {}).map(([name, o]) => [visible(name), o.path ? link(o.path) : "known after the build", visible([o.method, o.hashAlgo, o.hash].filter(Boolean).join(" "))])),
      h("h2", {}, "Program"),
      h("pre", {}, [d.builder, ...(d.args ?? [])].map((word) => visibleLines(word)).join("\n")),
      h("p", { class: "muted" }, `for ${visible(d.platform)}`),
      h("h2", {}, `${counted(inputs.length, "derivation")} and ${counted((d.inputSrcs ?? []).length, "source")} as inputs`),
      h("details", { open: inputs.length <= 40 }, h("summary", {}, "Inputs"), table([...inputs.map(([p, used]): Child[] => [link(p), visible(outputsOf(used))]), ...(d.inputSrcs ?? []).map((p): Child[] => [link(p), "source"])])),
      h("h2", {}, "Environment"),
      table(Object.entries(d.env ?? {}).map(([name, value]) => [h("code", {}, visible(name)), value.includes("\n") || value.length > 400 ? h("pre", {}, visibleLines(value)) : h("code", {}, visible(value))])),
    );
    replace(result, h("div", { class: "beside" }, recipe, h("section", { "aria-label": "Computation" }, h("h2", {}, "How its paths are computed"), steps)));
    await explanation(steps, closure.path(path), "path", signal);
  },
};

// outputsOf returns the outputs of an input that are used.
function outputsOf(used: unknown): string {
  if (Array.isArray(used)) return used.join(", ");
  const outputs = (used as { outputs?: unknown }).outputs;
  return Array.isArray(outputs) ? outputs.join(", ") : "";
}

function table(rows: Child[][]): HTMLElement {
  if (rows.length === 0) return h("p", { class: "muted" }, "None");
  return h("table", { class: "plain" }, h("tbody", {}, ...rows.map((row) => h("tr", {}, ...row.map((cell, i) => (i === 0 ? h("th", { scope: "row" }, cell) : h("td", {}, cell)))))));
}
