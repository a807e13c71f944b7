package live

import (
	"context"
	"io"
	"sync"
	"time"

	"pix/activity"
)

const (
	// drawInterval is the shortest time between two frames.
	drawInterval = 80 * time.Millisecond
	// firstDraw is the delay of the first frame. Shorter work shows no view.
	firstDraw = 200 * time.Millisecond
	// maxMessages is how many bytes of messages wait for a slow or stopped terminal. When there are more,
	// HandleEvent blocks.
	maxMessages = 1 << 20
)

// Options are the options of a view.
type Options struct {
	// Terminal shows the view.
	Terminal Terminal

	Style Style

	// Logs makes the lines of build logs messages, which appear above the view.
	Logs bool
}

// A Terminal is a terminal that shows a view.
type Terminal interface {
	io.Writer

	// Size returns the number of columns and rows, or zeros if they are unknown.
	Size() (columns, rows int)

	// Foreground reports whether the process is in the foreground, and may draw.
	Foreground() bool
}

// A View shows progress on a terminal until it is ended. Its methods can be called concurrently.
type View struct {
	opts Options

	mu       sync.Mutex // guards state, finished and waiting
	state    *State
	finished bool
	waiting  int           // bytes of messages that the terminal has not shown
	drained  chan struct{} // has an element after messages were shown

	screenMu sync.Mutex // guards the terminal and the fields below; locked before mu
	screen   screen
	midLine  bool // the last line of the output is incomplete
	gone     bool // the terminal cannot be written to any more

	quit  chan struct{} // closed by End
	ended chan struct{} // closed when run returns
	once  sync.Once
}

// Start starts a view. When ctx ends, the view shows that the work is being stopped, and shows the cursor again.
// The caller must call [View.End].
func Start(ctx context.Context, opts Options) *View { return start(ctx, opts, listen()) }

func start(ctx context.Context, opts Options, signals *signals) *View {
	v := &View{
		opts: opts, state: NewState(), drained: make(chan struct{}, 1),
		quit: make(chan struct{}), ended: make(chan struct{}),
	}
	v.state.Logs = opts.Logs
	go v.run(ctx, signals)
	return v
}

// HandleEvent implements [activity.Handler]. It blocks only while more than a megabyte of messages wait for the
// terminal.
func (v *View) HandleEvent(e activity.Event) {
	text, _ := activity.Line(e)
	size := len(text)
	for !v.tryHandle(e, size) {
		select {
		case <-v.drained:
		case <-v.quit:
			size = 0
		}
	}
}

// tryHandle handles an event, or returns false if too many messages are waiting.
func (v *View) tryHandle(e activity.Event, size int) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.finished {
		return true
	}
	if size > 0 && v.waiting > maxMessages {
		return false
	}
	before := len(v.state.messages)
	v.state.Handle(e, time.Now())
	if len(v.state.messages) > before {
		v.waiting += size
	}
	return true
}

// Plan sets the plan of the builds.
func (v *View) Plan(p Plan) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if !v.finished {
		v.state.Plan(p)
	}
}

// UseEstimates sets the estimator of the view. The view calls it from one goroutine at a time, until [View.End] returns.
func (v *View) UseEstimates(e Estimator) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if !v.finished {
		v.state.UseEstimates(e)
	}
}

// Failed reports whether a build has failed.
func (v *View) Failed() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.state.Failed()
}

// End removes the view from the terminal and prints the summary. err is the error with which the work ended, or
// nil. It reports whether the summary has failed builds. Only the first call has an effect.
func (v *View) End(err error) (printedFailures bool) {
	v.once.Do(func() {
		close(v.quit)
		<-v.ended
		v.screenMu.Lock()
		defer v.screenMu.Unlock()
		v.mu.Lock()
		defer v.mu.Unlock()
		now := time.Now()
		v.state.Finish(err, now)
		v.finished = true
		lines := append(v.state.Messages(now), v.state.Summary(now, v.opts.Style)...)
		text := v.screen.leave(v.size())
		for _, l := range lines {
			text += l + "\r\n"
		}
		v.write(text)
		printedFailures = v.state.Failed()
	})
	return printedFailures
}

// Restore resets the terminal at once, even in the middle of a frame. It is for a process that is about to be
// killed.
func (v *View) Restore() { io.WriteString(v.opts.Terminal, restore+"\r\n") }

// run draws until the view is ended.
func (v *View) run(ctx context.Context, signals *signals) {
	defer close(v.ended)
	defer signals.stop()
	ticker := time.NewTicker(firstDraw)
	defer ticker.Stop()
	cancelled := ctx.Done()
	for {
		select {
		case <-ticker.C:
			ticker.Reset(drawInterval)
		case <-signals.resized:
		case <-signals.suspend:
			v.suspend(signals)
		case sig := <-signals.quit:
			v.leave()
			signals.die(sig)
			return // the signal arrives a moment later
		case <-cancelled:
			cancelled = nil
			v.interrupt()
		case <-v.quit:
			return
		}
		v.draw()
	}
}

// draw draws a frame.
func (v *View) draw() {
	v.screenMu.Lock()
	defer v.screenMu.Unlock()
	if v.midLine || v.gone {
		return
	}
	columns, rows := v.size()
	foreground := v.opts.Terminal.Foreground()
	messages, lines := v.content(columns, rows)
	if !foreground {
		v.screen.forget()
		lines = nil
		if len(messages) == 0 {
			return
		}
	}
	v.write(v.screen.frame(messages, lines, columns, rows))
}

// content returns the messages and lines of the next frame. It leaves the last column free, because some terminals
// wrap there in any mode, and one row, so that the line before the view stays visible.
func (v *View) content(columns, rows int) (messages, lines []string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	now := time.Now()
	return v.takeMessages(now), v.state.Lines(now, max(columns-1, 1), max(rows-1, 1), v.opts.Style)
}

// takeMessages removes and returns the waiting messages. The caller holds mu.
func (v *View) takeMessages(now time.Time) []string {
	if v.waiting > 0 {
		v.waiting = 0
		select {
		case v.drained <- struct{}{}:
		default:
		}
	}
	return v.state.Messages(now)
}

// size returns the size of the terminal, or 80×24 if it is unknown.
func (v *View) size() (columns, rows int) {
	columns, rows = v.opts.Terminal.Size()
	if columns <= 0 || rows <= 0 {
		return 80, 24
	}
	return columns, rows
}

// write writes to the terminal. After an error nothing is written any more.
func (v *View) write(text string) {
	if text == "" || v.gone {
		return
	}
	if _, err := io.WriteString(v.opts.Terminal, text); err != nil {
		v.gone = true
	}
}

// interrupt shows that the work is being stopped. It shows the cursor from now on, because a second signal kills
// the process.
func (v *View) interrupt() {
	v.mu.Lock()
	v.state.Interrupt()
	v.mu.Unlock()
	v.screenMu.Lock()
	defer v.screenMu.Unlock()
	v.screen.keep, v.screen.hidden = true, false
	v.write(showCursor)
}

// leave removes the view from the terminal.
func (v *View) leave() {
	v.screenMu.Lock()
	defer v.screenMu.Unlock()
	v.write(v.screen.leave(v.size()))
}

// suspend resets the terminal and stops the process. It returns when the process continues.
func (v *View) suspend(signals *signals) {
	v.leave()
	signals.stopSelf()
	v.screenMu.Lock()
	defer v.screenMu.Unlock()
	v.screen.forget()
}
