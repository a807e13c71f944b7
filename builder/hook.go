package builder

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"pix/activity"
)

// A hook is a program of the administrator that a build runs. It inherits the environment of this process.
type hook struct {
	program string
	args    []string
	user    *ids   // nil is the user of this process
	dir     string // "" is the working directory of this process
}

// hookGrace is how long the output of a hook stays open after it has ended, or was killed: its children may hold it.
const hookGrace = 500 * time.Millisecond

// runHook runs a hook, and returns what it prints. Its error output is reported line by line. When ctx ends, the
// hook and its process group are killed.
func (b *build) runHook(ctx context.Context, h *hook) (output string, err error) {
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, h.program, h.args...)
	cmd.Dir = h.dir
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.WaitDelay = hookGrace
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if h.user != nil {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(h.user.uid), Gid: uint32(h.user.gid)}
	}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	err = cmd.Run()
	for line := range strings.Lines(stderr.String()) {
		b.say(activity.LevelError, strings.TrimSuffix(line, "\n"))
	}
	if ctx.Err() != nil {
		return "", context.Cause(ctx)
	}
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		status, _ := exit.Sys().(syscall.WaitStatus)
		return stdout.String(), fmt.Errorf("program %q %s", h.program, describeExit(status.ExitStatus(), int(status.Signal())))
	}
	if errors.Is(err, exec.ErrWaitDelay) {
		err = nil
	}
	return stdout.String(), err
}
