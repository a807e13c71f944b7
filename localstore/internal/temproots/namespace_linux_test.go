package temproots

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"pix/internal/flock"
)

// inNamespace makes a process the first one of a PID namespace, as in a container.
func inNamespace(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID}
}

// Processes of different PID namespaces have the same id, and separate roots.
func TestSamePID(t *testing.T) {
	s := newState(t)
	a, b := startHolder(t, s, inNamespace), startHolder(t, s, inNamespace)
	if pid := a.add(t, 1); pid != 1 {
		t.Fatalf("the process has the id %d", pid)
	}
	b.add(t, 2)
	want(t, s, "of both", somePath(t, 1), somePath(t, 2))
	for _, name := range files(t, s) {
		if !strings.HasPrefix(name, "1-") {
			t.Errorf("the file is %q", name)
		}
	}

	// A Nix process with that id creates its file as all versions do: it deletes an existing file with the name.
	own := filepath.Join(s.RootsDir(), "1")
	if err := os.Remove(own); err == nil {
		t.Error("Nix would have deleted a file")
	}
	f, end := writeRoots(t, s, "1", flock.Exclusive, somePath(t, 3))
	a.add(t, 4)
	want(t, s, "of three", somePath(t, 1), somePath(t, 2), somePath(t, 3), somePath(t, 4))
	os.Remove(f.Name())
	end()
	want(t, s, "of two", somePath(t, 1), somePath(t, 2), somePath(t, 4))

	a.kill()
	want(t, s, "after one was killed", somePath(t, 2))

	// A file with that name of an older pix, whose roots belong to another process, stays separate, too.
	writeRoots(t, s, "1", flock.Exclusive, somePath(t, 5))
	writeRoots(t, s, "1-2", flock.Exclusive, somePath(t, 6))
	c := startHolder(t, s, inNamespace)
	c.add(t, 7)
	want(t, s, "beside an older pix", somePath(t, 2), somePath(t, 5), somePath(t, 6), somePath(t, 7))
}
