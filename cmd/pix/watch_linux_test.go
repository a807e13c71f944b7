package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"pix/activity"
	"pix/internal/termtest"
)

// The live view of another command's builds is the one of pix build: with the tree of the derivations, and a summary.
func TestWatchLive(t *testing.T) {
	b := newScriptedBuild(t, "lib", "app")
	dir := t.TempDir()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	fifo := filepath.Join(dir, "fifo")
	if err := errors.Join(os.Symlink(exe, filepath.Join(dir, "pix")), syscall.Mkfifo(fifo, 0o600)); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/bin/sh", "-c", "exec "+dir+"/pix watch < "+fifo)
	cmd.Env = append(os.Environ(), "NIX_DAEMON_SOCKET_PATH="+b.socket, "TERM=xterm", "LANG=C.UTF-8", "LC_ALL=C.UTF-8", "NO_COLOR=1", "PIX_STORE=daemon", "PIX_PROGRESS=live", "GORACE=atexit_sleep_ms=0")
	term := termtest.Start(t, 80, 24, cmd)
	input, err := os.OpenFile(fifo, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer input.Close()
	send := func(events ...activity.Event) {
		t.Helper()
		for _, e := range events {
			if _, err := input.WriteString(eventLine(e)); err != nil {
				t.Fatal(err)
			}
		}
	}
	send(activity.Log{Level: activity.LevelInfo, Text: "these 2 derivations will be built:"},
		activity.Log{Level: activity.LevelInfo, Text: "  " + string(b.drvs["lib"])},
		activity.Log{Level: activity.LevelInfo, Text: "  " + string(b.drvs["app"])},
		b.starts(1, "lib"), says(1, "10%\r50%\x1b[2J"))
	waitForLines(t, term, "○ app waits for 1", "└─ ● lib Ns  50%", "1 running · 0 of 2 built · Ns · 1 waiting")
	if _, err := input.WriteString("a line of the command\x1b[2J\n"); err != nil {
		t.Fatal(err)
	}
	waitForLines(t, term, "a line of the command", "○ app waits for 1", "└─ ● lib Ns  50%", "1 running · 0 of 2 built · Ns · 1 waiting")
	failure := &activity.Error{Message: "Cannot build '" + string(b.drvs["lib"]) + "'.\nReason: builder failed with exit code 3."}
	if _, err := input.WriteString(string(activity.AppendErrorJSON([]byte(activity.JSONPrefix), failure)) + "\n"); err != nil {
		t.Fatal(err)
	}
	send(activity.Stop{ID: 1})
	input.Close()
	if status := exitStatus(term.Wait()); status != exitNo {
		t.Errorf("exit status %d", status)
	}
	lines := strings.Join(screenLines(term), "\n")
	for _, want := range []string{"a line of the command\n✗ lib failed after Ns", "  builder failed with exit code 3", "0 of 2 built, 1 failed, 1 need a failed build in Ns"} {
		if !strings.Contains(lines, want) {
			t.Errorf("the terminal shows\n%s\nwithout %q", lines, want)
		}
	}
	checkTerminal(t, term)
}
