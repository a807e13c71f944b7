// What the store records about a path.
import { h, replace, type Child } from "../../dom.ts";
import type { Route } from "../../route.ts";
import { getJSON } from "../../session.ts";
import { count, visible } from "../../text.ts";
import type { Context } from "../../view.ts";
import { explanation } from "./explanation.ts";
import type { Part } from "./path.ts";

interface PathInfoJSON {
  ca?: string | null;
  deriver?: string | null;
  narHash: string;
  narSize: number;
  registrationTime?: number | null;
  signatures?: string[];
  ultimate?: boolean;
}

export const facts: Part = {
  name: "record",
  title: "Record",
  available: (context) => context.live,
  async show(main: HTMLElement, { closure }: Context, path: number, _route: Route, signal: AbortSignal): Promise<void> {
    replace(main, h("p", { class: "explanation" }, "What the store records about the path."));
    const info = await getJSON<PathInfoJSON>("path", { path: closure.path(path) }, signal);
    const rows: [string, Child, string][] = [
      ["NAR hash", h("code", {}, visible(info.narHash)), "the hash of its archive"],
      ["NAR size", `${count(info.narSize)} bytes`, "the size of its archive"],
      ["Deriver", info.deriver ? h("code", {}, visible(info.deriver)) : "unknown", "the derivation that built it"],
      ["Registered", info.registrationTime ? new Date(info.registrationTime * 1000).toLocaleString() : "unknown", "when it became valid in this store"],
      ["Built here", info.ultimate ? "yes" : "no", "this store trusts what it has built itself"],
      ["Content address", info.ca ? h("code", {}, visible(info.ca)) : "none", "the path follows from its contents"],
      ["Signatures", h("ul", { class: "files" }, ...(info.signatures ?? []).map((s) => h("li", {}, h("code", {}, visible(s))))), (info.signatures ?? []).length === 0 ? "none" : ""],
    ];
    main.append(
      h("table", { class: "plain" }, h("tbody", {}, ...rows.map(([name, value, note]) => h("tr", {}, h("th", { scope: "row" }, name), h("td", {}, value, " ", h("span", { class: "muted" }, note)))))),
    );
    const [computation, signatures] = [h("div", {}), h("div", {})];
    main.append(h("div", { class: "beside" }, h("section", {}, h("h2", {}, "How the path is computed"), computation), h("section", {}, h("h2", {}, "How its signatures are verified"), signatures)));
    await Promise.all([explanation(computation, closure.path(path), "path", signal), explanation(signatures, closure.path(path), "signatures", signal)]);
  },
};
