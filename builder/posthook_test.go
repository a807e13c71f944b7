package builder

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"pix/activity"
	"pix/storepath"
)

const hookDrv = storepath.Path("/nix/store/g112hsdb8jwmhar4z4can4ip3bfnysjr-x.drv")

var hookOutputs = []storepath.Path{
	"/nix/store/qzjhl0wfw62vnkl788ayqc1sjxngwacp-x", "/nix/store/b144xlf2w1rbm371npavb0wb6da7qa5a-x-dev",
}

// runScript runs a shell script as the hook, and returns the lines that it reports.
func runScript(ctx context.Context, t *testing.T, script string, env ...string) (lines []string, err error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "hook")
	writeFile(t, file, "#!/bin/sh\n"+script, 0o755)
	h := &PostBuildHook{Program: file, Env: append([]string{"PATH=" + os.Getenv("PATH")}, env...)}
	var id activity.ID
	ctx = activity.WithHandler(ctx, activity.HandlerFunc(func(e activity.Event) {
		switch e := e.(type) {
		case activity.Start:
			if id = e.ID; e.Type != activity.PostBuildHook || e.Level != activity.LevelTalkative || e.Text != "running post-build-hook '"+file+"'" {
				t.Errorf("%+v", e)
			}
		case activity.Result:
			if e.ID != id || e.Type != activity.PostBuildLogLine {
				t.Errorf("%+v", e)
			}
			lines = append(lines, fieldText(e))
		case activity.Stop:
			lines = append(lines, "(end)")
		}
	}))
	err = h.Run(ctx, hookDrv, hookOutputs)
	if err != nil {
		err = errors.New(strings.ReplaceAll(err.Error(), file, "HOOK"))
	}
	return lines, err
}

// A hook gets its variables, and its output and its end are reported as by Nix.
func TestPostBuildHook(t *testing.T) {
	for _, test := range []struct{ name, script, want, err string }{
		{"variables", `echo "$DRV_PATH $OUT_PATHS $NIX_CONFIG"`,
			string(hookDrv) + " " + string(hookOutputs[1]) + " " + string(hookOutputs[0]) + " cores = 2;(end)", ""},
		{"both outputs", `echo one; echo two >&2; printf three`, "one;two;three;(end)", ""},
		{"standard input", `read x; echo "got $x"`, "got ;(end)", ""},
		{"exit code", `echo no; exit 3`, "no;(end)", `program "HOOK" failed with exit code 3`},
		{"its own group", `kill -9 0`, "(end)", `program "HOOK" failed due to signal 9 (Killed)`},
		{"closed output", `exec >&- 2>&-; sleep 0.1; exit 4`, "(end)", `program "HOOK" failed with exit code 4`},
	} {
		t.Run(test.name, func(t *testing.T) {
			lines, err := runScript(t.Context(), t, test.script, "NIX_CONFIG=cores = 2", "DRV_PATH=inherited")
			if got := strings.Join(lines, ";"); got != test.want {
				t.Errorf("reported %q, want %q", got, test.want)
			}
			if text := errorText(err); text != test.err {
				t.Errorf("error %q, want %q", text, test.err)
			}
		})
	}
}

func fieldText(r activity.Result) string {
	text, _ := r.Fields[0].Text()
	return text
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// A hook that cannot be started fails as in Nix.
func TestPostBuildHookMissing(t *testing.T) {
	var lines []string
	ctx := activity.WithHandler(t.Context(), activity.HandlerFunc(func(e activity.Event) {
		if r, ok := e.(activity.Result); ok {
			lines = append(lines, fieldText(r))
		}
	}))
	err := (&PostBuildHook{Program: "/nonexistent/hook"}).Run(ctx, hookDrv, nil)
	if text := errorText(err); text != `program "/nonexistent/hook" failed with exit code 1` {
		t.Error(text)
	}
	if !slices.Equal(lines, []string{"error: executing \"/nonexistent/hook\": No such file or directory"}) {
		t.Errorf("%q", lines)
	}
}

// A background process that keeps the output open does not delay the end, whether it is silent or never stops writing.
func TestPostBuildHookBackground(t *testing.T) {
	for name, script := range map[string]string{
		"silent":  `sleep 1000 & echo $! >&2`,
		"writing": `(while :; do echo x; sleep 0.01; done) & echo $! >&2`,
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), hang)
			defer cancel()
			lines, err := runScript(ctx, t, script)
			if err != nil {
				t.Error(err)
			}
			for _, line := range lines {
				if line != "x" && line != "(end)" {
					_ = exec.Command("kill", line).Run()
				}
			}
		})
	}
}

// A hook that ignores signals is killed with its children when the call is cancelled.
func TestPostBuildHookCancelled(t *testing.T) {
	file := filepath.Join(t.TempDir(), "alive")
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	go func() {
		for ctx.Err() == nil {
			if info, err := os.Stat(file); err == nil && info.Size() > 10 {
				cancel(errors.New("cancelled"))
			}
			time.Sleep(time.Millisecond)
		}
	}()
	_, err := runScript(ctx, t, `trap "" TERM INT HUP; (while :; do echo x >>`+file+`; sleep 0.01; done) & while :; do sleep 1; done`)
	if errorText(err) != "cancelled" {
		t.Error(err)
	}
	size := func() int64 {
		info, err := os.Stat(file)
		if err != nil {
			t.Fatal(err)
		}
		return info.Size()
	}
	if before := size(); !unchanged(before, size) {
		t.Error("a child of the hook still runs")
	}
}

func unchanged(before int64, size func() int64) bool {
	time.Sleep(200 * time.Millisecond)
	return size() == before
}

// A hook that writes a long line without an end, and many lines, does not fill the memory.
func TestPostBuildHookFlood(t *testing.T) {
	const size = 16 << 20
	file := filepath.Join(t.TempDir(), "hook")
	writeFile(t, file, "#!/bin/sh\nhead -c 16777216 /dev/zero; yes | head -c 16777216", 0o755)
	var bytes, longest, lines int
	ctx := activity.WithHandler(t.Context(), activity.HandlerFunc(func(e activity.Event) {
		if r, ok := e.(activity.Result); ok {
			text := fieldText(r)
			bytes, longest, lines = bytes+len(text), max(longest, len(text)), lines+1
		}
	}))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	h := &PostBuildHook{Program: file, Env: []string{"PATH=" + os.Getenv("PATH")}}
	if err := h.Run(ctx, hookDrv, nil); err != nil {
		t.Fatal(err)
	}
	if bytes != size+size/2 || longest != maxLogLine || lines != size/maxLogLine+size/2 {
		t.Errorf("%d bytes, %d lines, the longest has %d bytes", bytes, lines, longest)
	}
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapSys) - int64(before.HeapSys); grown > 64<<20 { // other tests may have a larger heap
		t.Errorf("the heap has grown by %d MiB", grown>>20)
	}
}

// A panic of the handler reaches the caller after the hook has ended.
func TestPostBuildHookPanic(t *testing.T) {
	defer func() {
		if recover() != "handler" {
			t.Error("no panic")
		}
	}()
	ctx := activity.WithHandler(t.Context(), activity.HandlerFunc(func(e activity.Event) {
		if _, ok := e.(activity.Result); ok {
			panic("handler")
		}
	}))
	file := filepath.Join(t.TempDir(), "hook")
	writeFile(t, file, "#!/bin/sh\necho x; exec sleep 100", 0o755)
	_ = (&PostBuildHook{Program: file, Env: []string{"PATH=" + os.Getenv("PATH")}}).Run(ctx, hookDrv, nil)
}
