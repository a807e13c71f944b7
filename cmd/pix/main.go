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
)

func main() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr, os.Getenv)) }

// run runs the command with these arguments and returns its exit code.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer, getenv func(string) string) int {
	ctx, stop := interruptible()
	defer stop()
	root := newRoot(&app{stdin: stdin, stdout: stdout, stderr: stderr, getenv: getenv})
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	code := exitCode(ctx, err)
	if message := errorMessage(err, code); message != "" {
		fmt.Fprintln(stderr, "pix: "+message)
	}
	return code
}

// errInterrupted is the cause of a context that a signal ended.
var errInterrupted = errors.New("interrupted")

// interruptible returns a context that ends with the first interrupt. The second kills, as
// if nobody had listened.
func interruptible() (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		select {
		case <-signals:
			signal.Stop(signals)
			cancel(errInterrupted)
		case <-ctx.Done():
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		cancel(nil)
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
	message := strings.TrimRight(activity.Plain(err.Error()), " \n")
	return strings.ReplaceAll(message, "\n", "\n  ")
}
