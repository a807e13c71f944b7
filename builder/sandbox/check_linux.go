package sandbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Check tries a sandbox: see the function [Check].
func (r *Runner) Check(ctx context.Context) error {
	r.checkMu.Lock()
	defer r.checkMu.Unlock()
	if r.checked {
		return r.check
	}
	err := r.try(ctx, ownUser(), true)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if !errors.Is(err, ErrLost) {
		r.checked, r.check = true, err
	}
	return err
}

// ownUser returns a request of a process that runs as the user of this process.
func ownUser() *Request {
	return &Request{UID: 1000, GID: 100, HostUID: unix.Geteuid(), HostGID: unix.Getegid()}
}

// try runs a process that does nothing. With namespaces, its root directory is empty.
func (r *Runner) try(ctx context.Context, req *Request, namespaces bool) error {
	req.Builtin, req.Dir = trial, "/"
	if namespaces {
		root, err := os.MkdirTemp("", "pix-sandbox-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(root)
		if req.Root, err = filepath.Abs(root); err != nil {
			return err
		}
		if err := os.Chmod(root, 0o755); err != nil { // a build user enters it
			return err
		}
	}
	var log limitedBuffer
	result, err := r.Run(ctx, req, &log)
	if err == nil && result.Signal != 0 {
		// Run kills a process that takes long to end after it has closed its output, as on a very busy machine.
		result, err = r.Run(ctx, req, &log)
	}
	switch {
	case err != nil:
		return err
	case result.ExitCode != 0:
		reason := strings.TrimSpace(fmt.Sprintf("it ended with exit code %d and signal %d %s", result.ExitCode, result.Signal, strings.TrimSpace(log.String())))
		return &SetupError{Step: "running a program", Err: errors.New(reason)}
	}
	return nil
}

// A limitedBuffer keeps the first 4096 bytes.
type limitedBuffer struct{ bytes.Buffer }

func (b *limitedBuffer) Write(p []byte) (int, error) {
	b.Buffer.Write(p[:min(len(p), max(0, 4096-b.Len()))])
	return len(p), nil
}

// trialUser is the first of the users that Nix allocates by itself.
const trialUser = 0x34000000

// Examine tries what this machine can do: see the function [Examine].
func (r *Runner) Examine(ctx context.Context, uid, gid int) (*Findings, error) {
	if uid == 0 {
		uid, gid = trialUser, trialUser
	}
	f := &Findings{
		Namespaces: r.try(ctx, ownUser(), true),
		Filter:     r.try(ctx, ownUser(), false),
		Landlock:   landlockABI(),
		Shell:      FindShell(),
	}
	if unix.Geteuid() == 0 {
		f.BuildUsers = r.try(ctx, &Request{UID: 1000, GID: 100, HostUID: uid, HostGID: gid}, true)
		f.Ranges = r.try(ctx, &Request{HostUID: trialUser, HostGID: trialUser, IDs: 1 << 16}, true)
	} else {
		f.BuildUsers = errors.New("only root can run processes as other users")
		f.Ranges = f.BuildUsers
	}
	f.CgroupDir, f.Cgroups = tryCgroup()
	f.KVM = tryKVM()
	var uts unix.Utsname
	if err := unix.Uname(&uts); err != nil {
		return nil, os.NewSyscallError("uname", err)
	}
	f.Kernel = unix.ByteSliceToString(uts.Release[:])
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return f, nil
}

func tryKVM() error {
	f, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return f.Close()
}

// tryCgroup makes a cgroup below the cgroup of this process and removes it. It returns the directory of the latter.
func tryCgroup() (string, error) {
	dir, err := cgroupDir()
	if err != nil {
		return "", err
	}
	child, err := os.MkdirTemp(dir, "pix-trial-")
	if err != nil {
		return dir, &SetupError{Step: "making a cgroup", Err: err, Advice: "Run it in a systemd unit with Delegate=yes, or in a scope: systemd-run --user --scope -p Delegate=yes …"}
	}
	return dir, os.Remove(child)
}

// cgroupDir returns the directory of this process's cgroup of version 2.
func cgroupDir() (string, error) {
	b, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return "", err
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(b)) {
		name, ok := strings.CutPrefix(strings.TrimSpace(line), "0::")
		if !ok {
			continue
		}
		for mount := range strings.Lines(string(mounts)) {
			before, after, _ := strings.Cut(mount, " - ")
			if fields := strings.Fields(before); len(fields) > 4 && strings.HasPrefix(after, "cgroup2 ") {
				return filepath.Join(fields[4], name), nil
			}
		}
	}
	return "", errors.New("this machine has no cgroups of version 2")
}
