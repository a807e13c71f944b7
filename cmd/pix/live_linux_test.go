package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"pix/activity"
	"pix/daemontest"
	"pix/derivation"
	"pix/internal/termtest"
	"pix/store"
	"pix/store/memstore"
	"pix/storepath"
)

// A scriptedBuild is a daemon with derivations. The test decides what happens in a build.
type scriptedBuild struct {
	t      *testing.T
	socket string
	drvs   map[string]storepath.Path
	steps  chan func(activity.Handler) // the next events of the build; closed at the end of the build
	ended  chan error                  // the error of the context that ended the build
}

// newScriptedBuild adds derivations with these names. Each is an input of the next.
func newScriptedBuild(t *testing.T, names ...string) *scriptedBuild {
	t.Helper()
	b := &scriptedBuild{t: t, drvs: make(map[string]storepath.Path), steps: make(chan func(activity.Handler)), ended: make(chan error, 1)}
	s := memstore.New(&memstore.Options{Build: b.build})
	input := ""
	for _, name := range names {
		text := fmt.Sprintf(`{"name": %q, "version": 4, "system": "x", "builder": "/b", "args": [], "env": {"out": ""},
			"inputs": {"srcs": [], "drvs": {%s}}, "outputs": {"out": {}}}`, name, input)
		news, err := parseNews(storepath.DefaultDir, text, name)
		if err != nil {
			t.Fatal(err)
		}
		if b.drvs[name], err = news[0].add(t.Context(), s, store.ModuloHashes{}); err != nil {
			t.Fatal(err)
		}
		input = fmt.Sprintf(`%q: {"outputs": ["out"], "dynamicOutputs": {}}`, b.drvs[name].Base())
	}
	b.socket = daemontest.New(t, &daemontest.Options{Store: s}).Socket()
	return b
}

// build builds a derivation for the daemon: it runs the steps of the test.
func (b *scriptedBuild) build(ctx context.Context, s *memstore.Store, path storepath.Path, d *derivation.Derivation) error {
	h := activity.HandlerOf(ctx)
	for {
		select {
		case step, more := <-b.steps:
			if !more {
				return errors.New("the script ended")
			}
			step(h)
		case <-ctx.Done():
			b.ended <- ctx.Err()
			return ctx.Err()
		}
	}
}

// says makes the daemon send events.
func (b *scriptedBuild) says(events ...activity.Event) {
	b.t.Helper()
	select {
	case b.steps <- func(h activity.Handler) {
		for _, e := range events {
			h.HandleEvent(e)
		}
	}:
	case <-time.After(time.Minute):
		b.t.Fatal("no build is running")
	}
}

func (b *scriptedBuild) starts(id activity.ID, name string) activity.Event {
	return activity.Start{ID: id, Type: activity.Build, Level: activity.LevelInfo, Text: "building", Fields: []activity.Field{
		activity.Text(string(b.drvs[name])), activity.Text(""), activity.Number(1), activity.Number(1),
	}}
}

func says(id activity.ID, text string) activity.Event {
	return activity.Result{ID: id, Type: activity.BuildLogLine, Fields: []activity.Field{activity.Text(text)}}
}

// onTerminal runs pix on a terminal.
func (b *scriptedBuild) onTerminal(columns, rows int, env []string, command string, args ...string) *termtest.Terminal {
	b.t.Helper()
	exe, err := os.Executable()
	if err != nil {
		b.t.Fatal(err)
	}
	cmd := exec.Command(exe, args...)
	cmd.Args[0] = command
	cmd.Env = append(slices.DeleteFunc(os.Environ(), func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		return slices.Contains([]string{"NO_COLOR", "PIX_PROGRESS", "PIX_STORE", "NIX_REMOTE", "NIX_STORE_DIR", "LC_ALL", "LC_CTYPE"}, name)
	}), "NIX_DAEMON_SOCKET_PATH="+b.socket, "TERM=xterm", "LANG=C.UTF-8", "GORACE=atexit_sleep_ms=0")
	cmd.Env = append(cmd.Env, env...)
	return termtest.Start(b.t, columns, rows, cmd)
}

// waitForLines waits until the terminal shows these lines. Ns stands for any number of seconds.
func waitForLines(t *testing.T, term *termtest.Terminal, want ...string) {
	t.Helper()
	var got []string
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if got = screenLines(term); slices.Equal(got, want) {
			return
		}
	}
	t.Fatalf("the terminal shows\n%s\nnot\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
}

var seconds = regexp.MustCompile(`(^| )\d+s`)

// checkTerminal checks that the terminal is in a normal state: the cursor is visible at the beginning of a line,
// and long lines wrap.
func checkTerminal(t *testing.T, term *termtest.Terminal) {
	t.Helper()
	term.Look(func(s *termtest.Screen) {
		x, _, shown := s.Cursor()
		if x != 0 || !shown || !s.Wraps() || s.Unsupported() != nil {
			t.Errorf("cursor in column %d, visible %v; wraps %v; unsupported output %q", x, shown, s.Wraps(), s.Unsupported())
		}
	})
}

func exitStatus(err error) int {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode()
	}
	return 0
}

func TestLiveBuild(t *testing.T) {
	b := newScriptedBuild(t, "lib", "tool", "app")
	term := b.onTerminal(80, 24, nil, "pix", "build", string(b.drvs["app"])+"^out")
	b.says(b.starts(1, "lib"), says(1, "unpacking \x1b[2J\x1b[31mred"), activity.Log{Text: "warning: beware"})
	b.says(activity.Result{ID: 1, Type: activity.SetPhase, Fields: []activity.Field{activity.Text("unpackPhase")}})
	waitForLines(t, term,
		"warning: beware",
		"○ app waits for 1",
		"└─ ○ tool waits for 1",
		"   └─ ● lib unpackPhase Ns  unpacking red",
		"1 running · 0 of 3 built · Ns · 2 waiting")
	b.says(activity.Stop{ID: 1}, b.starts(2, "tool"), says(2, "日本語日本語日本語日本語日本語日本語"))
	waitForLines(t, term,
		"warning: beware",
		"○ app waits for 1",
		"└─ ● tool Ns  日本語日本語日本語日本語日本語日本語",
		"   └─ ✓ lib Ns",
		"1 running · 1 of 3 built · Ns · 1 waiting")
	term.Resize(80, 4)
	waitForLines(t, term,
		"○ app waits for 1",
		"└─ ● tool Ns  日本語日本語日本語日本語日本語日本語",
		"1 running · 1 of 3 built · Ns · 1 waiting")
	term.Resize(80, 24)
	waitForLines(t, term,
		"warning: beware",
		"○ app waits for 1",
		"└─ ● tool Ns  日本語日本語日本語日本語日本語日本語",
		"   └─ ✓ lib Ns",
		"1 running · 1 of 3 built · Ns · 1 waiting")
	b.says(activity.Log{Text: "error: Cannot build '" + string(b.drvs["tool"]) + "'.\nReason: builder failed with exit code 3."}, activity.Stop{ID: 2})
	close(b.steps)
	if status := exitStatus(term.Wait()); status != 1 {
		t.Errorf("exit status %d", status)
	}
	message := "pix: building '" + string(b.drvs["app"]) + "^out' failed: the script ended"
	waitForLines(t, term,
		"warning: beware",
		"✗ tool failed after Ns",
		"  "+string(b.drvs["tool"]),
		"  builder failed with exit code 3",
		"  the last lines of its log:",
		"  │ 日本語日本語日本語日本語日本語日本語",
		"1 of 3 built, 1 failed, 1 need a failed build in Ns",
		strings.TrimSpace(message[:80]), message[80:])
	checkTerminal(t, term)
}

// The view fits terminals of all sizes, and adapts when the size changes.
func TestLiveNarrow(t *testing.T) {
	b := newScriptedBuild(t, "lib", "tool", "app")
	term := b.onTerminal(40, 10, nil, "pix", "build", string(b.drvs["app"])+"^out")
	b.says(b.starts(1, "lib"), says(1, "checking whether the compiler works"))
	waitForLines(t, term,
		"○ app waits for 1",
		"└─ ○ tool waits for 1",
		"   └─ ● lib Ns  checking whether the c…",
		"●1 ✓0/3 Ns ○2")
	term.Resize(20, 5)
	waitForLines(t, term,
		"○ app waits for 1",
		"└─ ○ tool waits fo…",
		"   └─ ● lib Ns  ch…",
		"●1 ✓0/3 Ns ○2")
	term.Resize(12, 2)
	waitForLines(t, term, "●1 ✓0/3 Ns")
	term.Resize(60, 10)
	b.says(activity.Stop{ID: 1})
	close(b.steps)
	term.Wait()
	checkTerminal(t, term)
	term.Look(func(s *termtest.Screen) {
		if !slices.ContainsFunc(s.Lines(), func(l string) bool { return strings.HasPrefix(l, "1 of 3 built, 2 not started in ") }) {
			t.Errorf("the summary is not in\n%s", s)
		}
	})
}

// The first Ctrl-C stops the build, and the view shows that.
func TestLiveInterrupt(t *testing.T) {
	b := newScriptedBuild(t, "lib", "app")
	term := b.onTerminal(80, 24, nil, "pix", "build", string(b.drvs["app"])+"^out")
	b.says(b.starts(1, "lib"))
	waitForLines(t, term, "○ app waits for 1", "└─ ● lib Ns", "1 running · 0 of 2 built · Ns · 1 waiting")
	term.Type("\x03")
	if status := exitStatus(term.Wait()); status != exitInterrupted {
		t.Errorf("exit status %d", status)
	}
	select {
	case <-b.ended:
	case <-time.After(time.Minute):
		t.Error("the daemon continues the build")
	}
	waitForLines(t, term, "interrupted: 0 of 2 built, 1 stopped, 1 not started in Ns", "pix: interrupted")
	checkTerminal(t, term)
}

// The second Ctrl-C kills the process, but resets the terminal first.
func TestLiveKill(t *testing.T) {
	b := newScriptedBuild(t, "lib")
	term := b.onTerminal(80, 24, nil, "pixstuck")
	waitForLines(t, term, "· stuck Ns", "Ns")
	term.Type("\x03")
	waitForLines(t, term, "· stuck Ns", "stopping Ns")
	term.Type("\x03")
	err := term.Wait()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGINT {
		t.Errorf("pix exited with %v, want SIGINT", err)
	}
	checkTerminal(t, term)
}

// The second interrupt ends a process that was started with interrupts ignored, too.
func TestLiveKillIgnoring(t *testing.T) {
	cmd := exec.Command("sh", "-c", `trap "" INT; exec pixstuck`)
	cmd.Env = append(os.Environ(), "TERM=xterm", "LANG=C.UTF-8", "LC_ALL=C.UTF-8", "PIX_PROGRESS=live")
	term := termtest.Start(t, 80, 24, cmd)
	waitForLines(t, term, "· stuck Ns", "Ns")
	term.Type("\x03")
	waitForLines(t, term, "· stuck Ns", "stopping Ns")
	term.Type("\x03")
	if status := exitStatus(term.Wait()); status != exitInterrupted {
		t.Errorf("exit status %d", status)
	}
	checkTerminal(t, term)
}

// A panic and SIGQUIT reset the terminal, too.
func TestLiveCrash(t *testing.T) {
	b := newScriptedBuild(t, "lib")
	term := b.onTerminal(80, 24, []string{"PANIC=1"}, "pixstuck")
	term.Wait()
	checkTerminal(t, term)
	term = b.onTerminal(80, 24, nil, "pixstuck")
	waitForLines(t, term, "· stuck Ns", "Ns")
	term.Type("\x1c") // Ctrl-\
	term.Wait()
	term.Look(func(s *termtest.Screen) {
		if _, _, shown := s.Cursor(); !shown || !s.Wraps() {
			t.Errorf("the terminal was not reset:\n%s", s)
		}
	})
}

func init() { commands["pixstuck"] = stuck }

// stuck is a command that blocks and ignores its context.
func stuck() {
	a := newApp(os.Stdin, os.Stdout, os.Stderr, os.Getenv)
	defer a.progress.end(nil)
	ctx, stop := interruptible(a.progress.restore, a.running.takes)
	defer stop()
	h := activity.HandlerOf(a.follow(ctx))
	h.HandleEvent(activity.Start{ID: 1, Text: "stuck"})
	if os.Getenv("PANIC") != "" {
		time.Sleep(time.Second)
		panic("stuck")
	}
	select {}
}

// Plain lines are printed instead of the view on a simple terminal or on request.
func TestPlainProgress(t *testing.T) {
	for _, c := range []struct {
		env  []string
		args []string
		want []string
	}{
		{env: []string{"TERM=dumb"}, want: []string{"building", "lib> hello"}},
		{env: []string{"PIX_PROGRESS=plain"}, want: []string{"building", "lib> hello"}},
		{args: []string{"--progress", "plain"}, want: []string{"building", "lib> hello"}},
		{env: []string{"PIX_PROGRESS=plain"}, args: []string{"--progress", "none"}},
		{env: []string{"TERM=dumb", "NO_COLOR=1"}, args: []string{"--progress", "live", "-L"}, want: []string{"lib> hello", "0 of 1 built, 1 stopped in Ns"}},
		{env: []string{"LANG=C"}, args: []string{"-L"}, want: []string{"lib> hello", "0 of 1 built, 1 stopped in Ns"}},
	} {
		t.Run(fmt.Sprint(c.env, c.args), func(t *testing.T) {
			b := newScriptedBuild(t, "lib")
			term := b.onTerminal(80, 24, c.env, "pix", append(c.args, "build", string(b.drvs["lib"])+"^out")...)
			b.says(b.starts(1, "lib"), says(1, "hello"))
			close(b.steps)
			if status := exitStatus(term.Wait()); status != 1 {
				t.Errorf("exit status %d", status)
			}
			got := screenLines(term)
			got = got[:max(0, slices.IndexFunc(got, func(l string) bool { return strings.HasPrefix(l, "pix: building") }))]
			if !slices.Equal(got, c.want) {
				t.Errorf("the terminal shows\n%s\nnot %q", strings.Join(screenLines(term), "\n"), c.want)
			}
			checkTerminal(t, term)
		})
	}
}
