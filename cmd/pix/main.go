// The pix command works on Nix stores. It is a thin skin over the pix library: each verb
// is a file of its own.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"pix/activity"
	"pix/store"
)

func main() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr, os.Getenv)) }

// run runs the command with these arguments and returns its exit code.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer, getenv func(string) string) int {
	shown := new(progress)
	defer shown.end(nil) // also when something panics
	ctx, stop := interruptible(shown.restore)
	defer stop()
	root := newRoot(&app{stdin: stdin, stdout: stdout, stderr: stderr, getenv: getenv, progress: shown})
	root.SetArgs(args)
	help := &attentive{Writer: stdout}
	root.SetOut(help)
	root.SetErr(stderr)
	err := shown.end(root.ExecuteContext(ctx))
	if err == nil {
		err = help.err
	}
	code := exitCode(ctx, err)
	if message := errorMessage(err, code); message != "" {
		fmt.Fprintln(stderr, "pix: "+message)
	}
	return code
}

// An attentive writer remembers an error for those who do not look, as cobra does when it prints
// help.
type attentive struct {
	io.Writer
	err error
}

func (w *attentive) Write(p []byte) (int, error) {
	n, err := w.Writer.Write(p)
	if err != nil && w.err == nil {
		w.err = err
	}
	return n, err
}

// errInterrupted is the cause of a context that a signal ended.
var errInterrupted = errors.New("interrupted")

// interruptible returns a context that ends with the first interrupt. The second kills, as
// if nobody had listened, after a last call.
func interruptible(last func()) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	stopped := make(chan struct{})
	go func() {
		for n := 1; ; n++ {
			select {
			case sig := <-signals:
				if n == 1 {
					cancel(errInterrupted)
					continue
				}
				last()
				signal.Stop(signals)
				kill(sig)
			case <-stopped:
				return
			}
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		close(stopped)
		cancel(nil)
	}
}

// kill ends the process by a signal.
func kill(sig os.Signal) {
	self, err := os.FindProcess(os.Getpid())
	if err == nil {
		err = self.Signal(sig)
	}
	if err != nil { // not everywhere can a process do that
		os.Exit(exitInterrupted)
	}
}

// errorMessage returns what is said of an error, or "". It is one line, but for what a
// daemon said in several: those that follow the first are indented.
func errorMessage(err error, code int) string {
	var silent *silentError
	if err == nil || errors.As(err, &silent) {
		return ""
	}
	if code == exitInterrupted {
		return errInterrupted.Error()
	}
	if cannot, ok := errors.AsType[*store.UnsupportedError](err); ok { // people know no types
		err = fmt.Errorf("this store cannot %s; name one that can with --store", cannot.What)
	}
	if _, ok := errors.AsType[*store.LimitError](err); ok {
		err = fmt.Errorf("%w; if you trust it, set PIX_CLOSURE_LIMIT to a larger size, such as 1G", err)
	}
	message := strings.TrimRight(ownAdvice(activity.Plain(errorText(err))), " \n")
	return strings.ReplaceAll(message, "\n", "\n  ")
}
