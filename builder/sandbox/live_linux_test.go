package sandbox

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A watcher calls ready once, when the output contains a text.
type watcher struct {
	bytes.Buffer
	text  string
	ready func()
	done  bool
}

func (w *watcher) Write(b []byte) (int, error) {
	n, err := w.Buffer.Write(b)
	if !w.done && strings.Contains(w.String(), w.text) {
		w.done = true
		w.ready()
	}
	return n, err
}

// liveInput makes a directory, a file and a link for mounts.
func liveInput(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, err := range []error{
		os.Mkdir(dir+"/dir", 0o755), os.WriteFile(dir+"/dir/file", []byte("x"), 0o644),
		os.WriteFile(dir+"/plain", []byte("plain"), 0o644), os.Symlink("plain", dir+"/link"), os.Chmod(dir, 0o755),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// Mounts appear in a process that runs, and it cannot change them. It does not see the process that makes them.
func TestLiveMounts(t *testing.T) {
	forUsers(t, func(t *testing.T, req *Request) {
		dir := liveInput(t)
		req.Live, req.Memory = NewLive("/store"), false
		if err := req.Live.Mount(t.Context(), dir, "/store/early"); !errors.Is(err, ErrEnded) {
			t.Errorf("a mount before the start: %v", err)
		}
		w := &watcher{text: "ready", ready: func() {
			for _, name := range []string{"plain", "link", "dir"} {
				if err := req.Live.Mount(t.Context(), filepath.Join(dir, name), "/store/"+name); err != nil {
					t.Errorf("mounting %s: %v", name, err)
				}
			}
		}}
		result, err := Run(t.Context(), req, w)
		if err != nil || result.ExitCode != 0 {
			t.Fatal(result, err, w.String())
		}
		log := w.String()
		for _, want := range []string{"read plain: ok", "processes: 1\n", "nested chmod: EROFS"} {
			if !strings.Contains(log, want) {
				t.Errorf("the output lacks %q", want)
			}
		}
		for line := range strings.Lines(log) {
			what, outcome, _ := strings.Cut(strings.TrimSpace(line), ": ")
			if outcome == "ok" && what != "nested mkdir" && what != "nested rbind" && what != "read plain" {
				t.Errorf("%s", line)
			}
		}
		if err := req.Live.Mount(t.Context(), dir, "/store/late"); !errors.Is(err, ErrEnded) {
			t.Errorf("a mount after the end: %v", err)
		}
		b, err := os.ReadFile(dir + "/dir/file")
		if stat, statErr := os.Stat(dir + "/dir/file"); err != nil || statErr != nil || string(b) != "x" || stat.Mode() != 0o644 {
			t.Error("the input has changed:", string(b), stat, err, statErr)
		}
	}, "await", "/store/dir", "/store/link")
}

// A mount fails without an end of the process, and the next one succeeds.
func TestLiveMountFails(t *testing.T) {
	req := testRequest(t, "await", "/store/dir", "/store/link")
	dir := liveInput(t)
	req.Live, req.Memory = NewLive("/store"), false
	w := &watcher{text: "ready", ready: func() {
		if err := req.Live.Mount(t.Context(), dir+"/missing", "/store/missing"); err == nil || errors.Is(err, ErrEnded) {
			t.Errorf("mounting a missing file: %v", err)
		}
		if err := os.Symlink("/tmp", req.Root+"/store/away"); err != nil {
			t.Error(err)
		}
		for _, target := range []string{"/store/away", "/store/away/file"} {
			if err := req.Live.Mount(t.Context(), dir+"/plain", target); err == nil || errors.Is(err, ErrEnded) {
				t.Errorf("mounting through a symlink of the process: %v", err)
			}
		}
		if err := req.Live.Mount(t.Context(), dir+"/plain", "/store/probe/below"); err == nil || errors.Is(err, ErrEnded) {
			t.Errorf("mounting below a file: %v", err)
		}
		for _, name := range []string{"plain", "link", "dir"} {
			if err := req.Live.Mount(t.Context(), filepath.Join(dir, name), "/store/"+name); err != nil {
				t.Errorf("mounting %s: %v", name, err)
			}
		}
	}}
	if result, err := Run(t.Context(), req, w); err != nil || result.ExitCode != 0 {
		t.Fatal(result, err, w.String())
	}
}

// The end of the context kills a process with a keeper, and the keeper.
func TestLiveCancel(t *testing.T) {
	forUsers(t, func(t *testing.T, req *Request) {
		req.Live, req.Memory = NewLive("/store"), false
		ctx, cancel := context.WithCancelCause(t.Context())
		cause := errors.New("enough")
		_, err := Run(ctx, req, &watcher{text: "asleep", ready: func() { cancel(cause) }})
		if !errors.Is(err, cause) {
			t.Errorf("got %v", err)
		}
	}, "sleep")
}

// Requests without a directory that can be shared are refused.
func TestLiveRefused(t *testing.T) {
	req := testRequest(t, "echo", "x")
	req.Live, req.Memory = NewLive("/other"), false
	if _, err := Run(t.Context(), req, new(bytes.Buffer)); err == nil {
		t.Error("a directory that is not writable was accepted")
	}
	req.Root, req.Live, req.Memory = "", NewLive("/store"), false
	if _, err := Run(t.Context(), req, new(bytes.Buffer)); err == nil {
		t.Error("a process without namespaces was accepted")
	}
}
