package realnix

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"syscall"
	"time"
)

// private are the directories inside that each daemon has for itself. The rest is the suite's, and read-only.
var private = []string{"/nix", "/tmp", "/root"}

// holderScript sets up the mounts of the new namespaces, and then sleeps as their process 1. $1 is the suite's root, $2 the
// directory of the private directories.
//
// It changes the root by pivot_root instead of chroot: inside a chroot, user namespaces and another pivot_root are not
// allowed, and both are needed for sandboxed builds.
const holderScript = `
set -e
mount --make-rprivate /
mount --bind "$1" "$1"
for dir in /nix /tmp /root; do
	mount --bind "$2$dir" "$1$dir"
done
mount --rbind /dev "$1/dev"
mount -t proc proc "$1/proc"
# Not possible without root, where the file system has flags that it would drop. It is only a precaution.
mount -o remount,bind,ro "$1" || [ "$(id -u)" != 0 ] || exit 1
cd "$1"
pivot_root . mnt
umount --lazy /mnt
echo ready
# Ignoring this signal makes the kernel reap orphans. (dash's trap cannot ignore it.)
exec env --ignore-signal=CHLD sleep infinity
`

// A holder is the process that holds the namespaces of a daemon.
type holder struct {
	cmd   *exec.Cmd
	pidNS string // names the process namespace
	ended chan struct{}
}

// hold creates the namespaces: the suite's root, with private directories from tmp. Errors of the mounts are written to log.
func hold(root, tmp string, log *os.File) (*holder, error) {
	ready, stdout, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer ready.Close()

	cmd := exec.Command("/bin/sh", "-c", holderScript, "realnix", root, tmp)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}
	cmd.Stdout, cmd.Stderr = stdout, log
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID,
		Setpgid:    true, // Ctrl-C must reach only the test, which then ends the holder
		Pdeathsig:  syscall.SIGKILL,
	}
	if os.Geteuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Geteuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getegid(), Size: 1}}
	}

	h := &holder{cmd: cmd, ended: make(chan struct{})}
	started := make(chan error)
	go func() {
		// Pdeathsig is sent when the thread that started the process ends, so this thread must not end.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		stdout.Close()
		started <- err
		if err == nil {
			cmd.Wait() // the holder is always killed
		}
		close(h.ended)
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("creating namespaces: %w", err)
	}
	if _, err := bufio.NewReader(ready).ReadString('\n'); err != nil {
		h.end()
		if err == io.EOF {
			err = errors.New("mounting failed")
		}
		return nil, err
	}
	h.pidNS, err = os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", cmd.Process.Pid))
	if err != nil {
		h.end()
		return nil, err
	}
	return h, nil
}

// command returns a command that runs inside.
func (h *holder) command(ctx context.Context, args []string) *exec.Cmd {
	enter := []string{"--target", strconv.Itoa(h.cmd.Process.Pid), "--mount", "--pid"}
	if os.Geteuid() != 0 {
		enter = append(enter, "--user", "--preserve-credentials")
	}
	cmd := exec.CommandContext(ctx, "nsenter", append(append(enter, "--"), args...)...)
	// Its own process group identifies everything that the command starts inside.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error {
		// Kill the command, and not nsenter, which then ends by itself. Without nsenter, the command would become a
		// child of the machine's process 1, which in a container may never reap it; until then, neither the namespace
		// nor its holder can end.
		for cmd.Process.Signal(syscall.Signal(0)) == nil {
			for _, pid := range h.others() {
				if group, err := syscall.Getpgid(pid); err == nil && group == cmd.Process.Pid {
					syscall.Kill(pid, syscall.SIGKILL)
				}
			}
			time.Sleep(time.Millisecond)
		}
		return nil
	}
	return cmd
}

// others returns all processes inside, except the holder.
func (h *holder) others() []int {
	proc, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer proc.Close()
	entries, _ := proc.Readdirnames(-1)
	var pids []int
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry)
		if err != nil || pid == h.cmd.Process.Pid {
			continue
		}
		if ns, err := os.Readlink("/proc/" + entry + "/ns/pid"); err == nil && ns == h.pidNS {
			pids = append(pids, pid)
		}
	}
	return pids
}

// killOthers kills all processes inside, except the holder, and waits until they have ended.
func (h *holder) killOthers() {
	for pids := h.others(); len(pids) > 0; pids = h.others() {
		for _, pid := range pids {
			syscall.Kill(pid, syscall.SIGKILL)
		}
		time.Sleep(time.Millisecond)
	}
}

// end kills the holder, and with it the kernel kills everything inside. The holder ends after all other processes.
func (h *holder) end() {
	h.cmd.Process.Kill()
	<-h.ended
}
