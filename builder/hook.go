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

// A hook is a program that the administrator configures and a build runs. It inherits the environment of this
// process.
type hook struct {
	program string
	args    []string
	user    *ids   // nil means the user of this process
	dir     string // "" means the working directory of this process
}

// hookGrace is how long pix reads the output of a hook after the hook has ended. A child of the hook may keep the
// output open.
const hookGrace = 500 * time.Millisecond

// runHook runs a hook, and returns its standard output. It reports the standard error line by line. When ctx is done,
// it kills the process group of the hook.
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
