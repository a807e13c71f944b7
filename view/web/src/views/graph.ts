// The whole closure as points and lines. A path is to the right of every path that needs it.
import { baseOf, type Closure } from "../closure.ts";
import { h, replace } from "../dom.ts";
import { Nearest } from "../nearest.ts";
import { picker } from "../picker.ts";
import { trackPointers } from "../pointers.ts";
import { address, go, type Route } from "../route.ts";
import { count, size } from "../text.ts";
import type { Context, LayoutJSON, View } from "../view.ts";
import { Renderer, State, type Camera, type Colours } from "../webgl.ts";

export const graph: View = {
  name: "graph",
  title: "Graph",
  inTabs: true,
  available: (context) => context.summary.hasClosure,
  async show(main: HTMLElement, context: Context, route: Route, signal: AbortSignal): Promise<void> {
    const { closure } = context;
    const selected = route.path === "" ? -1 : closure.require(route.path);
    const canvas = h("canvas", { tabindex: 0, role: "application", "aria-label": "Graph of all paths. Arrow keys move it, plus and minus zoom, 0 shows all of it." });
    const labels = h("canvas", { class: "labels", "aria-hidden": true });
    const card = h("div", { class: "card", role: "status" });
    const frame = h("div", { class: "graph" }, canvas, labels, card);
    replace(
      main,
      h("p", { class: "explanation" }, explanation(closure)),
      picker(closure, { label: "Select a path", value: selected < 0 ? "" : closure.path(selected), pick: (picked) => go(address("graph", baseOf(picked))) }),
      frame,
    );
    const layout = await context.layout();
    if (signal.aborted) return;
    new Graph(closure, layout, { frame, canvas, labels, card }, signal).start(selected);
  },
};

// A GraphFrame are the elements of the view.
interface GraphFrame {
  frame: HTMLElement;
  canvas: HTMLCanvasElement;
  labels: HTMLCanvasElement;
  card: HTMLElement;
}

const pickDistance = 8; // pixels
const restTime = 150; // milliseconds without a movement after which the lines are drawn again
const popular = 300; // lines to paths with more referrers are left out unless they are selected
const mostLines = 150_000; // of which a slow graphics processor draws a picture in seconds
const mostLabels = 40;
const labelCandidates = 1500;

class Graph {
  private readonly x: Float32Array;
  private readonly y: Float32Array;
  private readonly radii: Float32Array;
  private readonly order: Int32Array; // from the largest path to the smallest
  private readonly slot: Int32Array; // the inverse of order
  private readonly nearest: Nearest;
  private readonly renderer: Renderer;
  private readonly camera: Camera = { x: 0, y: 0, scale: 1 };
  private readonly bounds: { x: number; y: number; width: number; height: number };
  private colours: Colours;
  private textColours: { text: string; ground: string };
  private selected = -1;
  private hovered = -1;
  private pending = 0;
  private moving = false;
  private stale = true; // the picture of the lines is not the one for the camera, the selection and the colours
  private rest = 0; // a timer

  constructor(
    private readonly closure: Closure,
    layout: LayoutJSON,
    private readonly elements: GraphFrame,
    private readonly signal: AbortSignal,
  ) {
    this.x = Float32Array.from(layout.x);
    this.y = Float32Array.from(layout.y);
    const largest = closure.sizes.reduce((a, b) => Math.max(a, b), 1);
    const maxRadius = closure.length < 500 ? 0.45 : 2.5; // two points are about 1 apart; among many, a large one may cover small ones
    this.radii = Float32Array.from(closure.sizes, (s) => 0.14 + (maxRadius - 0.14) * Math.sqrt(s / largest));
    this.order = Int32Array.from(closure.sizes.keys()).sort((a, b) => closure.sizes[b]! - closure.sizes[a]! || a - b);
    this.slot = new Int32Array(closure.length);
    this.order.forEach((i, k) => (this.slot[i] = k));
    this.nearest = new Nearest(this.x, this.y, 4, maxRadius);
    this.bounds = bounds(this.x, this.y);
    this.colours = readColours();
    this.textColours = readTextColours();
    this.renderer = new Renderer(elements.canvas, closure.length, this.pairs(this.order), Float32Array.from(this.order, (i) => this.radii[i]!), this.allLines(), () => this.colours);
    signal.addEventListener("abort", () => this.renderer.release());
  }

  start(selected: number): void {
    const { canvas, frame } = this.elements;
    const observer = new ResizeObserver(() => this.resize());
    observer.observe(frame);
    this.signal.addEventListener("abort", () => observer.disconnect());
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.recolour(), { signal: this.signal });
    trackPointers(canvas, {
      camera: this.camera,
      least: () => this.fitScale() / 2,
      moved: () => this.moved(),
      hover: (x, y) => this.hover(this.at(x, y)),
      pick: (x, y) => this.pick(this.at(x, y)),
      signal: this.signal,
    });
    canvas.addEventListener("keydown", (event) => {
      if (event.key === "0") this.fit();
      if (event.key === "Escape" && this.selected >= 0) go(address("graph"));
      if (event.key === "Enter" && this.selected >= 0) go(address("path", this.closure.bases[this.selected]!));
    }, { signal: this.signal });
    canvas.addEventListener("pointerleave", () => this.hover(-1), { signal: this.signal });
    this.fit();
    this.select(selected);
    performance.mark("graph");
  }

  private pairs(order: Int32Array): Float32Array {
    const positions = new Float32Array(2 * order.length);
    order.forEach((i, k) => positions.set([this.x[i]!, this.y[i]!], 2 * k));
    return positions;
  }

  private allLines(): Float32Array {
    const { closure } = this;
    const most = mostReferrers(closure);
    const lines = new Float32Array(6 * countLines(closure, most));
    let n = 0;
    for (let i = 0; i < closure.length; i++) {
      for (const ref of closure.referencesOf(i)) {
        if (closure.referrersOf(ref).length <= most) this.setLine(lines, n++, i, ref);
      }
    }
    return lines;
  }

  // setLine writes a line. Lines to a path that many need are fainter, because they would cover everything else.
  private setLine(lines: Float32Array, n: number, from: number, to: number): void {
    const weight = Math.max(0.02, Math.min(1, 6 / Math.max(1, this.closure.referrersOf(to).length)));
    lines.set([this.x[from]!, this.y[from]!, weight, this.x[to]!, this.y[to]!, weight], 6 * n);
  }

  // at returns the path at a place in the canvas, or -1.
  private at(x: number, y: number): number {
    const { canvas } = this.elements;
    const { camera } = this;
    return this.nearest.find(camera.x + (x - canvas.clientWidth / 2) / camera.scale, camera.y + (y - canvas.clientHeight / 2) / camera.scale, pickDistance / camera.scale, this.radii);
  }

  private hover(i: number): void {
    if (i === this.hovered) return;
    this.hovered = i;
    this.elements.canvas.style.cursor = i >= 0 ? "pointer" : "grab";
    this.showCard();
    this.schedule();
  }

  private pick(i: number): void {
    go(i < 0 || i === this.selected ? address("graph") : address("graph", this.closure.bases[i]!));
  }

  // select marks a path, the paths that it needs and the paths that need it.
  private select(i: number): void {
    this.selected = i;
    const { closure } = this;
    const states = new Uint8Array(closure.length);
    let needs = new Float32Array(0);
    let neededBy = new Float32Array(0);
    if (i >= 0) {
      states.fill(State.dim);
      neededBy = this.spread(i, false, states, State.neededBy);
      needs = this.spread(i, true, states, State.needs);
      states[this.slot[i]!] = State.selected;
    }
    this.renderer.highlight(states, needs, neededBy);
    this.stale = true;
    this.showCard();
    this.schedule();
  }

  // spread marks everything that is reachable from a path, and returns the lines between these.
  private spread(start: number, forward: boolean, states: Uint8Array, state: number): Float32Array<ArrayBuffer> {
    const { closure } = this;
    const ends: number[] = [];
    const seen = new Uint8Array(closure.length);
    seen[start] = 1;
    for (const todo = [start]; todo.length > 0; ) {
      const i = todo.pop()!;
      states[this.slot[i]!] = state;
      for (const other of forward ? closure.referencesOf(i) : closure.referrersOf(i)) {
        ends.push(...(forward ? [i, other] : [other, i]));
        if (!seen[other]) {
          seen[other] = 1;
          todo.push(other);
        }
      }
    }
    const lines = new Float32Array(3 * ends.length);
    for (let n = 0; 2 * n < ends.length; n++) this.setLine(lines, n, ends[2 * n]!, ends[2 * n + 1]!);
    return lines;
  }

  private showCard(): void {
    const i = this.hovered >= 0 ? this.hovered : this.selected;
    const { closure } = this;
    const { card } = this.elements;
    card.hidden = i < 0;
    if (i < 0) return;
    replace(
      card,
      h("a", { href: address("path", closure.bases[i]!) }, closure.name(i)),
      h("p", {}, `${size(closure.sizes[i]!)} itself, ${closure.closureSize(i)} with everything that it needs`),
      h("p", { class: "muted" }, `Needs ${count(closure.referencesOf(i).length)}, needed by ${count(closure.referrersOf(i).length)} directly`),
    );
  }

  private fitScale(): number {
    const { clientWidth, clientHeight } = this.elements.canvas;
    return Math.min(clientWidth / (this.bounds.width + 4), clientHeight / (this.bounds.height + 4), 60);
  }

  private fit(): void {
    this.camera.x = this.bounds.x + this.bounds.width / 2;
    this.camera.y = this.bounds.y + this.bounds.height / 2;
    this.camera.scale = this.fitScale();
    this.stale = true;
    this.schedule();
  }

  private recolour(): void {
    this.colours = readColours();
    this.textColours = readTextColours();
    this.stale = true;
    this.schedule();
  }

  private resize(): void {
    const { canvas, labels, frame } = this.elements;
    const isFirst = canvas.dataset.sized === undefined;
    for (const c of [canvas, labels]) {
      c.width = Math.round(frame.clientWidth * devicePixelRatio);
      c.height = Math.round(frame.clientHeight * devicePixelRatio);
    }
    canvas.dataset.sized = "";
    if (isFirst) this.fit();
    this.stale = true;
    this.draw(); // a canvas is empty after its size has changed
  }

  // moved draws a frame after the camera has moved, and the lines when it rests.
  private moved(): void {
    this.moving = this.stale = true;
    clearTimeout(this.rest);
    this.rest = setTimeout(() => {
      this.moving = false;
      this.schedule();
    }, restTime);
    this.schedule();
  }

  private schedule(): void {
    if (this.pending || this.signal.aborted) return;
    this.pending = requestAnimationFrame(() => {
      this.pending = 0;
      if (!this.signal.aborted) this.draw();
    });
  }

  private draw(): void {
    const { canvas } = this.elements;
    const viewport = { width: canvas.clientWidth, height: canvas.clientHeight, ratio: canvas.width / Math.max(1, canvas.clientWidth) };
    this.renderer.draw(this.camera, viewport, this.moving || !this.stale);
    if (!this.moving) this.stale = false;
    this.drawLabels(canvas.clientWidth, canvas.clientHeight);
  }

  // drawLabels draws the names of the selected paths, and of the largest ones in sight for which there is room.
  private drawLabels(width: number, height: number): void {
    const { labels } = this.elements;
    const context = labels.getContext("2d")!;
    const ratio = labels.width / Math.max(1, width);
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    context.font = `12px ${getFont()}`;
    context.textBaseline = "middle";
    context.lineJoin = "round";
    context.lineWidth = 3;
    context.strokeStyle = this.textColours.ground;
    context.fillStyle = this.textColours.text;
    const taken: { x: number; y: number; width: number }[] = [];
    const place = (i: number, always: boolean): void => {
      const x = (this.x[i]! - this.camera.x) * this.camera.scale + width / 2;
      const y = (this.y[i]! - this.camera.y) * this.camera.scale + height / 2;
      const radius = this.radii[i]! * this.camera.scale;
      if (x < 0 || y < 0 || x > width || y > height || (!always && radius < 3)) return;
      const name = this.closure.name(i);
      const box = { x: x + Math.min(radius, 100) + 3, y, width: name.length * 6.8 };
      if (!always && taken.some((t) => Math.abs(t.y - box.y) < 15 && box.x < t.x + t.width + 8 && t.x < box.x + box.width + 8)) return;
      taken.push(box);
      context.strokeText(name, box.x, y);
      context.fillText(name, box.x, y);
    };
    if (this.hovered >= 0) place(this.hovered, true);
    if (this.selected >= 0) place(this.selected, true);
    for (let k = 0; k < Math.min(labelCandidates, this.order.length) && taken.length < mostLabels; k++) place(this.order[k]!, false);
  }
}

function explanation(closure: Closure): string {
  const most = mostReferrers(closure);
  const some = countLines(closure, most) < closure.referenceCount ? ` Lines to paths that more than ${count(most)} others need are left out until you select one of both ends.` : "";
  return `Each point is a path; its area is its size. A path is to the right of every path that needs it.${some} Select a path to see everything that it needs in blue, and everything that needs it in orange.`;
}

// mostReferrers returns the number of referrers up to which the lines to a path are drawn.
function mostReferrers(closure: Closure): number {
  let most = popular;
  while (most > 1 && countLines(closure, most) > mostLines) most = Math.floor(most / 2);
  return most;
}

// countLines returns the number of lines to paths with at most so many referrers.
function countLines(closure: Closure, most: number): number {
  let n = 0;
  for (let i = 0; i < closure.length; i++) {
    const referrers = closure.referrersOf(i).length;
    if (referrers <= most) n += referrers;
  }
  return n;
}

function bounds(x: Float32Array, y: Float32Array): { x: number; y: number; width: number; height: number } {
  let [left, right, top, bottom] = [Infinity, -Infinity, Infinity, -Infinity];
  for (let i = 0; i < x.length; i++) {
    left = Math.min(left, x[i]!);
    right = Math.max(right, x[i]!);
    top = Math.min(top, y[i]!);
    bottom = Math.max(bottom, y[i]!);
  }
  return x.length > 0 ? { x: left, y: top, width: right - left, height: bottom - top } : { x: 0, y: 0, width: 1, height: 1 };
}

// readColours returns the colours of the palette.
function readColours(): Colours {
  const accent = colour("--accent");
  const warn = colour("--warn");
  const line = colour("--edge");
  return {
    states: [
      [...accent, 0.75],
      [...line, 0.5],
      [...accent, 0.95],
      [...warn, 0.95],
      [...colour("--text"), 1],
    ],
    line,
    needs: accent,
    neededBy: warn,
  };
}

function readTextColours(): { text: string; ground: string } {
  const style = getComputedStyle(document.documentElement);
  return { text: style.getPropertyValue("--text"), ground: style.getPropertyValue("--ground") };
}

// colour returns a colour of the palette, which has the form #rrggbb.
function colour(name: string): [number, number, number] {
  const text = getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  return [1, 3, 5].map((at) => parseInt(text.slice(at, at + 2), 16) / 255) as [number, number, number];
}

let font = "";

function getFont(): string {
  return (font ||= getComputedStyle(document.body).fontFamily);
}
