package viewtest

import (
	"archive/tar"
	"cmp"
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/tracing"
	"github.com/chromedp/chromedp"
	"github.com/klauspost/compress/zstd"

	"pix/internal/testenv"
)

// checkSpeed reports whether the tests fail if the page is slow. Otherwise they only print the times, because other work
// on the machine makes every program slow.
func checkSpeed() bool { return os.Getenv("PIX_LONG") == "1" }

// realistic returns a store with the graph of 9,849 real derivations.
func realistic(t *testing.T) *Fixture {
	t.Helper()
	dir := unpackCorpus(t, "corepkgs-texlive")
	f, err := FromDerivations(t.Context(), dir, "nz56yb59xk176rg1il51mblz9mhq10dc-texlive-2025-env-texmfdist.drv")
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// The page shows the table of 10,000 paths within a second.
func TestFirstPaint(t *testing.T) {
	srv := serve(t, realistic(t))
	b := open(t)
	var times []time.Duration
	for range 3 {
		b.do(chromedp.Navigate("about:blank"))
		b.load(srv)
		ms := eval[float64](b, "performance.getEntriesByName('ready')[0].startTime")
		times = append(times, time.Duration(ms*float64(time.Millisecond)))
	}
	t.Logf("the table of %s after %v, from the start of the navigation", b.text(".store .muted"), times)
	if least := slices.Min(times); checkSpeed() && least > time.Second {
		t.Errorf("the first paint took %v", least)
	}
	b.screenshot("speed-paths")
}

// Moving the graph of 10,000 paths takes at most 10 ms of scripts and layout per frame, and no task of 100 ms.
func TestPan(t *testing.T) {
	f := realistic(t)
	srv := serve(t, f)
	b := open(t)
	b.load(srv)
	b.goTo("#/graph")
	b.wait("performance.getEntriesByName('graph').length > 0")
	b.screenshot("speed-graph")
	box := eval[map[string]float64](b, "(({x, y, width, height}) => ({x, y, width, height}))(document.querySelector('.graph canvas').getBoundingClientRect())")
	x, y := box["x"]+box["width"]/2, box["y"]+box["height"]/2
	events := b.trace(func() {
		b.do(chromedp.MouseEvent(chromedp.MousePressed, x, y, chromedp.ButtonLeft))
		for i := range 60 {
			b.do(chromedp.MouseEvent(chromedp.MouseMoved, x+float64(i%20)*8, y+float64(i%15)*6, chromedp.ButtonLeft))
		}
		b.do(chromedp.MouseEvent(chromedp.MouseReleased, x, y, chromedp.ButtonLeft))
	})
	frames, longest := frameTimes(events)
	slices.Sort(frames)
	if len(frames) < 5 {
		t.Fatalf("there were %d frames", len(frames))
	}
	median, worst := frames[len(frames)/2], frames[len(frames)-1]
	t.Logf("%d frames with %v of scripts and layout in the median, %v in the worst; the longest task took %v", len(frames), median, worst, longest)
	if checkSpeed() && (worst > 10*time.Millisecond || longest > 100*time.Millisecond) {
		t.Errorf("the worst frame has %v of scripts and layout, the longest task took %v", worst, longest)
	}
}

// A closure of 100,000 paths loads, and its graph is drawn.
func TestHundredThousand(t *testing.T) {
	srv := serve(t, Generate(100_000))
	b := open(t)
	start := time.Now()
	b.load(srv)
	t.Logf("the table of %s after %v", b.text(".store .muted"), time.Since(start))
	start = time.Now()
	b.goTo("#/graph")
	b.wait("performance.getEntriesByName('graph').length > 0")
	t.Logf("the graph after %v", time.Since(start))
	start = time.Now()
	b.goTo("#/treemap")
	b.wait("document.querySelector('.tile') !== null")
	t.Logf("the treemap after %v", time.Since(start))
	b.goTo("#/paths?q=glibc")
	b.wait("document.querySelector('main [role=status]')?.innerText.includes('of 100,000')")
}

// unpackCorpus unpacks the .drv files of an archive of the corpus, and returns their directory.
func unpackCorpus(t *testing.T, name string) string {
	t.Helper()
	file, err := os.Open(filepath.Join(testenv.Corpus(t), name+".tar.zst"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	z, err := zstd.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	dir := t.TempDir()
	for archive := tar.NewReader(z); ; {
		header, err := archive.Next()
		if err == io.EOF {
			return dir
		}
		if err != nil {
			t.Fatal(err)
		}
		if header.Typeflag != tar.TypeReg {
			continue
		}
		text, err := io.ReadAll(archive)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, filepath.Base(header.Name)), text, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// A traceEvent is an event of a trace, with times in microseconds.
type traceEvent struct {
	Name     string  `json:"name"`
	PID      int     `json:"pid"`
	TID      int     `json:"tid"`
	Start    float64 `json:"ts"`
	Duration float64 `json:"dur"`
	CPU      float64 `json:"tdur"` // the processor time of the thread; 0 if it is unknown
}

// trace returns the events that the browser records during a function.
func (b *tab) trace(during func()) (events []traceEvent) {
	b.t.Helper()
	ctx, stop := context.WithCancel(b.ctx) // of the listener
	defer stop()
	completed := make(chan struct{})
	var malformed error
	err := chromedp.ListenBrowser(ctx, func(event any) {
		switch e := event.(type) {
		case *tracing.EventDataCollected:
			for _, value := range e.Value {
				var recorded traceEvent
				if err := json.Unmarshal(value, &recorded); err != nil {
					malformed = err
				}
				events = append(events, recorded)
			}
		case *tracing.EventTracingComplete:
			close(completed)
		}
	})
	if err == nil {
		_, err = chromedp.CallBrowser(b.ctx, tracing.Start, tracing.StartParams{
			TraceConfig: &tracing.TraceConfig{IncludedCategories: []string{"devtools.timeline", "toplevel"}},
		})
	}
	if err != nil {
		b.t.Fatal(err)
	}
	during()
	if _, err := chromedp.CallBrowser(b.ctx, tracing.End, cdp.Empty{}); err != nil {
		b.t.Fatal(err)
	}
	select {
	case <-completed:
	case <-time.After(waitTime):
		b.t.Fatal("the trace does not end")
	}
	if malformed != nil {
		b.t.Fatal(malformed)
	}
	return events
}

// frameTimes returns for each frame the processor time of scripts, styles and layout on the main thread of the page, and the
// longest task there. Other programs on a loaded machine do not count.
func frameTimes(events []traceEvent) (frames []time.Duration, longestTask time.Duration) {
	mainPID, mainTID := 0, 0
	for _, e := range events { // the process that draws frames is the page
		if e.Name == "FireAnimationFrame" {
			mainPID, mainTID = e.PID, e.TID
		}
	}
	var work []traceEvent
	var starts []float64
	for _, e := range events {
		if e.PID != mainPID || e.TID != mainTID {
			continue
		}
		switch e.Name {
		case "FireAnimationFrame":
			starts = append(starts, e.Start)
			work = append(work, e)
		case "FunctionCall", "EvaluateScript", "EventDispatch", "Layout", "UpdateLayoutTree", "RecalculateStyles":
			work = append(work, e)
		case "ThreadControllerImpl::RunTask", "RunTask":
			longestTask = max(longestTask, e.spent())
		}
	}
	slices.Sort(starts)
	slices.SortFunc(work, func(a, b traceEvent) int { return cmp.Compare(a.Start, b.Start) })
	for i := 0; i+1 < len(starts); i++ {
		var frame time.Duration
		var until float64
		for _, e := range work {
			// An event within another one is counted with it.
			if e.Start >= starts[i] && e.Start < starts[i+1] && e.Start >= until {
				frame += e.spent()
				until = e.Start + e.Duration
			}
		}
		frames = append(frames, frame)
	}
	return frames, longestTask
}

// spent returns the time that an event took.
func (e *traceEvent) spent() time.Duration { return microseconds(cmp.Or(e.CPU, e.Duration)) }

func microseconds(n float64) time.Duration { return time.Duration(n * float64(time.Microsecond)) }
