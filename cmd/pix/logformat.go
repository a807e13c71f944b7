package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	"pix/activity"
)

// A logFormat is the value of the flag --log-format, with the names of Nix.
type logFormat string

const (
	formatRaw             logFormat = "raw"           // log lines without the logs of builds
	formatRawWithLogs     logFormat = "raw-with-logs" // log lines
	formatJSON            logFormat = "internal-json" // events as JSON
	formatBar             logFormat = "bar"           // the live view on a terminal
	formatBarWithLogs     logFormat = "bar-with-logs" // and the lines of build logs above it
	formatMultiline       logFormat = "multiline"     // Lix's name of a view with several lines
	formatMultilineAndLog logFormat = "multiline-with-logs"
)

var logFormats = []string{
	string(formatRaw), string(formatRawWithLogs), string(formatJSON), string(formatBar), string(formatBarWithLogs),
	string(formatMultiline), string(formatMultilineAndLog),
}

func (f *logFormat) String() string { return string(*f) }
func (f *logFormat) Type() string   { return "format" }

// Set implements pflag.Value.
func (f *logFormat) Set(s string) error {
	if !slices.Contains(logFormats, s) {
		return fmt.Errorf("%q is not one of %s", s, strings.Join(logFormats, ", "))
	}
	*f = logFormat(s)
	return nil
}

// apply sets the mode of progress that a log format means.
func (p *progress) apply(f logFormat) {
	switch f {
	case formatRaw, formatRawWithLogs, formatJSON:
		p.mode = progressPlain
	case formatBar, formatBarWithLogs, formatMultiline, formatMultilineAndLog:
		p.mode = progressAuto
	}
	p.logs = p.logs || f == formatBarWithLogs || f == formatMultilineAndLog
}

// useLogFormat applies the flag --log-format. With internal-json, standard error has only events from now on.
func (a *app) useLogFormat() error {
	p := a.progress
	if p.format == "" {
		return nil
	}
	if p.mode != "" {
		return &usageError{errors.New("--log-format and --progress exclude each other")}
	}
	p.apply(p.format)
	if p.format == formatJSON {
		p.json = &jsonLog{out: a.stderr}
		a.stderr = p.json
	}
	return nil
}

// withoutBuildLogs returns a handler that leaves out the lines of build logs.
func withoutBuildLogs(h activity.Handler) activity.Handler {
	return activity.HandlerFunc(func(e activity.Event) {
		_, isResult := e.(activity.Result)
		if _, isLine := activity.Line(e); !isResult || !isLine {
			h.HandleEvent(e)
		}
	})
}

// A jsonLog writes events as 'nix --log-format internal-json' does. Programs such as nix-output-monitor read them.
type jsonLog struct {
	mu   sync.Mutex // verbs run many queries at once
	out  io.Writer
	buf  []byte
	text []byte // an incomplete line of Write
}

// HandleEvent implements [activity.Handler].
func (j *jsonLog) HandleEvent(e activity.Event) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.put(e)
}

// put writes an event in one call, so that a line is not split when other programs write to the same file. The caller
// holds mu.
func (j *jsonLog) put(e activity.Event) {
	j.line(activity.AppendJSON(append(j.buf[:0], activity.JSONPrefix...), e))
}

// line writes a line. As in Nix, an error is ignored: the work goes on without a reader of its log.
func (j *jsonLog) line(line []byte) {
	j.buf = append(line, '\n')
	j.out.Write(j.buf)
}

// error writes the error with which the command ends.
func (j *jsonLog) error(e *activity.Error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.line(activity.AppendErrorJSON(append(j.buf[:0], activity.JSONPrefix...), e))
}

// maxTextLine is how long a line of Write may be.
const maxTextLine = 64 << 10

// Write writes warnings and notes of the command, each line as an event.
func (j *jsonLog) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.text = append(j.text, p...)
	for {
		i := bytes.IndexByte(j.text, '\n')
		if i < 0 && len(j.text) < maxTextLine {
			return len(p), nil
		}
		line := j.text
		if i >= 0 {
			line = j.text[:i]
		}
		j.put(activity.Log{Level: activity.LevelWarn, Text: string(line)})
		j.text = j.text[min(len(line)+1, len(j.text)):]
	}
}

// finalError returns the error with which the command ends, in the words of the daemon if it has sent one.
func finalError(err error, message string, code int) *activity.Error {
	if e, ok := errors.AsType[*activity.Error](err); ok && code != exitInterrupted {
		return e
	}
	return &activity.Error{Level: activity.LevelError, Message: message}
}
