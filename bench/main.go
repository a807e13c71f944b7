package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"slices"
	"strings"
	"time"
)

// options are the flags of the command.
type options struct {
	full     bool
	only     *regexp.Regexp
	rounds   int
	rowTime  time.Duration
	output   string
	goNix    string
	daemon   string
	harmonia string // the program harmonia-cache
}

// size returns the size of a row's work: small, or with -full the large one.
func (o *options) size(small, full int) int {
	if o.full {
		return full
	}
	return small
}

func main() {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case measureArg:
			os.Exit(measureChild(os.Args[2:]))
		case taskArg:
			os.Exit(runTask(os.Args[2:]))
		}
	}
	if err := run(parseFlags()); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// parseFlags returns the options of the command line. It ends the process on a usage error.
func parseFlags() *options {
	var o options
	var only string
	flag.BoolVar(&o.full, "full", false, "measure with the large sizes; this takes long")
	flag.StringVar(&only, "only", "", "measure only the rows whose names match this regular expression")
	flag.IntVar(&o.rounds, "rounds", 3, "the `number` of measurements of each contender")
	flag.DurationVar(&o.rowTime, "row-time", 0, "the `time` after which no other round of a row begins; 0 is no limit")
	flag.StringVar(&o.output, "o", "", "write the table to this `file`, and progress to standard output")
	flag.StringVar(&o.goNix, "go-nix", "", "the `directory` of a checkout of github.com/numtide/go-nix")
	flag.StringVar(&o.daemon, "daemon", "", "`NAME=SOCKET` of a running daemon of another implementation")
	flag.StringVar(&o.harmonia, "harmonia", "", "the `file` of the program harmonia-cache")
	flag.Parse()
	var err error
	if o.only, err = regexp.Compile(only); err != nil {
		usageError("-only: %v", err)
	}
	if o.rounds < 1 {
		usageError("-rounds must be at least 1")
	}
	if o.daemon != "" && !strings.Contains(o.daemon, "=") {
		usageError("-daemon must be NAME=SOCKET")
	}
	if flag.NArg() > 0 {
		usageError("unexpected argument %q", flag.Arg(0))
	}
	return &o
}

func usageError(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "bench: "+format+"\n", args...)
	flag.Usage()
	os.Exit(2)
}

// run measures the rows, and writes the table.
func run(o *options) error {
	l, err := newLab(o)
	if err != nil {
		return err
	}
	defer l.end()
	progress := io.Writer(os.Stderr)
	if o.output != "" {
		progress = os.Stdout
	}
	// The first interrupt ends the run after the current row, so that its stores are removed. The second one kills it.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	context.AfterFunc(ctx, stop)
	start, load := time.Now(), loadAverage()
	var results []result
	for _, r := range rows {
		if !o.only.MatchString(r.name) {
			continue
		}
		if ctx.Err() != nil {
			break
		}
		began := time.Now()
		res := l.measure(r)
		results = append(results, res)
		fmt.Fprintf(progress, "%s  (%v)\n", res.line(), time.Since(began).Round(time.Second))
		if o.output != "" {
			if err := os.WriteFile(o.output, []byte(markdown(o, results, load, loadAverage(), time.Since(start))), 0o644); err != nil {
				return err
			}
		}
	}
	if o.output == "" {
		_, err = io.WriteString(os.Stdout, markdown(o, results, load, loadAverage(), time.Since(start)))
	}
	return err
}

// measure measures a row. What the row created is removed before it returns.
func (l *lab) measure(r row) (res result) {
	res.row = r
	t := newScope()
	err := t.try(func() {
		w := r.setup(l, t)
		res.work = w.text
		res.contenders = l.race(t, w.contenders)
	})
	if err != nil {
		res.missing = append(res.missing, err.Error())
	}
	res.missing = append(res.missing, t.missing...)
	if err := t.try(t.cleanUp); err != nil {
		res.missing = append(res.missing, "removing its files: "+err.Error())
	}
	return res
}

// race measures all contenders in turn.
func (l *lab) race(t *scope, contenders []contender) []figures {
	all := make([]figures, len(contenders))
	for i, c := range contenders {
		all[i].name = c.name
	}
	began := time.Now()
	for round := range l.rounds {
		if round > 0 && l.rowTime > 0 && time.Since(began) > l.rowTime {
			break
		}
		for i, c := range contenders {
			if all[i].failed {
				continue
			}
			m, err := c.run(round)
			if err != nil {
				all[i].failed = true
				t.missing = append(t.missing, fmt.Sprintf("%s: %v", c.name, err))
				continue
			}
			all[i].add(m)
		}
	}
	return slices.DeleteFunc(all, func(f figures) bool { return f.failed })
}
