package builder

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// signalHelpers sends a signal to the supervisors and reapers of a process, which may have ended.
func signalHelpers(t *testing.T, helpers []int, signal syscall.Signal) {
	t.Helper()
	for _, pid := range helpers {
		if err := syscall.Kill(pid, signal); err != nil {
			t.Error(err)
		}
	}
}

// helpersOf returns the supervisor of a process and the reapers below it.
func helpersOf(t *testing.T, cmd *exec.Cmd) (helpers []int) {
	t.Helper()
	parents := map[int]bool{cmd.Process.Pid: true}
	for _, role := range []string{"pix-sandbox-supervisor", "pix-sandbox-reaper"} {
		files, err := filepath.Glob("/proc/[0-9]*/cmdline")
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			command, err := os.ReadFile(file)
			if err != nil || !bytes.HasPrefix(command, []byte(role)) {
				continue
			}
			stat, err := os.ReadFile(filepath.Join(filepath.Dir(file), "stat"))
			if err != nil {
				continue
			}
			var parent int
			if _, err := fmt.Sscanf(string(stat[bytes.LastIndexByte(stat, ')')+1:]), " %1s %d", new(string), &parent); err != nil || !parents[parent] {
				continue
			}
			pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
			if err != nil {
				t.Fatal(err)
			}
			helpers = append(helpers, pid)
			parents[pid] = true
		}
	}
	return helpers
}

// The builder of a killed process may live a moment longer. The next build of the derivation waits for its end, so the old
// builder cannot write to the output of the next one.
func TestNextBuildWaitsForKilledBuilder(t *testing.T) {
	both(t, func(t *testing.T, p *place) {
		p.killed = true
		dir := t.TempDir()
		started, last := filepath.Join(dir, "started"), filepath.Join(dir, "last")
		if err := os.Chmod(dir, 0o777); err != nil {
			t.Fatal(err)
		}
		if len(p.opts.SandboxPaths) > 0 {
			p.opts.SandboxPaths = append(p.opts.SandboxPaths, SandboxPath{Target: dir, Source: dir})
		}
		req := p.script("twice", "if [ -e "+last+" ]; then echo good > $out; sleep 0.05; exit; fi; echo > "+started+"; while :; do echo bad >> $out; sleep 0.01; done", nil)
		cmd := p.startVictim(req)
		for deadline := time.Now().Add(hang); ; time.Sleep(time.Millisecond) {
			if _, err := os.Stat(started); err == nil {
				break
			}
			if time.Now().After(deadline) {
				cmd.Process.Kill()
				t.Fatal("the builder does not start")
			}
		}
		p.write(last, "")
		helpers := helpersOf(t, cmd)
		if want := 2 - len(p.opts.SandboxPaths)/(len(hostPaths)+1); len(helpers) != want {
			t.Fatalf("%d helpers, not %d", len(helpers), want)
		}
		signalHelpers(t, helpers, syscall.SIGSTOP) // the old builder goes on until they continue
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		cmd.Wait()
		begin := time.Now()
		time.AfterFunc(time.Second, func() { signalHelpers(t, helpers, syscall.SIGCONT) })
		out := p.mustBuild(req)
		if waited := time.Since(begin); waited < 900*time.Millisecond {
			t.Errorf("the next build has ended after %v, before the old builder", waited)
		}
		time.Sleep(50 * time.Millisecond)
		if text, err := os.ReadFile(out); err != nil || strings.TrimSpace(string(text)) != "good" {
			t.Errorf("the output is %q, %v", text, err)
		}
		p.verify()
	})
}
