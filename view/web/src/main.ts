// The page of pix view. Each view is a module in views/.
import { Closure, type ClosureJSON, type SizesJSON, type Summary } from "./closure.ts";
import { h, replace } from "./dom.ts";
import { getJSON, startSession } from "./session.ts";
import { Shell } from "./shell.ts";
import { errorText } from "./text.ts";
import type { Context, LayoutJSON } from "./view.ts";
import { builds } from "./views/builds.ts";
import { compare } from "./views/compare.ts";
import { docs } from "./views/docs.ts";
import { graph } from "./views/graph.ts";
import { path } from "./views/path/path.ts";
import { paths } from "./views/paths.ts";
import { treemap } from "./views/treemap.ts";

const views = [paths, treemap, graph, compare, builds, docs, path];

async function start(): Promise<void> {
  const app = document.getElementById("app")!;
  replace(app, h("p", { class: "notice", role: "status" }, "Loading the closure\u2026"));
  try {
    new Shell(app, inFile() ?? (await fromServer()), views).start();
    performance.mark("ready");
  } catch (error) {
    replace(app, h("p", { class: "notice", role: "alert" }, errorText(error)));
  }
}

async function fromServer(): Promise<Context> {
  await startSession();
  const [summary, json] = await Promise.all([getJSON<Summary>("summary"), getJSON<ClosureJSON>("closure")]);
  const closure = new Closure(json);
  let layout: Promise<LayoutJSON> | null = null;
  return { closure, summary, live: true, layout: () => (layout ??= getJSON<LayoutJSON>("layout")), sized: loadSizes(closure, summary) };
}

// loadSizes loads the closure sizes, for which the page does not wait. Without them it shows the rest.
async function loadSizes(closure: Closure, summary: Summary): Promise<void> {
  if (!summary.hasClosure) return;
  try {
    closure.setClosureSizes(await getJSON<SizesJSON>("sizes"));
  } catch {
    closure.setClosureSizes({ closureSizes: null });
  }
}

// inFile returns the data in this file, if it is an exported one.
function inFile(): Context | null {
  const data = document.getElementById("data");
  if (!data) return null;
  const json = JSON.parse(data.textContent) as { summary: Summary; closure: ClosureJSON; sizes: SizesJSON; layout: LayoutJSON };
  const closure = new Closure(json.closure);
  closure.setClosureSizes(json.sizes);
  return { closure, summary: json.summary, live: false, layout: () => Promise.resolve(json.layout), sized: Promise.resolve() };
}

void start();
