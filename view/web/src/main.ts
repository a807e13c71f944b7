// The page of pix view. Each view is a module in views/.
import { Closure, type ClosureJSON, type Summary } from "./closure.ts";
import { h, replace } from "./dom.ts";
import { getJSON, startSession } from "./session.ts";
import { Shell } from "./shell.ts";
import { visible } from "./text.ts";
import type { Context, LayoutJSON } from "./view.ts";
import { builds } from "./views/builds.ts";
import { compare } from "./views/compare.ts";
import { graph } from "./views/graph.ts";
import { path } from "./views/path/path.ts";
import { paths } from "./views/paths.ts";
import { treemap } from "./views/treemap.ts";

const views = [paths, treemap, graph, compare, builds, path];

async function start(): Promise<void> {
  const app = document.getElementById("app")!;
  replace(app, h("p", { class: "notice", role: "status" }, "Loading the closure\u2026"));
  try {
    new Shell(app, inFile() ?? (await fromServer()), views).start();
    performance.mark("ready");
  } catch (error) {
    replace(app, h("p", { class: "notice", role: "alert" }, visible(error instanceof Error ? error.message : String(error))));
  }
}

async function fromServer(): Promise<Context> {
  await startSession();
  const [summary, json] = await Promise.all([getJSON<Summary>("summary"), getJSON<ClosureJSON>("closure")]);
  let layout: Promise<LayoutJSON> | null = null;
  return { closure: new Closure(json), summary, live: true, layout: () => (layout ??= getJSON<LayoutJSON>("layout")) };
}

// inFile returns the data in this file, if it is an exported one.
function inFile(): Context | null {
  const data = document.getElementById("data");
  if (!data) return null;
  const { summary, closure, layout } = JSON.parse(data.textContent) as { summary: Summary; closure: ClosureJSON; layout: LayoutJSON };
  return { closure: new Closure(closure), summary, live: false, layout: () => Promise.resolve(layout) };
}

void start();
