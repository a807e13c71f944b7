package builder

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"

	"pix/activity"
	"pix/storepath"
)

// A PostBuildHook is a program that runs after each build, Nix's post-build-hook. It can upload the outputs, for
// example.
type PostBuildHook struct {
	// Program is a file name, or a name that is looked up in PATH.
	Program string

	// Env is the environment of the program, NAME=VALUE. [PostBuildHook.Run] adds DRV_PATH and OUT_PATHS.
	Env []string
}

// Run runs the program after the build of a derivation, and waits for it. The program gets the derivation in DRV_PATH
// and the outputs in OUT_PATHS, separated by spaces; it cannot read from standard input. Run reports its output line by
// line to the handler of ctx. The error of a failed program has the text of Nix.
//
// When ctx is done, Run kills the process group of the program. When the program has ended, Run reads for half a second
// more: a background process of the program may keep the output open. Nix waits for such a process.
func (h *PostBuildHook) Run(ctx context.Context, drv storepath.Path, outputs []storepath.Path) error {
	if err := contextDone(ctx); err != nil {
		return err
	}
	handler := activity.HandlerOf(ctx)
	if handler == nil {
		handler = activity.HandlerFunc(func(activity.Event) {})
	}
	id := activity.NewID()
	handler.HandleEvent(activity.Start{
		ID: id, Level: activity.LevelTalkative, Type: activity.PostBuildHook,
		Text: fmt.Sprintf("running post-build-hook '%s'", h.Program), Fields: []activity.Field{activity.Text(string(drv))},
	})
	defer func() { handler.HandleEvent(activity.Stop{ID: id}) }()
	lines := &lineWriter{report: func(line string) {
		handler.HandleEvent(activity.Result{ID: id, Type: activity.PostBuildLogLine, Fields: []activity.Field{activity.Text(line)}})
	}}
	err := h.run(ctx, drv, outputs, lines)
	lines.end()
	return err
}

// run runs the program. It reads the output on the goroutine of the caller, so that the caller's handler runs there.
func (h *PostBuildHook) run(ctx context.Context, drv storepath.Path, outputs []storepath.Path, lines *lineWriter) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	cmd := groupCommand(ctx, h.Program)
	cmd.Env = append(slices.Clone(h.Env), "DRV_PATH="+string(drv), "OUT_PATHS="+joinPaths(outputs))
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	cmd.Stdout, cmd.Stderr = w, w
	err = cmd.Start()
	w.Close()
	if err != nil {
		// As in Nix, where the new process prints the reason and exits with 1.
		fmt.Fprintf(lines, "error: executing %q: %s\n", h.Program, startReason(err))
		return fmt.Errorf("program %q %s", h.Program, describeExit(1, 0))
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		err = cmd.Wait()
		_ = r.SetReadDeadline(time.Now().Add(hookGrace))
	}()
	defer func() { // the handler may panic
		cancel()
		<-ended
	}()
	_, _ = io.Copy(lines, r) // until the end or the deadline
	<-ended
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return exitError(h.Program, err)
}

// groupCommand returns a command that runs in its own process group, which is killed when ctx is done.
func groupCommand(ctx context.Context, program string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.WaitDelay = hookGrace
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	return cmd
}

// exitError returns the error of a program that did not exit with 0, with the text of Nix.
func exitError(program string, err error) error {
	exit, ok := errors.AsType[*exec.ExitError](err)
	if !ok {
		if errors.Is(err, exec.ErrWaitDelay) {
			return nil
		}
		return err
	}
	status, _ := exit.Sys().(syscall.WaitStatus)
	return fmt.Errorf("program %q %s", program, describeExit(status.ExitStatus(), int(status.Signal())))
}

// startReason returns why a program could not be started, in words of the system.
func startReason(err error) string {
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist) {
		return "No such file or directory"
	}
	if errors.Is(err, fs.ErrPermission) {
		return "Permission denied"
	}
	if number, ok := errors.AsType[syscall.Errno](err); ok {
		return number.Error()
	}
	return err.Error()
}

func joinPaths(paths []storepath.Path) string {
	sorted := slices.Sorted(slices.Values(paths))
	words := make([]string, len(sorted))
	for i, path := range sorted {
		words[i] = string(path)
	}
	return strings.Join(words, " ")
}
