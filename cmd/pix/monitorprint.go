package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf16"

	"pix/monitor"
)

// A monitorPrinter prints events and totals. Its methods may be called by any number of goroutines.
type monitorPrinter struct {
	mu      sync.Mutex
	w       io.Writer
	summary io.Writer // for totals as text
	asJSON  bool
	filter  *monitor.Filter
	totals  monitor.Totals
	started bool     // false if nothing was monitored, so there are no totals
	file    *os.File // nil if w is a stream
	emptied bool     // the old contents of file are gone
	err     error
	failed  func(error) // reports the first error
}

// monitorOutput returns the printer for the flags. A command has the standard output for itself.
func (a *app) monitorOutput(o *monitorOptions, hasCommand bool) (*monitorPrinter, error) {
	out := &monitorPrinter{w: a.stdout, summary: a.stderr, asJSON: o.asJSON, filter: &o.filter, failed: func(error) {}}
	if hasCommand {
		out.w = a.stderr
	}
	if o.output == "" {
		return out, nil
	}
	f, err := os.OpenFile(o.output, os.O_WRONLY|os.O_CREATE, 0o600) // the first write removes the old contents
	if err != nil {
		return nil, &usageError{fmt.Errorf("--output: %w", err)}
	}
	out.w, out.file = f, f
	return out, nil
}

// isFile reports whether the output goes into a file with this name.
func (p *monitorPrinter) isFile(name string) bool {
	if p.file == nil {
		return false
	}
	output, err := p.file.Stat()
	if err != nil || !output.Mode().IsRegular() {
		return false
	}
	info, err := os.Stat(name)
	return err == nil && os.SameFile(output, info)
}

// event counts an event, and prints the events that the filter selects for it. After an error it only
// counts.
func (p *monitorPrinter) event(e *monitor.Event) {
	p.totals.Add(e)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err != nil {
		return
	}
	for _, e := range p.filter.Select(e) {
		if p.asJSON {
			p.printObject(newMonitorJSON(e))
		} else {
			p.print(e.String() + "\n")
		}
	}
}

// print writes text. After an error it writes no more.
func (p *monitorPrinter) print(text string) {
	if p.err != nil {
		return
	}
	p.err = p.empty()
	if p.err == nil {
		_, p.err = io.WriteString(p.w, text)
	}
	if p.err != nil {
		p.failed(p.err)
	}
}

// empty removes the old contents of the file before the first write. If nothing could be monitored, they stay.
func (p *monitorPrinter) empty() error {
	if p.file == nil || p.emptied {
		return nil
	}
	p.emptied = true
	if info, err := p.file.Stat(); err != nil || !info.Mode().IsRegular() {
		return err
	}
	return p.file.Truncate(0)
}

// failure returns the error of an earlier write.
func (p *monitorPrinter) failure() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

// printObject prints an object as one line.
func (p *monitorPrinter) printObject(v any) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		p.err = err
		return
	}
	p.print(escapeUnprintable(b.String()))
}

// escapeUnprintable escapes the characters in a line of JSON that could control a terminal or change
// the reading order, which JSON allows in strings.
func escapeUnprintable(line string) string {
	isSafe := func(r rune) bool { return unicode.IsPrint(r) || r == '\n' }
	if strings.IndexFunc(line, func(r rune) bool { return !isSafe(r) }) < 0 {
		return line
	}
	var b strings.Builder
	for _, r := range line {
		if isSafe(r) {
			b.WriteRune(r)
			continue
		}
		for _, unit := range utf16.AppendRune(nil, r) {
			fmt.Fprintf(&b, `\u%04x`, unit)
		}
	}
	return b.String()
}

// printTotals prints the totals so far.
func (p *monitorPrinter) printTotals() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s := p.totals.Summary(); p.asJSON {
		p.printObject(newMonitorSummaryJSON(s))
	} else {
		io.WriteString(p.summary, s.String()) //nolint:errcheck // a message
	}
}

// repeatTotals prints the totals regularly, until stop is called.
func (p *monitorPrinter) repeatTotals(every time.Duration) (stop func()) {
	if every <= 0 {
		return func() {}
	}
	ticker, ended, done := time.NewTicker(every), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-ticker.C:
				p.printTotals()
			case <-ended:
				return
			}
		}
	}()
	return func() {
		ticker.Stop()
		close(ended)
		<-done
	}
}

// close prints the totals if there are any, and closes the file.
func (p *monitorPrinter) close() error {
	if p.started {
		p.printTotals()
	}
	if p.file == nil {
		return p.err
	}
	var err error
	if p.started {
		err = p.empty()
	}
	if err = errors.Join(err, p.file.Close()); err != nil && p.err == nil {
		p.err = err
		p.failed(err)
	}
	return p.err
}
