package live

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pix/activity"
	"pix/internal/termtest"
)

// A fakeTerminal can block writes, be in the background, and fail.
type fakeTerminal struct {
	mu         sync.Mutex
	screen     *termtest.Screen
	background bool
	broken     bool
	blocked    chan struct{} // writes block until it is closed; nil blocks none
	writes     atomic.Int32
}

func newFake() *fakeTerminal { return &fakeTerminal{screen: termtest.NewScreen(80, 24)} }

func (f *fakeTerminal) Size() (int, int) { return 80, 24 }

func (f *fakeTerminal) Foreground() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return !f.background
}

func (f *fakeTerminal) Write(p []byte) (int, error) {
	if f.blocked != nil {
		<-f.blocked
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.broken {
		return 0, io.ErrClosedPipe
	}
	f.writes.Add(1)
	return f.screen.Write(p)
}

// checkLines checks the lines on the screen.
func (f *fakeTerminal) checkLines(t *testing.T, want ...string) {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	if got := f.screen.Lines(); !slices.Equal(got, want) {
		t.Errorf("the terminal shows\n%s\nnot\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if wrong := f.screen.Unsupported(); wrong != nil {
		t.Errorf("unsupported output %q", wrong)
	}
}

// checkCursor checks whether the cursor is visible.
func (f *fakeTerminal) checkCursor(t *testing.T, want bool) {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, _, shown := f.screen.Cursor(); shown != want {
		t.Errorf("cursor visible: %v", shown)
	}
}

func buildStarts(name string) activity.Event {
	return activity.Start{ID: 1, Type: activity.Build, Fields: []activity.Field{activity.Text(drvOf(name))}}
}

func logged(text string) activity.Event {
	return activity.Result{ID: 1, Type: activity.BuildLogLine, Fields: []activity.Field{activity.Text(text)}}
}

func TestView(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		v := start(t.Context(), Options{Terminal: f}, new(signals))
		v.HandleEvent(buildStarts("hello"))
		v.HandleEvent(logged("checking"))
		time.Sleep(firstDraw - time.Millisecond)
		f.checkLines(t)
		f.checkCursor(t, true)
		time.Sleep(2 * time.Millisecond)
		f.checkLines(t, "* hello 0s  checking", "1 running, 0 of 1 built, 0s")
		f.checkCursor(t, false)
		before := f.writes.Load()
		time.Sleep(5 * time.Second)
		f.checkLines(t, "* hello 5s  checking", "1 running, 0 of 1 built, 5s")
		if n := f.writes.Load() - before; n != 5 {
			t.Errorf("%d frames in five seconds without events, want 5", n)
		}
		v.HandleEvent(activity.Stop{ID: 1})
		v.HandleEvent(activity.Log{Text: "a warning"})
		if v.End(nil) {
			t.Error("End reports a failed build")
		}
		f.checkLines(t, "a warning", "1 of 1 built in 5s")
		f.checkCursor(t, true)
		v.HandleEvent(activity.Log{Text: "too late"})
		v.End(errors.New("no"))
		f.checkLines(t, "a warning", "1 of 1 built in 5s")
	})
}

// The number of frames is limited, regardless of the number of events.
func TestFrameRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		v := start(t.Context(), Options{Terminal: f}, new(signals))
		v.HandleEvent(buildStarts("hello"))
		for i := range 10_000 {
			v.HandleEvent(logged(fmt.Sprint("line ", i)))
			time.Sleep(100 * time.Microsecond)
		}
		if n := f.writes.Load(); n > 15 {
			t.Errorf("%d frames in a second, want at most 15", n)
		}
		v.End(nil)
	})
}

func TestViewInterrupted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		ctx, cancel := context.WithCancel(t.Context())
		v := start(ctx, Options{Terminal: f}, new(signals))
		v.HandleEvent(buildStarts("hello"))
		time.Sleep(1100 * time.Millisecond)
		f.checkCursor(t, false)
		cancel()
		time.Sleep(1100 * time.Millisecond)
		f.checkLines(t, "* hello 2s", "stopping, 1 running, 0 of 1 built, 2s")
		f.checkCursor(t, true)
		v.End(ctx.Err())
		f.checkLines(t, "interrupted: 0 of 1 built, 1 stopped in 2s")
	})
}

func TestViewOutput(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		v := start(t.Context(), Options{Terminal: f}, new(signals))
		out := v.Output(f)
		v.HandleEvent(buildStarts("hello"))
		time.Sleep(1100 * time.Millisecond)
		fmt.Fprint(out, "a result\r\nhalf a ")
		time.Sleep(1100 * time.Millisecond)
		f.checkLines(t, "a result", "half a")
		fmt.Fprint(out, "line\r\n")
		time.Sleep(1100 * time.Millisecond)
		f.checkLines(t, "a result", "half a line", "* hello 3s", "1 running, 0 of 1 built, 3s")
		v.End(nil)
		f.checkLines(t, "a result", "half a line", "0 of 1 built, 1 stopped in 3s")
	})
}

// Messages and results keep their order, even if no frame is drawn between them.
func TestViewOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		fmt.Fprint(f, "$ ")
		v := start(t.Context(), Options{Terminal: f}, new(signals))
		out := v.Output(f)
		time.Sleep(1100 * time.Millisecond) // there is nothing to draw
		f.checkLines(t, "$")
		v.HandleEvent(activity.Log{Text: "first"})
		fmt.Fprint(out, "second\r\n")
		v.HandleEvent(activity.Log{Text: "third"})
		fmt.Fprint(out, "four")
		v.HandleEvent(activity.Log{Text: "fifth"})
		fmt.Fprint(out, "th\r\n")
		v.End(nil)
		f.checkLines(t, "$ first", "second", "third", "fourth", "fifth")
	})
}

// A log line is held back for a short time only.
func TestViewPending(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		v := start(t.Context(), Options{Terminal: f}, new(signals))
		v.HandleEvent(activity.Log{Text: "waiting for a lock"})
		time.Sleep(1100 * time.Millisecond)
		f.checkLines(t, "waiting for a lock")
		v.End(nil)
	})
}

// A blocked terminal does not block handlers until too many messages wait.
func TestBlockedTerminal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.blocked = make(chan struct{})
		v := start(t.Context(), Options{Terminal: f, Logs: true}, new(signals))
		v.HandleEvent(buildStarts("hello"))
		time.Sleep(1100 * time.Millisecond)
		line := strings.Repeat("x", 64<<10)
		handled := 0
		done := make(chan struct{})
		go func() {
			defer close(done)
			for handled = range 48 {
				v.HandleEvent(logged(line))
			}
		}()
		synctest.Wait()
		if handled < maxMessages>>16 || handled > maxMessages>>16+2 {
			t.Errorf("%d lines of 64 KiB were handled", handled)
		}
		close(f.blocked)
		<-done
		v.End(nil)
		if all := strings.Join(f.screen.History(), "\n"); strings.Count(all, "hello> ") != 48 {
			t.Errorf("%d of 48 lines were shown", strings.Count(all, "hello> "))
		}
	})
}

func TestViewInBackground(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.background = true
		v := start(t.Context(), Options{Terminal: f}, new(signals))
		v.HandleEvent(buildStarts("hello"))
		v.HandleEvent(activity.Log{Text: "a warning"})
		v.HandleEvent(logged("checking"))
		time.Sleep(1100 * time.Millisecond)
		f.checkLines(t, "a warning")
		f.mu.Lock()
		f.background = false
		f.mu.Unlock()
		time.Sleep(1100 * time.Millisecond)
		f.checkLines(t, "a warning", "* hello 2s  checking", "1 running, 0 of 1 built, 2s")
		v.End(nil)
	})
}

func TestViewBroken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.broken = true
		v := start(t.Context(), Options{Terminal: f}, new(signals))
		v.HandleEvent(buildStarts("hello"))
		v.HandleEvent(activity.Log{Text: "a warning"})
		time.Sleep(1100 * time.Millisecond)
		v.End(nil)
	})
}

func TestRestore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		v := start(t.Context(), Options{Terminal: f}, new(signals))
		v.HandleEvent(buildStarts("hello"))
		time.Sleep(1100 * time.Millisecond)
		f.Write([]byte(noWrap)) // in the middle of a frame
		v.Restore()
		f.checkCursor(t, true)
		if !f.screen.Wraps() {
			t.Error("long lines do not wrap after Restore")
		}
		v.End(nil)
	})
}
