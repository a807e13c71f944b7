package viewtest

import (
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"pix/storepath"
	"pix/view"
)

// newSmall returns a small store.
func newSmall(t testing.TB) *Small {
	t.Helper()
	s, err := NewSmall(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// text returns the text of an element.
func (b *tab) text(selector string) string {
	b.t.Helper()
	return eval[string](b, fmt.Sprintf("document.querySelector(%q)?.innerText ?? ''", selector))
}

// Every view shows what it is for, in every size and both colour schemes, without an error and without a request to
// another machine.
func TestViews(t *testing.T) {
	small := newSmall(t)
	small.SetBuild("buildPhase")
	srv := serve(t, small)
	b := open(t)
	b.load(srv)
	app := "#/path/" + small.App.Base()
	for _, size := range []struct {
		name          string
		width, height int64
		scheme        string
	}{{"light", 1280, 800, "light"}, {"dark", 1280, 800, "dark"}, {"phone", 390, 780, "light"}} {
		b.emulate(size.width, size.height, size.scheme)
		for _, v := range []struct{ name, hash, ready, want string }{
			{"paths", "#/paths", ".body .row", "app-1.0"},
			{"search", "#/paths?q=lib", ".body .row", "1 path of 4"},
			{"treemap", "#/treemap", ".tile", "added size"},
			{"graph", "#/graph/" + small.App.Base(), ".card a", "app-1.0"},
			{"compare", fmt.Sprintf("#/compare?before=%s&after=%s", small.Lib, small.App), ".diff tbody tr", "not there"},
			{"builds", "#/builds", ".build", "1 build running"},
			{"neighbours", app, ".layered .box", "Needs 2 paths"},
			{"why", "#/path/" + small.Lib.Base() + "?show=why", ".chain li", "All chains"},
			{"kept", app + "?show=kept", ".chain li", "1 root keeps it"},
			{"derivation", "#/path/" + small.Drv.Base() + "?show=derivation", "pre", "Environment"},
			{"record", app + "?show=record", ".plain", "NAR hash"},
			{"derivation-steps", "#/path/" + small.Drv.Base() + "?show=derivation", ".steps .result", "How its paths are computed"},
			{"record-steps", app + "?show=record", ".steps .result", "How its signatures are verified"},
			{"docs", "#/docs", ".docs-page li", "Documentation of pix"},
			{"docs-page", "#/docs/store-paths", ".docs-page h2", "fingerprint"},
			{"docs-section", "#/docs/garbage-collection?at=roots", "#docs-roots", "Roots"},
			{"docs-found", "#/docs?q=why+is+a+path+not+deleted", ".docs-found li", "best ones first"},
		} {
			b.goTo(v.hash)
			b.wait(fmt.Sprintf("document.querySelector('main %s') !== null", v.ready))
			if text := b.text("main"); !strings.Contains(text, v.want) {
				t.Errorf("%s: the page does not have %q:\n%s", v.name, v.want, text)
			}
			if wide := eval[bool](b, "document.documentElement.scrollWidth > innerWidth"); wide {
				t.Errorf("%s, %s: the page is wider than the window", v.name, size.name)
			}
			b.screenshot(v.name + "-" + size.name)
		}
	}
	if eval[bool](b, "'hacked' in window") {
		t.Error("a text of the store was run")
	}
}

// Hostile texts are shown as text, with invisible characters as escapes.
func TestHostileTexts(t *testing.T) {
	small := newSmall(t)
	small.SetBuild("install" + Hostile)
	srv := serve(t, small, small.App, small.Drv)
	b := open(t)
	b.load(srv)
	const escaped = `\u{2028}\u{2029}\u{202e}\u{2066}\u{200b}\u{1b}[31m"'&${hacked=1}`
	for hash, ready := range map[string]string{
		"#/builds": ".build",
		"#/path/" + small.App.Base() + "?show=kept":       ".chain li",
		"#/path/" + small.Drv.Base() + "?show=derivation": ".steps pre",
	} {
		b.goTo(hash)
		b.wait(fmt.Sprintf("document.querySelector('main %s') !== null", ready))
		text := b.text("main")
		if !strings.Contains(text, `<img src=x onerror=hacked=1>`+escaped) {
			t.Errorf("%s: the hostile text is not shown as it is:\n%s", hash, text)
		}
		if strings.ContainsAny(text, "\u2028\u2029\u202e\u2066\u200b\x1b") {
			t.Errorf("%s: the page has invisible characters:\n%q", hash, text)
		}
	}

	// The files in which a reference stands.
	b.goTo("#/path/" + small.App.Base())
	b.wait("document.querySelector('.path-list button') !== null")
	eval[any](b, fmt.Sprintf("[...document.querySelectorAll('.path-list li')].find((li) => li.innerText.includes(%q)).querySelector('button').click(); null", small.Lib.Name()))
	b.wait("document.querySelector('.files li') !== null")
	if text := b.text(".files"); text != "/src=x onerror=hacked=1\n/\\u{202e}exe.app" {
		t.Errorf("the files are %q", text)
	}

	// An error of the store.
	b.goTo("#/path/" + small.Lib.Base() + "?show=derivation")
	b.wait("document.querySelector('[role=alert]') !== null")
	b.expectProblem("404")
	if eval[bool](b, "'hacked' in window || document.querySelector('main img, main script') !== null") {
		t.Error("a text of the store became markup")
	}
}

// The documentation needs no store, and is shown at the section that follows the token in the address.
func TestDocs(t *testing.T) {
	srv := httptest.NewUnstartedServer(nil)
	origin := "http://" + srv.Listener.Addr().String()
	h, err := view.NewDocs(&view.Options{Origin: origin, Name: "documentation"})
	if err != nil {
		t.Fatal(err)
	}
	srv.Config.Handler = h
	srv.Start()
	t.Cleanup(srv.Close)
	b := open(t)
	b.do(chromedp.Navigate(origin + "/#token=" + h.NewToken() + view.DocsAddress("garbage-collection", "roots", "")))
	b.wait("document.querySelector('#docs-roots') !== null")
	if at := eval[string](b, "location.href"); at != origin+"/#/docs/garbage-collection?at=roots" {
		t.Errorf("the address is %s", at)
	}
	if top := eval[float64](b, "document.querySelector('#docs-roots').getBoundingClientRect().top"); top < 0 || top > 200 {
		t.Errorf("the section is at %v", top)
	}
	if tabs := b.text("header .tabs"); tabs != "Docs" {
		t.Errorf("the views are %q", tabs)
	}
	b.key("/")
	b.do(chromedp.KeyEvent("base 32"))
	b.wait("document.querySelector('.docs-found li') !== null")
	eval[any](b, "document.querySelector('.docs-found a').click(); null")
	b.wait("document.querySelector('.docs-page h1') !== null && document.querySelector('.docs-found') === null")
	eval[any](b, "history.back(); null")
	b.wait("document.querySelector('.docs-found li') !== null")
	b.screenshot("docs-alone")
}

// The right to read survives a reload, but no address opens the page twice, and the address shows no token.
func TestSession(t *testing.T) {
	srv := serve(t, newSmall(t))
	b := open(t)
	address := srv.address()
	b.do(chromedp.Navigate(address))
	b.wait("document.querySelector('.body .row') !== null")
	if at := eval[string](b, "location.href"); strings.Contains(at, "token") {
		t.Errorf("the address is %s", at)
	}
	b.do(chromedp.Reload())
	b.wait("document.querySelector('.body .row') !== null")
	eval[any](b, "sessionStorage.clear(); null")
	for _, again := range []string{srv.URL + "/", address} {
		b.do(chromedp.Navigate("about:blank"), chromedp.Navigate(again))
		b.wait("document.querySelector('[role=alert]') !== null")
		if text := b.text("body"); strings.Contains(text, "app-1.0") {
			t.Errorf("%s shows the store:\n%s", again, text)
		}
	}
	b.expectProblem("403") // the last message
	b.expectProblem("401") // two messages
}

// A running build appears, changes and ends without a reload.
func TestBuilds(t *testing.T) {
	small := newSmall(t)
	srv := serve(t, small)
	b := open(t)
	b.load(srv)
	b.goTo("#/builds")
	b.wait("document.querySelector('main').innerText.includes('No builds are running')")
	small.SetBuild("unpackPhase")
	b.wait("document.querySelector('main').innerText.includes('unpackPhase')")
	small.SetBuild("checkPhase")
	b.wait("document.querySelector('main').innerText.includes('checkPhase')")
	small.SetBuild("")
	b.wait("document.querySelector('main').innerText.includes('No builds are running')")
}

// An exported file needs no server, and does not run what the store says.
func TestExport(t *testing.T) {
	small := newSmall(t)
	var page strings.Builder
	if err := view.Export(t.Context(), &page, small, &view.Options{Name: Hostile, Roots: []storepath.Path{small.App}}); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "export.html")
	if err := os.WriteFile(file, []byte(page.String()), 0o666); err != nil {
		t.Fatal(err)
	}
	b := open(t)
	b.do(chromedp.Navigate("file://" + file))
	b.wait("document.querySelector('.body .row') !== null")
	if got := b.text(".store strong"); !strings.HasPrefix(got, "</script><script>hacked=1") {
		t.Errorf("the name is %q", got)
	}
	for hash, ready := range map[string]string{"#/treemap": ".tile", "#/graph/" + small.App.Base(): ".card a", "#/path/" + small.App.Base(): ".path-list li"} {
		b.goTo(hash)
		b.wait(fmt.Sprintf("document.querySelector('main %s') !== null", ready))
		b.screenshot("export-" + strings.Split(hash, "/")[1])
	}
	if eval[bool](b, "'hacked' in window") {
		t.Error("a text of the store was run")
	}
	for _, u := range b.requests {
		if u != "file://"+file {
			t.Errorf("a request for %s", u)
		}
	}
}
