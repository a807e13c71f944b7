package viewtest

import (
	"context"
	"fmt"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"

	"pix/internal/testenv"
	"pix/store"
	"pix/storepath"
	"pix/view"
)

// waitTime is how long a test waits for the page. Only a test that fails takes so long.
const waitTime = 60 * time.Second

// chromium returns the program Chromium.
func chromium(t testing.TB) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if program, err := exec.LookPath(name); err == nil {
			return program
		}
	}
	testenv.Missing(t, "chromium", "Chromium is not installed, so the page is not tested in a browser")
	return ""
}

// A server serves the page about a store.
type server struct {
	*httptest.Server
	handler *view.Handler
}

func serve(t testing.TB, s store.Store, roots ...storepath.Path) *server {
	t.Helper()
	srv := httptest.NewUnstartedServer(nil)
	origin := "http://" + srv.Listener.Addr().String()
	h, err := view.New(t.Context(), s, &view.Options{Origin: origin, Name: "a store of a test", Roots: roots})
	if err != nil {
		t.Fatal(err)
	}
	srv.Config.Handler = h
	srv.Start()
	t.Cleanup(srv.Close)
	return &server{srv, h}
}

// address returns an address that opens the page once.
func (s *server) address() string { return s.URL + "/#token=" + s.handler.NewToken() }

// A tab is a tab of a browser that collects what must not happen.
type tab struct {
	t   testing.TB
	ctx context.Context

	mu       sync.Mutex
	problems []string // errors in the console, and requests that leave this machine
	requests []string
	changed  chan struct{} // has a token after a new problem
}

// open starts a browser with a tab. At the end of the test it checks that there were no problems.
func open(t testing.TB) *tab {
	t.Helper()
	program := chromium(t)
	opts := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(program), chromedp.NoSandbox, chromedp.WindowSize(1280, 800),
		// Machines without a graphics processor draw with the processor.
		chromedp.Flag("use-gl", "angle"), chromedp.Flag("use-angle", "swiftshader"), chromedp.Flag("enable-unsafe-swiftshader", true),
	)
	ctx, cancel := chromedp.NewExecAllocator(context.Background(), opts...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	b := &tab{t: t, ctx: ctx, changed: make(chan struct{}, 1)}
	if err := chromedp.Listen(ctx, b.onEvent); err != nil {
		t.Fatal(err)
	}
	console := chromedp.Console(ctx) // it has every message from now on
	go func() {
		for m, err := range console {
			if err != nil {
				return
			}
			if m.IsException() || m.Type == "error" || m.Type == "warning" {
				b.problem("the console has: %s", m)
			}
		}
	}()
	if _, err := chromedp.Call(ctx, network.Enable, network.EnableParams{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		for _, p := range b.problems {
			t.Error(p)
		}
	})
	return b
}

func (b *tab) problem(format string, args ...any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.problems = append(b.problems, fmt.Sprintf(format, args...))
	select {
	case b.changed <- struct{}{}:
	default:
	}
}

// expectProblem waits for a problem that contains a text, and removes all such problems. The browser reports a message of
// the console independently of what the page shows, so the message may arrive later.
func (b *tab) expectProblem(text string) {
	b.t.Helper()
	timeout := time.After(waitTime)
	for !b.removeProblems(text) {
		select {
		case <-b.changed:
		case <-timeout:
			b.t.Errorf("the console has no message with %q", text)
			return
		}
	}
}

// removeProblems removes the problems that contain a text. It reports whether there was one.
func (b *tab) removeProblems(text string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	before := len(b.problems)
	b.problems = slices.DeleteFunc(b.problems, func(p string) bool { return strings.Contains(p, text) })
	return len(b.problems) < before
}

// onEvent records the requests of the page. It must not call the browser.
func (b *tab) onEvent(event any) {
	sent, ok := event.(*network.EventRequestWillBeSent)
	if !ok {
		return
	}
	b.mu.Lock()
	b.requests = append(b.requests, sent.Request.URL)
	b.mu.Unlock()
	u, err := url.Parse(sent.Request.URL)
	if err != nil || u.Hostname() != "127.0.0.1" && u.Scheme != "data" && u.Scheme != "file" {
		b.problem("a request leaves this machine: %s", sent.Request.URL)
	}
}

// do runs actions, and fails the test if they do not end.
func (b *tab) do(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, waitTime)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		b.t.Fatal(err)
	}
}

// eval returns the value of an expression.
func eval[T any](b *tab, expression string) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, waitTime)
	defer cancel()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		b.t.Fatalf("%s: %v", expression, err)
	}
	return v
}

// wait waits until an expression is true.
func (b *tab) wait(expression string) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, waitTime)
	defer cancel()
	_, err := chromedp.Run(ctx, chromedp.Poll[bool](expression, chromedp.WithPollingInterval(20*time.Millisecond)))
	for err != nil && strings.Contains(err.Error(), "Cannot find context") && ctx.Err() == nil {
		// The browser has replaced the document during the call, because a navigation has just ended.
		_, err = chromedp.Run(ctx, chromedp.Poll[bool](expression, chromedp.WithPollingInterval(20*time.Millisecond)))
	}
	if err != nil {
		b.t.Fatalf("waiting for %s: %v\nthe page has: %.2000s", expression, err, eval[string](b, "document.body.innerText"))
	}
}

// goTo shows a view.
func (b *tab) goTo(hash string) {
	b.t.Helper()
	eval[any](b, fmt.Sprintf("location.hash = %q; null", hash))
}

// load opens the page and waits for the table of paths.
func (b *tab) load(s *server) {
	b.t.Helper()
	b.do(chromedp.Navigate(s.address()))
	b.wait("document.querySelector('.body .row') !== null")
}

// emulate sets the size of the window and the colours that the user prefers.
func (b *tab) emulate(width, height int64, scheme string) {
	b.t.Helper()
	_, err := chromedp.Call(b.ctx, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{
		Width: width, Height: height, DeviceScaleFactor: 1, Mobile: width < 500,
	})
	if err == nil {
		_, err = chromedp.Call(b.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
		})
	}
	if err != nil {
		b.t.Fatal(err)
	}
}

// screenshot writes a picture of the window to the directory that PIX_SCREENSHOTS names, for people.
func (b *tab) screenshot(name string) {
	b.t.Helper()
	dir := os.Getenv("PIX_SCREENSHOTS")
	if dir == "" {
		return
	}
	// Pictures of canvases are complete after a frame.
	eval[any](b, "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(null))))")
	picture, err := chromedp.Run(b.ctx, chromedp.CaptureScreenshot())
	if err == nil {
		err = os.MkdirAll(dir, 0o777)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, name+".png"), picture, 0o666)
	}
	if err != nil {
		b.t.Fatal(err)
	}
}

// key presses a key that is not a character, such as ArrowDown.
func (b *tab) key(keys ...string) {
	b.t.Helper()
	for _, k := range keys {
		b.do(chromedp.KeyEvent(k))
	}
}
