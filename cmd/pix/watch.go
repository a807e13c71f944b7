package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"pix/activity"
)

func newWatch(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "watch",
		Short: "Show the builds of another command of Nix",
		Long: `Show the builds of another command of Nix or pix: reads the output of a command with the option
--log-format internal-json from standard input, and shows on standard error what 'pix build' shows.
Other lines go to standard output. The exit code is 1 if a build failed, the command reported an
error, or its output ended while builds were running.`,
		Example: "  nix build --log-format internal-json nixpkgs#hello |& pix watch\n" +
			"  nixos-rebuild switch --log-format internal-json |& pix watch",
		GroupID: groupStore,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if file, ok := a.stdin.(*os.File); ok && isTerminal(file) {
				return wrongUse(cmd, errors.New("standard input is a terminal; expected the output of a command with --log-format internal-json"))
			}
			return a.watch(cmd.Context())
		},
	}
}

// watch shows the events of standard input.
func (a *app) watch(ctx context.Context) error {
	handler := activity.HandlerOf(a.follow(ctx))
	if handler == nil {
		handler = activity.HandlerFunc(func(activity.Event) {})
	}
	w := &watcher{app: a, handler: handler, builds: make(map[activity.ID]bool)}
	if view := a.progress.view.Load(); view != nil {
		times := loadBuildTimes(a.buildTimesFiles(a.nixLogDir()))
		view.UseEstimates(times)
		defer times.save()
	}
	plan := a.watchPlan(ctx)
	defer plan.stop()
	w.plan = plan
	// After an interrupt, the other command stops its builds and reports that, so read to the end of its output. The
	// second interrupt ends this process.
	if err := w.read(a.stdin); err != nil {
		return fmt.Errorf("reading standard input: %w", err)
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return a.progress.end(w.result())
}

// maxEventLine is how long a line of the input may be. Nix prints a line of a build log as one event.
const maxEventLine = 8 << 20

// A watcher reads the output of a command.
type watcher struct {
	app     *app
	handler activity.Handler
	plan    *watchedPlan
	builds  map[activity.ID]bool // that run
	failed  bool                 // the command has reported an error
	state   lineState
	pending []byte // an incomplete event
}

// read reads lines to the end of the input.
func (w *watcher) read(input io.Reader) error {
	lines := bufio.NewReaderSize(input, 64<<10)
	for {
		piece, err := lines.ReadSlice('\n')
		if lineErr := w.add(piece, err != bufio.ErrBufferFull); lineErr != nil {
			return lineErr
		}
		if err == io.EOF {
			return nil
		}
		if err != nil && err != bufio.ErrBufferFull {
			return err
		}
	}
}

// add adds a piece of a line. A line that is no event is passed on in pieces. An event that is too long is left out.
func (w *watcher) add(piece []byte, isEnd bool) error {
	state := w.state
	if isEnd {
		w.state = atStart
	}
	switch {
	case state == passing:
		return w.pass(string(piece))
	case state == skipping:
		return nil
	case isEnd && len(w.pending) == 0:
		return w.line(string(piece))
	case state == atStart && !bytes.HasPrefix(piece, []byte(activity.JSONPrefix)):
		w.state = passing
		return w.pass(string(piece))
	case len(w.pending)+len(piece) > maxEventLine:
		w.pending = nil
		w.state = skipping
		if isEnd {
			w.state = atStart
		}
		w.app.warn(fmt.Sprintf("an event of more than %d bytes is left out", maxEventLine))
		return nil
	}
	w.pending = append(w.pending, piece...)
	if !isEnd {
		w.state = collecting
		return nil
	}
	line := string(w.pending)
	w.pending = nil
	return w.line(line)
}

// A lineState says what becomes of the rest of a line that arrives in pieces.
type lineState uint8

const (
	atStart    lineState = iota
	collecting           // it is an event so far
	passing              // it is no event
	skipping             // it is an event that is too long
)

// line handles a line, with its line feed.
func (w *watcher) line(line string) error {
	text, isEvent := strings.CutPrefix(line, activity.JSONPrefix)
	if !isEvent {
		return w.pass(line)
	}
	e, err := activity.ParseJSON(text)
	if err != nil {
		return w.pass(line)
	}
	if e != nil && !w.plan.take(e) {
		w.note(e, text)
		w.handler.HandleEvent(e)
	}
	return nil
}

// pass writes a line that is no event to standard output.
func (w *watcher) pass(line string) error {
	if line == "" {
		return nil
	}
	if isTerminal(w.app.stdout) {
		line = logText([]byte(line), w.app.color.on(w.app.stdout, w.app.getenv), true)
	}
	return w.app.print(line)
}

// maxWatched limits the number of running builds and derivations that are kept. The input may have any number.
const maxWatched = 1 << 16

// note records what the exit code depends on. Only the error with which a command of Nix ends, and the failures of its
// builds, have the member raw_msg.
func (w *watcher) note(e activity.Event, text string) {
	switch e := e.(type) {
	case activity.Start:
		if e.Type == activity.Build && len(w.builds) < maxWatched {
			w.builds[e.ID] = true
		}
	case activity.Stop:
		delete(w.builds, e.ID)
	case activity.Log:
		w.failed = w.failed || e.Level == activity.LevelError && strings.Contains(text, `"raw_msg":`)
	}
}

// result returns the error of the command, without a message if the command has printed one.
func (w *watcher) result() error {
	if n := len(w.builds); n > 0 {
		return fmt.Errorf("the input ended while %s", oneOrMany(n, "a build was running", "%d builds were running"))
	}
	if w.failed || w.app.progress.failed() {
		return &silentError{exitNo}
	}
	return nil
}
