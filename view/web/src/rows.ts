// A table of any length: only the rows in sight exist. The table has the focus, and marks an active row, which the arrow
// keys move.
import { h, replace } from "./dom.ts";

export interface RowsOptions {
  label: string;
  count: number;
  header: HTMLElement[];
  cells: (row: number) => HTMLElement[];
  open: (row: number) => void; // a click, or Enter on the active row
  signal: AbortSignal;
}

const rowHeight = 30; // as in style.css
const spareRows = 8; // above and below those in sight

let lastId = 0;

export class Rows {
  readonly element: HTMLElement;
  private readonly body = h("div", { class: "body", role: "rowgroup" });
  private readonly scroller: HTMLElement;
  private readonly id = `rows${lastId++}`;
  private active = 0;
  private first = -1;
  private last = -1;
  private pending = 0;

  constructor(private readonly options: RowsOptions) {
    this.scroller = h("div", { class: "scroller" }, this.body);
    this.element = h(
      "div",
      {
        class: "rows",
        role: "grid",
        tabindex: 0,
        "aria-label": options.label,
        "aria-rowcount": options.count + 1,
        "aria-colcount": options.header.length,
        on: { keydown: (event) => this.onKey(event) },
      },
      h("div", { role: "rowgroup" }, h("div", { class: "row head", role: "row", "aria-rowindex": 1 }, ...options.header)),
      this.scroller,
    );
    this.body.style.height = `${options.count * rowHeight}px`;
    this.scroller.addEventListener("scroll", () => this.schedule(), { passive: true, signal: options.signal });
    const resized = new ResizeObserver(() => this.schedule());
    resized.observe(this.scroller);
    options.signal.addEventListener("abort", () => resized.disconnect());
  }

  private schedule(): void {
    if (this.pending) return;
    this.pending = requestAnimationFrame(() => {
      this.pending = 0;
      this.render();
    });
  }

  // render shows the rows in sight.
  render(force = false): void {
    const { count, cells, open } = this.options;
    const first = Math.max(0, Math.floor(this.scroller.scrollTop / rowHeight) - spareRows);
    const last = Math.min(count, Math.ceil((this.scroller.scrollTop + this.scroller.clientHeight) / rowHeight) + spareRows);
    if (!force && first === this.first && last === this.last) return;
    [this.first, this.last] = [first, last];
    const rows: HTMLElement[] = [];
    for (let row = first; row < last; row++) {
      const element = h(
        "div",
        { class: "row", role: "row", id: `${this.id}-${row}`, "aria-rowindex": row + 2, on: { click: () => open(row) } },
        ...cells(row),
      );
      element.style.transform = `translateY(${row * rowHeight}px)`;
      if (row === this.active) element.classList.add("active");
      rows.push(element);
    }
    replace(this.body, ...rows);
    this.element.setAttribute("aria-activedescendant", `${this.id}-${this.active}`);
  }

  private onKey(event: KeyboardEvent): void {
    if (event.target !== this.element || event.ctrlKey || event.metaKey || event.altKey) return;
    const page = Math.max(1, Math.floor(this.scroller.clientHeight / rowHeight) - 1);
    const moves: Record<string, number> = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity };
    if (event.key === "Enter") {
      if (this.options.count > 0) this.options.open(this.active);
    } else if (event.key in moves) {
      this.activate(this.active + moves[event.key]!);
    } else {
      return;
    }
    event.preventDefault();
  }

  private activate(row: number): void {
    this.active = Math.max(0, Math.min(this.options.count - 1, row));
    const top = this.active * rowHeight;
    const { scrollTop, clientHeight } = this.scroller;
    if (top < scrollTop) this.scroller.scrollTop = top;
    else if (top + rowHeight > scrollTop + clientHeight) this.scroller.scrollTop = top + rowHeight - clientHeight;
    this.render(true);
  }
}
