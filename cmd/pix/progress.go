package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/spf13/cobra"

	"pix/activity"
	"pix/cmd/pix/internal/live"
)

// A progressMode says how the command shows progress. It is the value of the flag --progress.
type progressMode string

const (
	progressAuto  progressMode = "auto"  // live on a terminal that can move its cursor
	progressLive  progressMode = "live"  // live on any terminal
	progressPlain progressMode = "plain" // log lines
	progressNone  progressMode = "none"  // nothing
)

func (m *progressMode) String() string { return string(*m) }
func (m *progressMode) Type() string   { return "mode" }

// Set implements pflag.Value.
func (m *progressMode) Set(s string) error {
	switch mode := progressMode(s); mode {
	case progressAuto, progressLive, progressPlain, progressNone:
		*m = mode
		return nil
	}
	return fmt.Errorf("%q is not auto, live, plain or none", s)
}

// A progress is the state of showing progress on standard error.
type progress struct {
	mode   progressMode              // --progress; "" for the environment
	logs   bool                      // --print-build-logs
	format logFormat                 // --log-format; "" if it is not given
	json   *jsonLog                  // nil without --log-format internal-json
	view   atomic.Pointer[live.View] // nil until it is started
}

func (p *progress) addFlags(root *cobra.Command) {
	flags := root.PersistentFlags()
	flags.Var(&p.mode, "progress", "`what` to show on standard error: auto (live on a terminal), live, plain (log lines) or none (default $PIX_PROGRESS, then auto)")
	flags.BoolVarP(&p.logs, "print-build-logs", "L", false, "in the live view, also print the lines of build logs")
	flags.Var(&p.format, "log-format", "the `format` of standard error, with the names of Nix: raw, raw-with-logs, internal-json, bar or bar-with-logs")
	valuesOf(root, "log-format", logFormats...)
	valuesOf(root, "progress", "auto", "live", "plain", "none")
}

// progressMode returns the mode that the flags, the environment and the terminal give.
func (a *app) progressMode() (progressMode, error) {
	mode := a.progress.mode
	if mode == "" {
		mode = progressAuto
		if s := a.getenv("PIX_PROGRESS"); s != "" {
			if err := mode.Set(s); err != nil {
				return "", &usageError{fmt.Errorf("PIX_PROGRESS: %w", err)}
			}
		}
	}
	dumb := a.getenv("TERM") == "" || a.getenv("TERM") == "dumb"
	if mode == progressAuto && dumb || mode != progressNone && !isTerminal(a.stderr) {
		mode = progressPlain
	}
	if mode == progressAuto {
		mode = progressLive
	}
	return mode, nil
}

// checkProgress returns an error for an invalid value of PIX_PROGRESS, and applies --log-format.
func (a *app) checkProgress() error {
	if err := a.useLogFormat(); err != nil {
		return err
	}
	_, err := a.progressMode()
	return err
}

// follow returns a context in which calls of a store show progress on standard error: in a live view on a terminal,
// else as log lines.
func (a *app) follow(ctx context.Context) context.Context {
	mode, err := a.progressMode()
	switch {
	case err != nil || mode == progressNone:
		return ctx
	case a.progress.json != nil:
		return activity.WithHandler(ctx, a.progress.json)
	case a.progress.format == formatRaw:
		return activity.WithHandler(ctx, withOwnAdvice(withoutBuildLogs(&logPrinter{app: a})))
	case mode == progressLive:
		return activity.WithHandler(ctx, withOwnAdvice(a.startView(ctx)))
	}
	return activity.WithHandler(ctx, withOwnAdvice(&logPrinter{app: a}))
}

// startView starts the live view, once, and redirects the output of the command, which then appears above the view.
func (a *app) startView(ctx context.Context) activity.Handler {
	if view := a.progress.view.Load(); view != nil {
		return view
	}
	view := live.Start(ctx, live.Options{
		Terminal: live.FileTerminal{File: a.stderr.(*os.File)},
		Style:    live.Style{Color: a.color.on(a.stderr, a.getenv), Unicode: a.isUTF8()},
		Logs:     a.progress.logs,
	})
	a.progress.view.Store(view)
	a.stderr = view.Output(a.stderr)
	if isTerminal(a.stdout) {
		a.stdout = view.Output(a.stdout)
	}
	return view
}

// isUTF8 reports whether the locale has UTF-8.
func (a *app) isUTF8() bool {
	locale := strings.ToUpper(cmp.Or(a.getenv("LC_ALL"), a.getenv("LC_CTYPE"), a.getenv("LANG")))
	return strings.Contains(locale, "UTF-8") || strings.Contains(locale, "UTF8")
}

// end ends the live view, which prints a summary. err is the result of the verb. It returns the error that the
// command still has to print: only its first line, if the view has printed the rest.
func (p *progress) end(err error) error {
	view := p.view.Load()
	if view == nil || !view.End(err) || err == nil {
		return err
	}
	return &firstLineError{err}
}

// failed reports whether the live view shows a failed build.
func (p *progress) failed() bool {
	view := p.view.Load()
	return view != nil && view.Failed()
}

// A firstLineError is an error with the text of its first line alone.
type firstLineError struct{ err error }

func (e *firstLineError) Unwrap() error { return e.err }

func (e *firstLineError) Error() string {
	first, _, _ := strings.Cut(activity.Plain(e.err.Error()), "\n")
	return strings.TrimRight(first, " ;:")
}

// restore resets the terminal before the process is killed.
func (p *progress) restore() {
	if view := p.view.Load(); view != nil {
		view.Restore()
	}
}

// A logPrinter prints log lines without control sequences.
type logPrinter struct {
	app *app

	mu     sync.Mutex // verbs run many queries at once
	last   activity.Event
	prefix logPrefixer
}

// HandleEvent implements [activity.Handler].
func (p *logPrinter) HandleEvent(e activity.Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.prefix.verbose = p.app.flags.verbose
	line, ok := p.prefix.line(e)
	if ok && !repeats(e, p.last) {
		fmt.Fprintln(p.app.stderr, strings.TrimRight(activity.Plain(line), "\n"))
	}
	p.last = e
}

// repeats reports whether e is a line of a build log that the previous event had as a log line: Nix 2.3 sends each
// line twice.
func repeats(e, last activity.Event) bool {
	_, isResult := e.(activity.Result)
	_, wasLog := last.(activity.Log)
	if !isResult || !wasLog {
		return false
	}
	line, _ := activity.Line(e)
	before, _ := activity.Line(last)
	return line == before
}
