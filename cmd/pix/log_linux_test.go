package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"pix/internal/termtest"
	"pix/internal/testenv"
)

// On a terminal, a log shows the last state of a progress bar, and its colours. It cannot change the title or the screen.
func TestLogTerminal(t *testing.T) {
	root := t.TempDir()
	testenv.RemoveStore(t, root)
	var out bytes.Buffer
	env := func(name string) string { return map[string]string{"PIX_STORE": root}[name] }
	if code := run([]string{"add-text", "x", "-"}, strings.NewReader("x"), &out, &out, env); code != exitYes {
		t.Fatalf("%s", out.Bytes())
	}
	const drv = "/nix/store/00000000000000000000000000000000-x.drv"
	file := filepath.Join(root, "nix/var/log/nix/drvs", filepath.Base(drv))
	if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte("\x1b[31mred\x1b[0m\x1b[2J\r\n10%\r50%\r100%\n\x1b]0;title\x07end\n"), 0o644)); err != nil {
		t.Fatal(err)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, "log", drv)
	cmd.Args[0] = "pix"
	cmd.Env = append(os.Environ(), "PIX_STORE="+root, "TERM=xterm", "LC_ALL=C.UTF-8", "GORACE=atexit_sleep_ms=0")
	term := termtest.Start(t, 80, 24, cmd)
	if status := exitStatus(term.Wait()); status != exitYes {
		t.Errorf("exit status %d", status)
	}
	waitForLines(t, term, "red", "100%", "end")
	checkTerminal(t, term)
}
