package builder

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"pix/internal/modes"
)

// cgroupPrefix is the prefix of the names of cgroups of builds without a build user. The id of this process and a
// number follow it.
const cgroupPrefix = "nix-build-pid-"

var cgroupCount atomic.Uint64

// makeCgroup makes a cgroup for the build below the cgroup of this process, if the options or the derivation ask for
// it. The builder owns it, and may make others in it. A service manager must delegate the cgroup of this process to
// it. Otherwise makeCgroup warns, and the build runs without a cgroup of its own.
func (b *build) makeCgroup() (dir string, err error) {
	if !b.opts.Cgroups && !b.uidRange() {
		return "", nil
	}
	parent := ownCgroup()
	if parent == "" {
		b.warn("this machine has no cgroups of version 2, so builds do not get any")
		return "", nil
	}
	removeDeadCgroups(parent)
	dir = filepath.Join(parent, fmt.Sprintf("%s%d-%d", cgroupPrefix, os.Getpid(), cgroupCount.Add(1)))
	if b.user != nil {
		dir = filepath.Join(parent, fmt.Sprintf("nix-build-uid-%d", b.user.uid))
		if err := b.replaceCgroup(dir); err != nil {
			return "", err
		}
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		b.warn(fmt.Sprintf("builds do not get cgroups, since the cgroup of this process is not delegated to it: %v", err))
		return "", nil
	}
	if b.user == nil {
		return dir, nil
	}
	for _, name := range []string{"", "cgroup.procs", "cgroup.threads"} {
		if err := os.Chown(filepath.Join(dir, name), b.user.uid, b.user.gid); err != nil {
			return dir, err
		}
	}
	return dir, nil
}

// replaceCgroup records the cgroup of the build user in a file. It first removes the cgroup that the file names,
// which a killed process may have left.
func (b *build) replaceCgroup(dir string) error {
	notes := filepath.Join(b.store.StateDir(), "cgroups")
	if err := modes.MkdirAll(notes); err != nil {
		return err
	}
	note := filepath.Join(notes, strconv.Itoa(b.user.uid))
	if before, err := os.ReadFile(note); err == nil && strings.HasPrefix(string(before), cgroupMount()+"/") {
		if err := destroyCgroup(string(before)); err != nil {
			return err
		}
	}
	if err := destroyCgroup(dir); err != nil {
		return err
	}
	return os.WriteFile(note, []byte(dir), modes.File)
}

// removeDeadCgroups removes the empty cgroups of builds whose process was killed. The kernel refuses to remove a
// cgroup that has processes.
func removeDeadCgroups(parent string) {
	dirs, err := filepath.Glob(filepath.Join(parent, cgroupPrefix+"*"))
	if err != nil {
		return
	}
	for _, dir := range dirs {
		id, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(dir), cgroupPrefix), "-")
		if pid, err := strconv.Atoi(id); err == nil && errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
			os.Remove(dir)
		}
	}
}

// destroyCgroup kills the processes of a cgroup and of its descendants, and removes these cgroups.
func destroyCgroup(dir string) error {
	err := os.WriteFile(filepath.Join(dir, "cgroup.kill"), []byte("1"), 0)
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
			return nil
		}
	}
	for deadline := time.Now().Add(killLimit); ; time.Sleep(time.Millisecond) {
		err := removeCgroups(dir)
		if err == nil || time.Now().After(deadline) {
			return err
		}
	}
}

// removeCgroups removes a cgroup and its descendants, which must have no processes.
func removeCgroups(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.IsDir() {
			if err := removeCgroups(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return os.Remove(dir)
}

// removeCgroup removes the cgroup of the build, and records the processor time that its processes used.
func (b *build) removeCgroup() error {
	if b.cgroup == "" {
		return nil
	}
	text, err := os.ReadFile(filepath.Join(b.cgroup, "cpu.stat"))
	if err == nil {
		for line := range strings.Lines(string(text)) {
			name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
			usec, err := strconv.ParseInt(value, 10, 64)
			switch {
			case err != nil:
			case name == "user_usec":
				b.cpuUser = time.Duration(usec) * time.Microsecond
			case name == "system_usec":
				b.cpuSystem = time.Duration(usec) * time.Microsecond
			}
		}
	}
	err = destroyCgroup(b.cgroup)
	b.cgroup = ""
	return err
}
