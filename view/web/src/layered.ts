// A part of the closure as a picture in layers: a path is to the right of every path that refers to it. The server has
// computed the layers and the heights; the widths follow from the names.
import { nameOf, type Closure } from "./closure.ts";
import { svg } from "./dom.ts";
import { textMeasure } from "./measure.ts";
import { size } from "./text.ts";

// A GraphJSON is a graph in an answer of the server.
export interface GraphJSON {
  vertices: VertexJSON[];
  simplified: boolean;
}

export interface VertexJSON {
  path?: string; // missing for a waypoint
  layer: number;
  y: number;
  to: number[];
  moreReferrers?: number;
  moreReferences?: number;
}

export interface LayeredOptions {
  label: string; // for screen readers
  current: string; // the path that stands out, as the last element
  open: (base: string) => void;
}

const boxHeight = 22;
const margin = 20;
const gap = 64; // between two layers, for the bends of edges
const padding = 8;
const longest = 44; // characters of a name

interface Box {
  vertex: number;
  base: string;
  element: SVGGElement;
  layer: number;
  y: number;
}

// layered returns the picture.
export function layered(graph: GraphJSON, closure: Closure, options: LayeredOptions): SVGSVGElement {
  return new Picture(graph, closure, options).draw();
}

class Picture {
  private readonly left: number[] = [];
  private readonly right: number[] = [];
  private readonly widths: number[];
  private readonly boxes: Box[] = [];
  private readonly edgesOf = new Map<number, SVGElement[]>(); // by vertex, for paths
  private height = 0;

  constructor(
    private readonly graph: GraphJSON,
    private readonly closure: Closure,
    private readonly options: LayeredOptions,
  ) {
    const measure = textMeasure();
    this.widths = graph.vertices.map((v) => (v.path === undefined ? 0 : 3 * padding + measure(this.name(v.path), 12) + measure(this.size(v.path), 11)));
  }

  private name(base: string): string {
    const name = nameOf(base);
    return name.length <= longest ? name : name.slice(0, longest / 2 - 1) + "\u2026" + name.slice(-longest / 2);
  }

  private size(base: string): string {
    const i = this.closure.find(base);
    return i < 0 ? "" : size(this.closure.sizes[i]!);
  }

  draw(): SVGSVGElement {
    const layers = Math.max(...this.graph.vertices.map((v) => v.layer), 0) + 1;
    const widest = new Array<number>(layers).fill(0);
    this.graph.vertices.forEach((v, i) => {
      widest[v.layer] = Math.max(widest[v.layer]!, this.widths[i]!);
      this.height = Math.max(this.height, v.y);
    });
    let x = margin + 24;
    for (const width of widest) {
      this.left.push(x);
      this.right.push(x + width);
      x += width + gap;
    }
    const total = { width: x - gap + margin + 24, height: this.height + boxHeight + 2 * margin };
    const edges = svg("g", { class: "edges" });
    this.graph.vertices.forEach((v, from) => {
      for (const to of v.to) edges.append(this.edge(from, to));
    });
    this.joinEdges();
    const boxes = svg("g");
    this.graph.vertices.forEach((v, i) => {
      if (v.path !== undefined) boxes.append(this.box(i, v, v.path));
    });
    const picture = svg("svg", { class: "layered", width: total.width, height: total.height, viewBox: `0 0 ${total.width} ${total.height}`, role: "group", "aria-label": this.options.label }, edges, boxes);
    this.boxes.sort((a, b) => a.layer - b.layer || a.y - b.y);
    this.boxes.forEach((box) => box.element.addEventListener("keydown", (event) => this.onKey(event, box)));
    (this.boxes.find((b) => b.base === this.options.current) ?? this.boxes[0])?.element.setAttribute("tabindex", "0");
    return picture;
  }

  private readonly segments = new Map<string, SVGElement>();

  // edge returns a part of an edge: a curve that begins and ends horizontally. All edges to a path share its waypoints.
  private edge(from: number, to: number): SVGElement {
    const [a, b] = [this.graph.vertices[from]!, this.graph.vertices[to]!];
    const start = a.path === undefined ? this.right[a.layer]! : this.left[a.layer]! + this.widths[from]!;
    const end = this.left[b.layer]!;
    const bendFrom = Math.max(start, this.right[b.layer - 1] ?? start);
    const bend = (end - bendFrom) / 2;
    const [y, toY] = [a.y + margin, b.y + margin];
    let d = `M${start} ${y}H${bendFrom}C${bendFrom + bend} ${y} ${end - bend} ${toY} ${end} ${toY}`;
    d += b.path === undefined ? `H${this.right[b.layer]!}` : "l-5 -3m5 3l-5 3";
    const path = svg("path", { class: "edge", d });
    this.segments.set(`${from} ${to}`, path);
    return path;
  }

  // joinEdges finds for each path the parts of its edges, which lead through waypoints.
  private joinEdges(): void {
    const { vertices } = this.graph;
    const into = new Map<number, number[]>();
    vertices.forEach((v, from) => v.to.forEach((to) => into.set(to, [...(into.get(to) ?? []), from])));
    vertices.forEach((v, start) => {
      if (v.path === undefined) return;
      const parts: SVGElement[] = [];
      const follow = (from: number, to: number, next: (at: number) => number[], forward: boolean): void => {
        parts.push(this.segments.get(forward ? `${from} ${to}` : `${to} ${from}`)!);
        if (vertices[to]!.path === undefined) next(to).forEach((further) => follow(to, further, next, forward));
      };
      v.to.forEach((to) => follow(start, to, (at) => vertices[at]!.to, true));
      (into.get(start) ?? []).forEach((from) => follow(start, from, (at) => into.get(at) ?? [], false));
      this.edgesOf.set(start, parts);
    });
  }

  private box(vertex: number, v: VertexJSON, base: string): SVGElement {
    const x = this.left[v.layer]!;
    const width = this.widths[vertex]!;
    const y = v.y + margin - boxHeight / 2;
    const isCurrent = base === this.options.current;
    const hidden = [v.moreReferrers ? `${v.moreReferrers} more paths need it` : "", v.moreReferences ? `it needs ${v.moreReferences} more paths` : ""].filter(Boolean).join("; ");
    const element = svg(
      "g",
      { class: isCurrent ? "box current" : "box", role: "link", tabindex: "-1", "aria-label": `${nameOf(base)}, ${this.size(base)}${hidden ? "; " + hidden : ""}` },
      svg("title", {}, `${this.closure.storeDir}/${base}`),
      svg("rect", { x, y, width, height: boxHeight, rx: 4 }),
      svg("text", { x: x + padding, y: y + 15 }, this.name(base)),
      svg("text", { class: "size", x: x + width - padding, y: y + 15, "text-anchor": "end" }, this.size(base)),
      v.moreReferrers ? svg("text", { class: "more", x: x - 6, y: y + 15, "text-anchor": "end" }, `+${v.moreReferrers}`) : null,
      v.moreReferences ? svg("text", { class: "more", x: x + width + 6, y: y + 15 }, `+${v.moreReferences}`) : null,
    );
    const light = (on: boolean) => () => this.edgesOf.get(vertex)?.forEach((edge) => edge.classList.toggle("lit", on));
    element.addEventListener("click", () => this.options.open(base));
    element.addEventListener("pointerenter", light(true));
    element.addEventListener("pointerleave", light(false));
    element.addEventListener("focus", light(true));
    element.addEventListener("blur", light(false));
    this.boxes.push({ vertex, base, element, layer: v.layer, y: v.y });
    return element;
  }

  // onKey moves the focus with the arrow keys: within a layer, or to the nearest path of the next one.
  private onKey(event: KeyboardEvent, box: Box): void {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    let to: Box | undefined;
    const at = this.boxes.indexOf(box);
    switch (event.key) {
      case "Enter":
      case " ":
        this.options.open(box.base);
        break;
      case "ArrowDown":
        to = this.boxes[at + 1]?.layer === box.layer ? this.boxes[at + 1] : undefined;
        break;
      case "ArrowUp":
        to = this.boxes[at - 1]?.layer === box.layer ? this.boxes[at - 1] : undefined;
        break;
      case "ArrowLeft":
        to = this.nearest(box, -1);
        break;
      case "ArrowRight":
        to = this.nearest(box, 1);
        break;
      default:
        return;
    }
    event.preventDefault();
    if (!to) return;
    box.element.setAttribute("tabindex", "-1");
    to.element.setAttribute("tabindex", "0");
    to.element.focus();
  }

  private nearest(box: Box, direction: number): Box | undefined {
    for (let layer = box.layer + direction; layer >= 0 && layer < this.left.length; layer += direction) {
      const there = this.boxes.filter((b) => b.layer === layer);
      if (there.length > 0) return there.reduce((best, b) => (Math.abs(b.y - box.y) < Math.abs(best.y - box.y) ? b : best));
    }
    return undefined;
  }
}
