package viewtest

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/chromedp/cdproto/accessibility"
	"github.com/chromedp/chromedp"

	"pix/view"
)

// views are the addresses of all views of the small store, with a selector of an element that is there when the view is
// complete.
func (s *Small) views() map[string]string {
	app := "#/path/" + s.App.Base()
	return map[string]string{
		"#/paths":                              ".body .row",
		"#/treemap":                            ".tile",
		"#/graph/" + s.App.Base():              ".card a",
		"#/builds":                             ".build",
		app:                                    ".layered .box",
		app + "?show=kept":                     ".chain li",
		app + "?show=record":                   ".steps .result",
		"#/docs":                               ".docs-page li",
		"#/docs?q=roots":                       ".docs-found li",
		"#/docs/store-paths":                   ".docs-page h2",
		"#/treemap/missing":                    "[role=alert]",
		"#/path/" + s.Lib.Base() + "?show=why": ".chain li",
		"#/path/" + s.Drv.Base() + "?show=derivation":             ".steps .result",
		fmt.Sprintf("#/compare?before=%s&after=%s", s.Lib, s.App): ".diff tbody tr",
	}
}

// controls are the roles of the accessibility tree that need a name, so that a screen reader can say what they do.
var controls = []string{"button", "link", "textbox", "searchbox", "combobox", "listbox", "option", "grid", "navigation", "search", "application", "main", "columnheader", "rowheader", "DisclosureTriangle", "group", "list"}

// unnamed may have no name: their contents say it.
var unnamed = []string{"group", "list"}

// Every control has a name and can be reached with keys, the current view and the headers of tables are marked, and texts
// have the contrast that WCAG asks for, in both colour schemes.
func TestAccessibility(t *testing.T) {
	small := newSmall(t)
	small.SetBuild("buildPhase")
	srv := serve(t, small, small.App, small.Drv)
	b := open(t)
	b.load(srv)
	seen := make(map[string]int)
	for hash, ready := range small.views() {
		b.goTo(hash)
		b.wait(fmt.Sprintf("document.querySelector('main %s') !== null", ready))
		tree, err := chromedp.Call(b.ctx, accessibility.GetFullAXTree, accessibility.GetFullAXTreeParams{})
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range tree.Nodes {
			role, name := axText(n.Role), axText(n.Name)
			seen[role]++
			if !n.Ignored && slices.Contains(controls, role) && !slices.Contains(unnamed, role) && strings.TrimSpace(name) == "" {
				t.Errorf("%s: a %s has no name", hash, role)
			}
		}
		if n := eval[int](b, "document.querySelectorAll('header nav [aria-current=page]').length"); n != 1 && !strings.HasPrefix(hash, "#/path/") {
			t.Errorf("%s: %d views are marked as the current one", hash, n)
		}
		if n := eval[int](b, "document.getAnimations().length"); n > 0 {
			t.Errorf("%s: %d animations run", hash, n)
		}
		b.checkReachable(hash)
		for _, scheme := range []string{"light", "dark"} {
			b.emulate(1280, 800, scheme)
			if low := eval[[]string](b, lowContrast); len(low) > 0 {
				t.Errorf("%s, %s: texts have a low contrast: %q", hash, scheme, low)
			}
		}
	}
	for _, role := range []string{"columnheader", "rowheader", "grid", "row", "gridcell", "navigation", "main", "combobox", "searchbox", "button", "link"} {
		if seen[role] == 0 {
			t.Errorf("no element has the role %s", role)
		}
	}
}

// axText returns the text of a value in the accessibility tree.
func axText(v *accessibility.Value) string {
	if v == nil {
		return ""
	}
	return strings.Trim(string(v.Value), `"`)
}

// lowContrast returns the texts in sight whose contrast with the colour behind them is below 4.5. The colour behind a text
// in a picture is the one of the rectangle before it.
const lowContrast = `(() => {
	const parse = (text) => {
		const [r, g, b, a = 1] = (text.match(/[\d.]+/g) ?? [0, 0, 0, 0]).map(Number);
		return { rgb: [r, g, b], a };
	};
	const mix = (top, under) => top.rgb.map((c, i) => c * top.a + under[i] * (1 - top.a));
	const luminance = (rgb) => rgb.map((c) => c / 255).map((c) => (c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)).reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
	const behind = (element) => {
		const layers = [];
		for (let e = element; e; e = e.parentElement) {
			const rect = e instanceof SVGGElement ? e.querySelector(":scope > rect") : null;
			layers.push(parse(rect ? getComputedStyle(rect).fill : e instanceof SVGElement ? "" : getComputedStyle(e).backgroundColor));
		}
		return layers.reverse().reduce((under, top) => mix(top, under), [255, 255, 255]);
	};
	const found = new Set();
	const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
	for (let n = walker.nextNode(); n; n = walker.nextNode()) {
		const e = n.parentElement;
		if (!n.data.trim() || !e.checkVisibility() || e.localName === "title" || e.localName === "script") continue;
		const style = getComputedStyle(e);
		const under = behind(e);
		let opacity = 1;
		for (let p = e; p; p = p.parentElement) opacity *= Number(getComputedStyle(p).opacity);
		const colour = parse(e instanceof SVGElement ? style.fill : style.color);
		const over = mix({ rgb: colour.rgb, a: colour.a * opacity }, under);
		const [dark, light] = [luminance(over), luminance(under)].sort((a, b) => a - b);
		const ratio = (light + 0.05) / (dark + 0.05);
		if (ratio < 4.5) found.add(ratio.toFixed(2) + " " + n.data.slice(0, 40));
	}
	for (const input of document.querySelectorAll("input")) {
		const under = behind(input);
		const [dark, light] = [luminance(parse(getComputedStyle(input, "::placeholder").color).rgb), luminance(under)].sort((a, b) => a - b);
		if ((light + 0.05) / (dark + 0.05) < 4.5) found.add("placeholder " + input.placeholder);
	}
	return [...found];
})()`

// The page is as wide as the windows of small phones, and of the browser at 200 %.
func TestSmallWindows(t *testing.T) {
	small := newSmall(t)
	small.SetBuild("buildPhase")
	srv := serve(t, small, small.App, small.Drv)
	b := open(t)
	b.load(srv)
	for _, size := range [][2]int64{{320, 640}, {640, 400}} {
		b.emulate(size[0], size[1], "light")
		for hash, ready := range small.views() {
			b.goTo(hash)
			b.wait(fmt.Sprintf("document.querySelector('main %s') !== null", ready))
			if wide := eval[string](b, `(() => {
				const main = document.querySelector("main");
				if (document.documentElement.scrollWidth > innerWidth || main.scrollWidth > main.clientWidth) return "the page is wider than the window";
				const cut = [...document.querySelectorAll(".tabs a, .rows .head a")].find((a) => a.getBoundingClientRect().right > innerWidth + 1);
				return cut ? cut.innerText + " is cut off" : "";
			})()`); wide != "" {
				t.Errorf("%s in %v: %s", hash, size, wide)
			}
		}
	}
}

// On a phone the list of the documentation is closed, so that the page begins in the upper half of the window.
func TestDocsOnPhone(t *testing.T) {
	b := open(t)
	b.emulate(360, 640, "light")
	small := newSmall(t)
	b.load(serve(t, small, small.App))
	b.goTo("#/docs/store-paths")
	b.wait("document.querySelector('.docs-page h2') !== null")
	const top, listed = "document.querySelector('.docs-page h1').getBoundingClientRect().top", "document.querySelector('.docs-contents a').checkVisibility()"
	if y := eval[float64](b, top); y > 320 || eval[bool](b, listed) {
		t.Errorf("the page begins at %v", y)
	}
	b.screenshot("docs-phone")
	eval[any](b, "document.querySelector('.docs-fold summary').click(); null")
	b.wait(listed)
	b.emulate(1280, 800, "light")
	b.wait(listed + " && !document.querySelector('.docs-fold summary').checkVisibility()")
}

// checkReachable checks that the Tab key reaches every control. In a picture it reaches one element, from which the arrow
// keys lead to the others.
func (b *tab) checkReachable(hash string) {
	b.t.Helper()
	const controls = `[...document.querySelectorAll("a[href], button, input, summary, [tabindex='0']")].filter((e) => e.checkVisibility())`
	if wrong := eval[string](b, controls+`.find((e) => e.tabIndex !== 0)?.outerHTML ?? ""`); wrong != "" {
		b.t.Errorf("%s: the Tab key does not reach %s", hash, wrong)
	}
	const pictures = `[...document.querySelectorAll("svg [role=link], canvas:not([aria-hidden])")]`
	if wrong := eval[string](b, pictures+`.find((e) => e.closest("svg")?.querySelector("[tabindex='0']") == null && e.tabIndex < 0)?.outerHTML ?? ""`); wrong != "" {
		b.t.Errorf("%s: no key reaches %s", hash, wrong)
	}
}

// A store with very many paths that nothing needs has a treemap, in which the small ones are together.
func TestUnrelatedPaths(t *testing.T) {
	srv := serve(t, Unrelated(3000))
	b := open(t)
	b.load(srv)
	b.goTo("#/treemap")
	b.wait("document.querySelector('.tile') !== null")
	for _, want := range []string{"unrelated-0", "2,999 smaller paths"} {
		if text := eval[string](b, "document.querySelector('.treemap').textContent"); !strings.Contains(text, want) {
			t.Errorf("the treemap does not have %q: %s", want, text)
		}
	}
}

// The page says that the server is gone, goes on when it is back, and must be opened again if it is another one.
func TestServerStops(t *testing.T) {
	small := newSmall(t)
	var current atomic.Pointer[view.Handler] // nil while there is no server
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := current.Load()
		if h == nil {
			panic(http.ErrAbortHandler)
		}
		h.ServeHTTP(w, r)
	}))
	t.Cleanup(srv.Close)
	newHandler := func() *view.Handler {
		h, err := view.New(t.Context(), small, &view.Options{Origin: srv.URL})
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	first := newHandler()
	b := open(t)
	check := func(h *view.Handler, banner string) {
		t.Helper()
		current.Store(h)
		eval[any](b, "dispatchEvent(new Event('visibilitychange')); null")
		b.wait(fmt.Sprintf("(document.querySelector('.banner')?.innerText ?? 'no banner').includes(%q)", banner))
	}
	current.Store(first)
	b.load(&server{srv, first})
	check(first, "no banner")
	check(nil, "does not answer")
	b.goTo("#/path/" + small.App.Base() + "?show=record")
	b.wait("document.querySelector('main [role=alert]') !== null")
	check(first, "no banner")
	b.wait("document.querySelector('main .plain') !== null && document.querySelector('main [role=alert]') === null")
	check(nil, "does not answer")
	check(newHandler(), "must be opened again")

	b.do(chromedp.Navigate("about:blank")) // no request follows
	b.expectProblem("401")                 // comes after the other messages
	b.expectProblem("net::ERR_")
}

// A page of another site cannot show this one in a frame.
func TestFrame(t *testing.T) {
	srv := serve(t, newSmall(t))
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprintf(w, `<!DOCTYPE html><link rel="icon" href="data:,"><iframe src="%s" onload="framed = 1"></iframe>`, srv.address())
	}))
	t.Cleanup(site.Close)
	b := open(t)
	b.do(chromedp.Navigate(site.URL))
	b.wait("window.framed === 1")
	b.expectProblem("frame-ancestors")
	b.mu.Lock()
	defer b.mu.Unlock()
	asked := 0
	for _, u := range b.requests {
		if strings.HasPrefix(u, srv.URL+"/") {
			asked++
		}
	}
	if asked != 1 { // for the page, and not for its script
		t.Errorf("the frame sent %d requests: %q", asked, b.requests)
	}
}
