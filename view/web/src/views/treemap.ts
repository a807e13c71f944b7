// The added sizes as nested rectangles. A path contains the paths that would leave with it.
import type { Closure } from "../closure.ts";
import { h, replace, svg } from "../dom.ts";
import { shortened, textMeasure } from "../measure.ts";
import { address, go, type Route } from "../route.ts";
import { squarify, type Rect } from "../squarify.ts";
import { count, counted, size } from "../text.ts";
import type { Context, View } from "../view.ts";

const whole = -1; // the parent of the paths that no other path keeps out
const levels = 3;
const smallest = 10; // pixels; smaller rectangles become one
const padding = 3;
const titleHeight = 18;

export const treemap: View = {
  name: "treemap",
  title: "Treemap",
  inTabs: true,
  available: (context) => context.summary.hasClosure,
  show(main: HTMLElement, context: Context, route: Route, signal: AbortSignal): void {
    const { closure } = context;
    const named = route.path === "" ? whole : closure.require(route.path);
    const top = named === whole && closure.roots.length === 1 && route.path === "" ? closure.roots[0]! : named;
    const frame = h("div", { class: "treemap" });
    replace(
      main,
      h("p", { class: "explanation" }, "The area of a path is its added size: itself, and inside it everything that would leave with it. Paths that several others need are in the first one that contains all of these."),
      breadcrumbs(closure, top),
      frame,
    );
    const draw = () => {
      const { clientWidth, clientHeight } = frame;
      if (clientWidth > 0 && clientHeight > 0) replace(frame, new Treemap(closure, top, clientWidth, clientHeight).draw());
    };
    const observer = new ResizeObserver(draw);
    observer.observe(frame);
    signal.addEventListener("abort", () => observer.disconnect());
  },
};

// breadcrumbs returns links to the paths that contain a path.
function breadcrumbs(closure: Closure, top: number): HTMLElement {
  const way: number[] = [];
  for (let i = top; i !== whole; i = closure.dominators[i]!) way.unshift(i);
  const ends = closure.roots.length === 1 ? [] : [h("a", { href: address("treemap") }, "Everything")];
  const links = [...ends, ...way.map((i) => h("a", { href: address("treemap", closure.bases[i]!) }, closure.name(i)))];
  links[links.length - 1]?.setAttribute("aria-current", "true");
  return h("nav", { class: "breadcrumbs", "aria-label": "Containing paths" }, ...links, top !== whole && h("a", { class: "button", href: address("path", closure.bases[top]!) }, "Open path"));
}

// A Part is a rectangle to draw: a path with everything in it, or the rest that is too small.
interface Part {
  path: number;
  value: number;
  count: number; // of paths in the rest; 0 for a path
}

class Treemap {
  private readonly measure = textMeasure();
  private readonly items: { path: number; rect: Rect; element: SVGGElement }[] = [];

  constructor(
    private readonly closure: Closure,
    private readonly top: number,
    private readonly width: number,
    private readonly height: number,
  ) {}

  draw(): SVGSVGElement {
    const picture = svg("svg", { width: this.width, height: this.height, role: "group", "aria-label": "Added sizes" });
    this.fill(picture, this.top, { x: 0, y: 0, width: this.width, height: this.height }, 0);
    this.items[0]?.element.setAttribute("tabindex", "0");
    for (const item of this.items) item.element.addEventListener("keydown", (event) => this.onKey(event, item));
    return picture;
  }

  // fill draws the paths in a path into a rectangle.
  private fill(parent: SVGElement, path: number, into: Rect, level: number): void {
    const parts = this.parts(path, into);
    const rects = squarify(
      parts.map((p) => p.value),
      into,
    );
    parts.forEach((part, n) => {
      const rect = rects[n]!;
      if (rect.width < 1 || rect.height < 1) return;
      parent.append(this.element(part, rect, level, part.count === 0 && part.path === path));
    });
  }

  // parts returns the parts of a path, the largest one first: the paths in it, itself, and one for the small rest.
  private parts(path: number, into: Rect): Part[] {
    const { closure } = this;
    const all: Part[] = closure.dominated(path).map((i) => ({ path: i, value: closure.addedSizes[i]!, count: 0 }));
    if (path !== whole) all.push({ path, value: closure.sizes[path]!, count: 0 });
    const total = all.reduce((sum, p) => sum + p.value, 0);
    const least = (smallest * smallest * total) / (into.width * into.height);
    const shown = all.filter((p) => p.value > 0 && p.value >= least).sort((a, b) => b.value - a.value || a.path - b.path);
    const rest = all.filter((p) => p.value > 0 && p.value < least);
    if (rest.length > 0) shown.push({ path: whole, value: rest.reduce((sum, p) => sum + p.value, 0), count: rest.length });
    return shown.sort((a, b) => b.value - a.value || a.path - b.path);
  }

  private element(part: Part, rect: Rect, level: number, isSelf: boolean): SVGElement {
    const { closure } = this;
    const name = part.count > 0 ? `${counted(part.count, "smaller path")}` : isSelf ? "itself" : closure.name(part.path);
    const label = `${isSelf ? closure.name(part.path) + " " : ""}${name}, ${size(part.value)}`;
    const inner = part.count === 0 && !isSelf ? closure.dominated(part.path) : [];
    const kind = part.count > 0 ? "rest" : isSelf ? "self" : `level${level}`;
    const element = svg("g", { class: `tile ${kind}` }, svg("title", {}, part.count > 0 ? label : `${closure.path(part.path)}\n${label}`), svg("rect", { x: rect.x + 0.5, y: rect.y + 0.5, width: Math.max(0, rect.width - 1), height: Math.max(0, rect.height - 1), rx: 2 }));
    const room = rect.width - 2 * padding - 4;
    const titled = rect.height >= titleHeight && room >= 28;
    if (titled) element.append(...this.texts(name, size(part.value), rect, room));
    if (part.count === 0 && level === 0) {
      element.setAttribute("role", "link");
      element.setAttribute("tabindex", "-1");
      element.setAttribute("aria-label", inner.length > 0 ? `${label}, contains ${count(inner.length)}` : label);
      this.items.push({ path: isSelf ? this.top : part.path, rect, element });
    }
    if (part.count === 0) {
      element.addEventListener("click", (event) => {
        event.stopPropagation();
        this.open(part.path, isSelf || inner.length === 0);
      });
    }
    if (inner.length > 0 && level + 1 < levels && rect.width > 24 && rect.height > titleHeight + 12) {
      this.fill(element, part.path, { x: rect.x + padding, y: rect.y + (titled ? titleHeight : padding), width: rect.width - 2 * padding, height: rect.height - padding - (titled ? titleHeight : padding) }, level + 1);
    }
    return element;
  }

  // texts returns the texts of a rectangle: the name, and the size if there is room for both.
  private texts(name: string, bytes: string, rect: Rect, room: number): SVGTextElement[] {
    const width = (text: string) => this.measure(text, 11.5);
    const y = rect.y + 13.5;
    const left = rect.x + padding + 2;
    const texts = [svg("text", { x: left, y }, shortened(name, room, width))];
    if (width(name) + width(bytes) + 12 <= room) texts.push(svg("text", { class: "size", x: left + room, y, "text-anchor": "end" }, bytes));
    return texts;
  }

  private open(path: number, isLeaf: boolean): void {
    go(address(isLeaf ? "path" : "treemap", this.closure.bases[path]!));
  }

  // onKey moves the focus to the next rectangle in the direction of an arrow key.
  private onKey(event: KeyboardEvent, item: { path: number; rect: Rect; element: SVGGElement }): void {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Enter" || event.key === " ") {
      this.open(item.path, item.path === this.top || this.closure.dominated(item.path).length === 0);
    } else if (event.key === "Escape" || event.key === "Backspace") {
      if (this.top !== whole) {
        const up = this.closure.dominators[this.top]!;
        go(up === whole ? address("treemap") : address("treemap", this.closure.bases[up]!));
      }
    } else if (event.key.startsWith("Arrow")) {
      const to = this.neighbour(item.rect, event.key);
      if (to) {
        item.element.setAttribute("tabindex", "-1");
        to.element.setAttribute("tabindex", "0");
        to.element.focus();
      }
    } else {
      return;
    }
    event.preventDefault();
  }

  private neighbour(from: Rect, key: string): { element: SVGGElement } | undefined {
    const horizontal = key === "ArrowLeft" || key === "ArrowRight";
    const sign = key === "ArrowRight" || key === "ArrowDown" ? 1 : -1;
    const middle = (r: Rect) => ({ x: r.x + r.width / 2, y: r.y + r.height / 2 });
    const a = middle(from);
    let best: { element: SVGGElement } | undefined;
    let least = Infinity;
    for (const item of this.items) {
      const b = middle(item.rect);
      const along = sign * (horizontal ? b.x - a.x : b.y - a.y);
      const across = Math.abs(horizontal ? b.y - a.y : b.x - a.x);
      if (along > 0.5 && along + 2 * across < least) [best, least] = [item, along + 2 * across];
    }
    return best;
  }
}
