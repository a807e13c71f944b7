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
    const signatures = info.signatures ?? [];
    const rows: [string, Child, string][] = [
      ["NAR hash", h("code", {}, visible(info.narHash)), "the hash of its archive"],
      ["NAR size", `${count(info.narSize)} bytes`, "the size of its archive"],
      ["Deriver", info.deriver ? h("code", {}, visible(info.deriver)) : "unknown", info.deriver ? "the derivation that built it" : "it was added to the store, or its origin is not recorded"],
      ["Registered", info.registrationTime ? new Date(info.registrationTime * 1000).toLocaleString() : "unknown", info.registrationTime ? "when it became valid in this store" : "this store does not record it"],
      ["Built here", info.ultimate ? "yes" : "no", info.ultimate ? "so it needs no signature in this store" : "it was copied or added, or this store does not record it"],
      ["Content address", info.ca ? h("code", {}, visible(info.ca)) : "none", info.ca ? "the path follows from its contents" : "the path follows from a derivation"],
      ["Signatures", signatures.length > 0 ? h("ul", { class: "files" }, ...signatures.map((s) => h("li", {}, h("code", {}, visible(s))))) : "none", ""],
    ];
    main.append(
      h("table", { class: "plain" }, h("tbody", {}, ...rows.map(([name, value, note]) => h("tr", {}, h("th", { scope: "row" }, name), h("td", {}, value, " ", h("span", { class: "muted" }, note)))))),
    );
    const [computation, verification] = [h("div", {}), h("div", {})];
    main.append(h("div", { class: "beside" }, h("section", {}, h("h2", {}, "How the path is computed"), computation), h("section", {}, h("h2", {}, "How its signatures are verified"), verification)));
    await Promise.all([explanation(computation, closure.path(path), "path", signal), explanation(verification, closure.path(path), "signatures", signal)]);
  },
};
