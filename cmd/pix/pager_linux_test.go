package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"pix/internal/termtest"
)

// On a terminal, a pager shows what does not fit. If there is no pager, or it does not run, the text is printed.
func TestPager(t *testing.T) {
	drv := filepath.Join(t.TempDir(), "x.drv")
	if err := os.WriteFile(drv, []byte(`Derive([("out","","r:sha256","")],[],[],"x","/b",[],[])`), 0o666); err != nil {
		t.Fatal(err)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	const paged, printed = "paged: floating derivation", "floating derivation"
	for _, c := range []struct {
		rows int
		env  []string
		want string
	}{
		{20, []string{"PAGER=sed 's/^/paged: /'"}, paged},
		{20, []string{"PAGER=none", "PIX_PAGER=sed 's/^/paged: /'; exit 1"}, paged},
		{200, []string{"PAGER=sed 's/^/paged: /'"}, printed},
		{20, []string{"PAGER=cat"}, printed},
		{20, []string{"PAGER=/does/not/exist"}, printed},
		{20, []string{"PAGER=sed 's/^/paged: /'", "TERM=dumb"}, printed},
	} {
		cmd := exec.Command(exe, "explain", drv)
		cmd.Args[0] = "pix"
		cmd.Env = append(os.Environ(), "TERM=xterm", "LC_ALL=C.UTF-8", "NO_COLOR=1", "PIX_PAGER=", "GORACE=atexit_sleep_ms=0")
		cmd.Env = append(cmd.Env, c.env...)
		term := termtest.Start(t, 80, c.rows, cmd)
		if status := exitStatus(term.Wait()); status != exitYes {
			t.Errorf("%q: exit status %d", c.env, status)
		}
		var lines []string
		term.Look(func(s *termtest.Screen) { lines = append(s.History(), s.Lines()...) })
		if text := "\n" + strings.Join(lines, "\n") + "\n"; !strings.Contains(text, "\n"+c.want+"\n") {
			t.Errorf("%q with %d rows: the terminal shows\n%s", c.env, c.rows, text)
		}
	}
}
