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

	"github.com/spf13/cobra"

	"pix/activity"
	"pix/builder/sandbox"
	"pix/internal/printable"
	"pix/monitor"
	"pix/store"
)

func main() {
	sandbox.Main() // does not return in the processes that make sandboxes, which execute this program again
	monitor.Main() // does not return in the processes that connect to a daemon as another user
	sandbox.UseHelper(sandbox.HelperBeside())
	os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr, os.Getenv))
}

// run runs the command with these arguments and returns its exit code.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer, getenv func(string) string) int {
	a := newApp(stdin, stdout, stderr, getenv)
	defer a.progress.end(nil) // a panic must not leave the terminal in the state of the live view
	ctx, stop := interruptible(a.progress.restore, a.running.takes)
	defer stop()
	a.conf.ctx = ctx
	root := newRoot(a)
	args = joinOptions(root, endShellFlags(root, args))
	root.SetArgs(args)
	help := &errorKeeper{Writer: stdout}
	if len(args) > 0 && strings.HasPrefix(args[0], cobra.ShellCompRequestCmd) {
		help.Writer = &completionWriter{w: stdout}
	}
	root.SetOut(help)
	root.SetErr(stderr)
	err := checkVerb(root, args)
	if err == nil {
		err = root.ExecuteContext(ctx)
	}
	err = a.progress.end(err)
	if err == nil {
		err = help.err
	}
	code := exitCode(ctx, err)
	if message := errorMessage(err, code); message != "" {
		a.printError(stderr, err, message, code)
	}
	return code
}

// printError prints the error with which the command ends.
func (a *app) printError(stderr io.Writer, err error, message string, code int) {
	if j := a.progress.json; j != nil {
		j.error(finalError(err, message, code))
		return
	}
	fmt.Fprintln(stderr, "pix: "+message)
}

// An errorKeeper keeps the first error of its writer. Cobra ignores errors when it prints help.
type errorKeeper struct {
	io.Writer
	err error
}

func (w *errorKeeper) Write(p []byte) (int, error) {
	n, err := w.Writer.Write(p)
	if err != nil && w.err == nil {
		w.err = err
	}
	return n, err
}

// errInterrupted is the cause of a context that was cancelled by a signal.
var errInterrupted = errors.New("interrupted")

// interruptible returns a context that the first interrupt or SIGTERM cancels. The second one kills the process
// as if it had no handler, after a call of beforeKill. A signal for which takes returns true has no effect. stop restores
// the default handlers.
func interruptible(beforeKill func(), takes func(os.Signal) bool) (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 1)
	// A shell without job control starts background processes with interrupts ignored. signal.Stop restores that, so
	// another interrupt would not kill this process.
	isIgnored := signal.Ignored(os.Interrupt)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	stopped := make(chan struct{})
	go func() {
		interrupted := false
		for {
			select {
			case sig := <-signals:
				if takes(sig) {
					continue
				}
				if !interrupted {
					interrupted = true
					cancel(errInterrupted)
					continue
				}
				beforeKill()
				if isIgnored && sig == os.Interrupt {
					os.Exit(exitInterrupted)
				}
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

// kill ends this process with a signal, so that its parent sees the signal as the cause.
func kill(sig os.Signal) {
	self, err := os.FindProcess(os.Getpid())
	if err == nil {
		err = self.Signal(sig)
	}
	if err != nil { // not supported on every system
		os.Exit(exitInterrupted)
	}
}

// sandboxFailed begins the message of a [sandbox.SetupError], which may come as the text of a failed build.
const sandboxFailed = "setting up the sandbox: "

// safeText returns the text of a message without control characters, and with escapes for characters that change the
// direction of text. Names of files and texts of other machines can have both.
func safeText(text string) string {
	columns := strings.Split(activity.Plain(text), "\t")
	for i, column := range columns {
		columns[i] = printable.Escape(column)
	}
	return strings.Join(columns, "\t")
}

// errorMessage returns the message that is printed for an error, or "" for none. A message of several lines comes
// from a daemon; all lines after the first are indented.
func errorMessage(err error, code int) string {
	var silent *silentError
	if err == nil || errors.As(err, &silent) {
		return ""
	}
	if code == exitInterrupted {
		return errInterrupted.Error()
	}
	if cannot, ok := errors.AsType[*store.UnsupportedError](err); ok {
		err = fmt.Errorf("this store cannot %s; name one that can with --store", cannot.What)
	}
	if _, ok := errors.AsType[*store.LimitError](err); ok {
		err = fmt.Errorf("%w; if you trust it, set PIX_CLOSURE_LIMIT to a larger size, such as 1G", err)
	}
	if advice := requestAdvice(err); advice != "" {
		err = fmt.Errorf("%w%s", err, advice)
	}
	message := strings.TrimRight(ownAdvice(safeText(errorText(err))), " \n")
	if strings.Contains(message, sandboxFailed) {
		message += "\n'pix doctor' prints what this machine can do for builds."
	}
	return strings.ReplaceAll(message, "\n", "\n  ")
}
