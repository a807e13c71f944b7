package live

import (
	"context"
	"io"
	"sync"
	"time"

	"pix/activity"
)

const (
	// drawEvery is how often the view is drawn at most.
	drawEvery = 80 * time.Millisecond
	// drawFirst is when it is drawn first: what takes less time does not flash.
	drawFirst = 200 * time.Millisecond
	// maxMessages is how many bytes of messages wait for a terminal that is slow, or
	// stopped. Whoever has more to say waits too.
	maxMessages = 1 << 20
)

// Options say how a view looks, and where.
type Options struct {
	// Terminal is written to.
	Terminal Terminal

	Style Style

	// Logs makes the lines of build logs messages, which stay above the view.
	Logs bool
}

// A Terminal is where a view is shown.
type Terminal interface {
	io.Writer

	// Size returns how many columns and rows there are, or zeros if that is not known.
	Size() (columns, rows int)

	// Foreground reports whether it is ours to draw on; if not, the shell has put us aside.
	Foreground() bool
}

// A View shows on a terminal what happens, until it is ended. Its methods may be called
// by any number of goroutines.
type View struct {
	opts Options

	mu       sync.Mutex // of state, finished and waiting
	state    *State
	finished bool
	waiting  int           // bytes of messages
	room     chan struct{} // has an element when there is room again

	screenMu sync.Mutex // of the terminal, screen and midLine
	screen   screen
	midLine  bool // someone else has begun a line
	gone     bool // the terminal is

	quit  chan struct{} // closed by End
	ended chan struct{} // closed when nothing more is drawn
	once  sync.Once
}

// Start returns a view that has begun to look. When ctx ends, it says that the work is being
// stopped, and shows the cursor again. It must be ended.
func Start(ctx context.Context, opts Options) *View { return start(ctx, opts, listen()) }

func start(ctx context.Context, opts Options, signals *signals) *View {
	v := &View{
		opts: opts, state: NewState(), room: make(chan struct{}, 1),
		quit: make(chan struct{}), ended: make(chan struct{}),
	}
	v.state.Logs = opts.Logs
	go v.run(ctx, signals)
	return v
}

// HandleEvent takes in an event. It does not wait for the terminal, unless that has more
// than a megabyte of messages to show.
func (v *View) HandleEvent(e activity.Event) {
	text, _ := activity.Line(e)
	size := len(text)
	for !v.take(e, size) {
		select {
		case <-v.room:
		case <-v.quit:
			size = 0
		}
	}
}

// take takes in an event, or returns false if there is no room for what it says.
func (v *View) take(e activity.Event, size int) bool {
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

// Plan takes in what is going to be built.
func (v *View) Plan(p Plan) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if !v.finished {
		v.state.Plan(p)
	}
}

// End takes the view off the terminal and says there what came of it all; err is the error
// that the work ended with, if it did. It reports whether it has said why builds failed.
// Only the first call does anything.
func (v *View) End(err error) bool {
	said := false
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
		said = v.state.Failed()
	})
	return said
}

// Restore puts the terminal in order at once, whatever is being drawn. It is for when the
// process is about to be killed.
func (v *View) Restore() { io.WriteString(v.opts.Terminal, restore+"\r\n") }

// run draws until the view is ended.
func (v *View) run(ctx context.Context, signals *signals) {
	defer close(v.ended)
	defer signals.stop()
	ticker := time.NewTicker(drawFirst)
	defer ticker.Stop()
	cancelled := ctx.Done()
	for {
		select {
		case <-ticker.C:
			ticker.Reset(drawEvery)
		case <-signals.resized:
		case <-signals.suspend:
			v.suspend(signals)
		case sig := <-signals.quit:
			v.leave()
			signals.die(sig)
			return // it takes a while
		case <-cancelled:
			cancelled = nil
			v.interrupt()
		case <-v.quit:
			return
		}
		v.draw()
	}
}

// draw brings the terminal up to date.
func (v *View) draw() {
	v.screenMu.Lock()
	defer v.screenMu.Unlock()
	if v.midLine || v.gone {
		return
	}
	columns, rows := v.size()
	ours := v.opts.Terminal.Foreground()
	messages, lines := v.look(columns, rows)
	if !ours {
		v.screen.forget()
		lines = nil
		if len(messages) == 0 {
			return
		}
	}
	v.write(v.screen.frame(messages, lines, columns, rows))
}

// look returns what there is to show. The last column stays free, as some terminals wrap
// there whatever they are told, and the first row, so that something of before is seen.
func (v *View) look(columns, rows int) (messages, lines []string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	now := time.Now()
	return v.messages(now), v.state.Lines(now, max(columns-1, 1), max(rows-1, 1), v.opts.Style)
}

// messages takes the messages that wait. The lock is held.
func (v *View) messages(now time.Time) []string {
	if v.waiting > 0 {
		v.waiting = 0
		select {
		case v.room <- struct{}{}:
		default:
		}
	}
	return v.state.Messages(now)
}

// size returns the size of the terminal, or the usual one.
func (v *View) size() (columns, rows int) {
	columns, rows = v.opts.Terminal.Size()
	if columns <= 0 || rows <= 0 {
		return 80, 24
	}
	return columns, rows
}

// write writes to the terminal. When that fails it is gone, and so is the view.
func (v *View) write(text string) {
	if text == "" || v.gone {
		return
	}
	if _, err := io.WriteString(v.opts.Terminal, text); err != nil {
		v.gone = true
	}
}

// interrupt says that the work is being stopped. From now on the cursor is shown, as a second
// signal kills.
func (v *View) interrupt() {
	v.mu.Lock()
	v.state.Interrupt()
	v.mu.Unlock()
	v.screenMu.Lock()
	defer v.screenMu.Unlock()
	v.screen.keep, v.screen.hidden = true, false
	v.write(showCursor)
}

// leave takes the view off the terminal.
func (v *View) leave() {
	v.screenMu.Lock()
	defer v.screenMu.Unlock()
	v.write(v.screen.leave(v.size()))
}

// suspend stops the process, as the signal would have done, but leaves the terminal in
// order. It returns when the process goes on.
func (v *View) suspend(signals *signals) {
	v.leave()
	signals.stopSelf()
	v.screenMu.Lock()
	defer v.screenMu.Unlock()
	v.screen.forget()
}
