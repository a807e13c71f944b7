package builder

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"pix/builder/sandbox"
)

// A process of a build user could change the files of later builds of this user. In a sandbox all processes end with the
// first one. Without one, a process may have left its process group, and another builder may have been killed before
// it could clean up.

// killBuiltin is the name of a function that kills all processes of its user.
const killBuiltin = "kill-user"

func init() { sandbox.Register(killBuiltin, killOwnProcesses) }

// killOwnProcesses kills all other processes that this process may send signals to. The kernel sends the signals at
// once, so a process that starts others all the time cannot escape.
func killOwnProcesses(context.Context, []byte, io.Writer) error {
	err := syscall.Kill(-1, syscall.SIGKILL)
	if err == syscall.ESRCH || err == syscall.EPERM {
		return nil // there is none
	}
	return err
}

// killLimit is how long killUser tries.
const killLimit = 5 * time.Second

// killUser kills all processes of the build user.
func (b *build) killUser(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, killLimit)
	defer cancel()
	for {
		running, err := hasProcess(b.user.uid)
		if err != nil || !running {
			return err
		}
		if ctx.Err() != nil {
			return fmt.Errorf("cannot kill processes for uid '%d': %w", b.user.uid, context.Cause(ctx))
		}
		req := &sandbox.Request{Builtin: killBuiltin, HostUID: b.user.uid, HostGID: b.user.gid, IDs: 1, Dir: "/"}
		if _, err := b.opts.executor().Run(ctx, req, io.Discard); err != nil {
			return fmt.Errorf("cannot kill processes for uid '%d': %w", b.user.uid, err)
		}
		time.Sleep(time.Millisecond) // killed processes need a moment to end
	}
}

// killLeftovers kills what a builder without a sandbox has left running.
func (b *build) killLeftovers(ctx context.Context) error {
	if b.user == nil || b.sandboxed {
		return nil
	}
	return b.killUser(context.WithoutCancel(ctx))
}

// hasProcess reports whether a process of a user is running. One that has ended, and waits for its parent to see that,
// does not count.
func hasProcess(uid int) (bool, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return false, err
	}
	for _, e := range entries {
		if _, err := strconv.Atoi(e.Name()); err == nil && isRunningAs(filepath.Join("/proc", e.Name(), "status"), uid) {
			return true, nil
		}
	}
	return false, nil
}

// isRunningAs reports whether a status file of /proc is of a running process with one of its user ids.
func isRunningAs(name string, uid int) bool {
	f, err := os.Open(name)
	if err != nil {
		return false // it has ended
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		field, value, _ := strings.Cut(lines.Text(), ":")
		values := strings.Fields(value)
		switch {
		case field == "State" && len(values) > 0 && (values[0] == "Z" || values[0] == "X"):
			return false
		case field == "Uid":
			for _, id := range values {
				if id == strconv.Itoa(uid) {
					return true
				}
			}
			return false
		}
	}
	return false
}
