// The paths near a path, as a picture and as lists, with the files in which a reference stands.
import { h, replace } from "../../dom.ts";
import { layered, type GraphJSON } from "../../layered.ts";
import { pathList } from "../../pathlist.ts";
import { address, go, type Route } from "../../route.ts";
import { getJSON } from "../../session.ts";
import { counted } from "../../text.ts";
import type { Context } from "../../view.ts";
import { mentions } from "./mentions.ts";
import type { Part } from "./path.ts";

const depths = [
  { key: "1", title: "1 level", up: "1", down: "1" },
  { key: "2", title: "2 levels", up: "2", down: "2" },
  { key: "3", title: "3 levels", up: "3", down: "3" },
];

export const neighbourhood: Part = {
  name: "neighbourhood",
  title: "Neighbours",
  available: () => true,
  async show(main: HTMLElement, context: Context, path: number, route: Route, signal: AbortSignal): Promise<void> {
    const { closure } = context;
    const depth = depths.find((d) => d.key === route.query.get("depth")) ?? depths[0]!;
    const picture = h("div", { class: "picture", role: "group", "aria-label": "Picture of the neighbours" });
    const reasons = h("div", { role: "status" });
    const why = (from: number, to: number) =>
      context.live && context.summary.hasContents
        ? h("button", { type: "button", class: "quiet", "aria-label": `Which files of ${closure.name(from)} contain the reference to ${closure.name(to)}?`, on: { click: () => void mentions(reasons, context, from, to, signal) } }, "Which files?")
        : null;
    replace(
      main,
      h(
        "p",
        { class: "explanation" },
        "A path is to the right of every path that needs it. Each level has its largest paths; +5 means five more.",
      ),
      context.live &&
        h(
          "p",
          { class: "choices", role: "group", "aria-label": "Levels" },
          ...depths.map((d) => h("a", { href: address("path", route.path, d === depths[0] ? {} : { depth: d.key }), "aria-current": d === depth ? "true" : undefined }, d.title)),
        ),
      context.live && picture,
      reasons,
      h(
        "div",
        { class: "columns" },
        h("section", {}, h("h2", {}, `Needs ${counted(closure.referencesOf(path).length, "path")}`), pathList(closure, closure.referencesOf(path), (i) => why(path, i))),
        h("section", {}, h("h2", {}, `Needed by ${counted(closure.referrersOf(path).length, "path")}`), pathList(closure, closure.referrersOf(path), (i) => why(i, path))),
      ),
    );
    if (!context.live) return;
    const graph = await getJSON<GraphJSON>("neighbourhood", { path: closure.path(path), up: depth.up, down: depth.down }, signal);
    const image = layered(graph, closure, {
      label: `Neighbours of ${closure.name(path)}`,
      current: closure.bases[path]!,
      open: (base) => go(address("path", base, depth === depths[0] ? {} : { depth: depth.key })),
    });
    picture.append(image);
    image.querySelector(".current")?.scrollIntoView({ block: "nearest", inline: "center" });
    main.closest("main")!.scrollTop = 0;
  },
};
