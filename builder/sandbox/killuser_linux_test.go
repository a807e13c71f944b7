package sandbox

import (
	"io"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// KillUser kills the processes of a user and no others. The supervisor stays root, and can start processes.
func TestKillUser(t *testing.T) {
	if unix.Geteuid() != 0 {
		t.Skip("only root can kill the processes of other users")
	}
	sleep := func(uid uint32) *exec.Cmd {
		cmd := exec.Command("sleep", "60")
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		return cmd
	}
	const user, other = 0x35001234, 0x35001235
	r := new(Runner)
	defer r.Close()
	neighbour := sleep(other)
	for range 20 {
		victim := sleep(user)
		if err := r.KillUser(t.Context(), user); err != nil {
			t.Fatal(err)
		}
		killed := make(chan error, 1)
		go func() { killed <- victim.Wait() }()
		select {
		case <-killed:
		case <-time.After(hang):
			t.Fatal("the process was not killed")
		}
	}
	var calls sync.WaitGroup
	for range 20 {
		calls.Go(func() {
			if err := r.KillUser(t.Context(), user); err != nil {
				t.Error(err)
			}
		})
		calls.Go(func() {
			req := testRequest(t, "exit", "0")
			if result, err := r.Run(t.Context(), req, io.Discard); err != nil || result.ExitCode != 0 {
				t.Error(result, err)
			}
		})
	}
	calls.Wait()
	if err := neighbour.Process.Signal(syscall.Signal(0)); err != nil {
		t.Errorf("a process of another user: %v", err)
	}
	neighbour.Process.Kill()
	neighbour.Wait()
	if err := r.KillUser(t.Context(), 0); err == nil {
		t.Error("the processes of root are killed")
	}
}

// A supervisor that is killed from outside does not fail KillUser.
func TestKillUserWithoutSupervisor(t *testing.T) {
	if unix.Geteuid() != 0 {
		t.Skip("only root can kill the processes of other users")
	}
	r := newRunner(t)
	for range 30 {
		if err := r.KillUser(t.Context(), 0x35001236); err != nil {
			t.Fatal(err)
		}
		supervisor := r.supervisor.process
		killed := make(chan error, 1)
		go func() { killed <- r.KillUser(t.Context(), 0x35001236) }()
		if err := supervisor.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := <-killed; err != nil {
			t.Fatal(err)
		}
	}
}
