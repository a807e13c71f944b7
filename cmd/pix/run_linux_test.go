package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"pix/builder/sandbox"
	"pix/internal/termtest"
	"pix/localstore"
	"pix/store"
)

// The program of 'pix shell' writes to the terminal itself, although pix could draw a live view there. An interrupt from the terminal
// goes to the program and does not end pix, which returns the program's exit code.
func TestShellInterrupted(t *testing.T) {
	if err := sandbox.Check(t.Context()); err != nil {
		t.Skipf("this machine has no sandbox: %v", err)
	}
	root := t.TempDir()
	s, err := localstore.Open(t.Context(), &localstore.Options{Root: root})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	path, err := store.AddText(t.Context(), s, "text", "text", nil)
	if err != nil {
		t.Fatal(err)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	end := filepath.Join(t.TempDir(), "end")
	cmd := exec.Command(exe, "--store", root, "shell", string(path), "-c", "sh", "-c",
		`trap "echo interrupted" INT; stty -echo; test -t 1 && test -t 2 && echo ready; until [ -e "$END" ]; do sleep 0.02; done; echo ended; exit 5`)
	cmd.Args[0] = "pix"
	cmd.Env = append(os.Environ(), "END="+end, "NIX_CONF_DIR="+root, "NIX_USER_CONF_FILES=", "NIX_CONFIG=", "TERM=xterm", "PIX_PROGRESS=", "GORACE=atexit_sleep_ms=0")
	term := termtest.Start(t, 80, 10, cmd)
	waitForLines(t, term, "ready")
	term.Type("\x03")
	waitForLines(t, term, "ready", "interrupted")
	term.Type("\x03") // the second one would kill pix
	waitForLines(t, term, "ready", "interrupted", "interrupted")
	if err := os.WriteFile(end, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	err = term.Wait()
	if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != 5 {
		t.Errorf("%v", err)
	}
	waitForLines(t, term, "ready", "interrupted", "interrupted", "ended")
}
