// The frame around the views: the name of the store, the tabs and the search.
import { connection } from "./connection.ts";
import { h, replace } from "./dom.ts";
import { address, currentRoute, go } from "./route.ts";
import { count, counted, errorText, size, visible } from "./text.ts";
import type { Context, View } from "./view.ts";

export class Shell {
  private readonly views: View[];
  private readonly main = h("main", { id: "main", tabindex: -1 });
  private readonly tabs = h("nav", { class: "tabs", "aria-label": "Views" });
  private readonly search: HTMLInputElement;
  private shown = false;
  private leave = new AbortController();

  constructor(
    private readonly app: Element,
    private readonly context: Context,
    views: View[],
  ) {
    this.views = views.filter((view) => view.available(context));
    this.search = h("input", {
      type: "search",
      placeholder: `Search ${count(context.closure.length)} paths`,
      "aria-label": "Search the paths by name or hash",
      spellcheck: "false",
      autocomplete: "off",
      on: { input: () => this.onSearch() },
    });
  }

  start(): void {
    const { summary } = this.context;
    const facts = summary.hasClosure ? `${counted(summary.paths, "path")}, ${size(summary.narSize)}` : "";
    replace(
      this.app,
      h(
        "header",
        {},
        h("a", { class: "store", href: address(this.views[0]!.name) }, h("strong", {}, visible(summary.name || summary.storeDir)), h("span", { class: "muted" }, facts)),
        summary.hasClosure && h("div", { class: "search", role: "search", "aria-label": "Paths" }, this.search),
        this.tabs,
      ),
      this.context.live && connection(() => this.onServerBack()),
      this.main,
    );
    addEventListener("hashchange", () => this.show());
    addEventListener("keydown", (event) => {
      if (event.key === "/" && !(event.target instanceof HTMLInputElement) && !event.ctrlKey && !event.metaKey && !event.altKey) {
        event.preventDefault();
        (summary.hasClosure ? this.search : this.main.querySelector<HTMLElement>("input[type=search]"))?.focus();
      }
    });
    this.show();
  }

  // onServerBack shows the view again if it failed while the server did not answer.
  private onServerBack(): void {
    if (this.main.querySelector("[role=alert]")) this.show();
  }

  // onSearch shows the paths that the text finds. The address changes without a new entry in the history for each letter.
  private onSearch(): void {
    const { view, query } = currentRoute();
    const parameters = view === "paths" ? Object.fromEntries(query) : {};
    if (this.search.value) parameters.q = this.search.value;
    else delete parameters.q;
    const to = address("paths", "", parameters);
    if (view !== "paths") {
      go(to); // so that Back returns to the other view
      return;
    }
    history.replaceState(null, "", to);
    this.show();
  }

  // show shows the view of the current address.
  private show(): void {
    const route = currentRoute();
    const view = this.views.find((v) => v.name === route.view) ?? this.views[0]!;
    this.leave.abort();
    this.leave = new AbortController();
    const { signal } = this.leave;
    document.title = `${view.title} \u2013 pix view`;
    this.main.setAttribute("aria-label", view.title);
    replace(
      this.tabs,
      ...this.views.filter((v) => v.inTabs).map((v) => h("a", { href: address(v.name), "aria-current": v === view ? "page" : undefined }, v.title)),
    );
    this.tabs.querySelector("[aria-current]")?.scrollIntoView({ block: "nearest", inline: "nearest" });
    if (document.activeElement !== this.search) this.search.value = route.view === "paths" ? (route.query.get("q") ?? "") : "";
    replace(this.main);
    const fail = (error: unknown) => {
      if (signal.aborted) return;
      this.main.append(h("p", { class: "notice", role: "alert" }, errorText(error)));
    };
    // The element that had the focus is gone, so the focus moves to the view. A screen reader reads it there.
    const lost = document.activeElement === document.body && this.shown;
    this.shown = true;
    try {
      Promise.resolve(view.show(this.main, this.context, route, signal)).catch(fail);
    } catch (error) {
      fail(error);
    }
    if (lost) this.main.focus({ preventScroll: true });
  }
}
