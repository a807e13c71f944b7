package daemon_test

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pix/activity"
	"pix/daemon"
	"pix/internal/realnix"
	"pix/store"
	"pix/storepath"
)

// helloPath is the path of builtins.toFile "hello.txt" "hello world".
const helloPath storepath.Path = "/nix/store/m6wswa7yn6x5gi6gdq7x1fqlwmlhfja9-hello.txt"

// absent is a path that no store here has.
const absent storepath.Path = "/nix/store/g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-absent"

func dialReal(t *testing.T, d *realnix.Daemon) *daemon.Conn {
	t.Helper()
	c, err := daemon.Dial(t.Context(), d.Socket, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestRealHandshake(t *testing.T) {
	realnix.Each(t, func(t *testing.T, s realnix.Suite) {
		d := realnix.Start(t, s, nil)
		c := dialReal(t, d)
		t.Logf("Nix %q, protocol %s of %s, features %q, %s", c.NixVersion(), c.Version(), c.DaemonVersion(), c.Features(), c.Trust())
		if got := c.DaemonVersion(); uint64(got) != d.Protocol {
			t.Errorf("the daemon reports version %s, want %#x", got, d.Protocol)
		}
		if c.Version() > c.DaemonVersion() {
			t.Errorf("version %s was negotiated with a daemon of %s", c.Version(), c.DaemonVersion())
		}
		if c.Version() >= 1<<8|33 && c.NixVersion() != d.Version {
			t.Errorf("the daemon reports Nix %q, its command %q", c.NixVersion(), d.Version)
		}
		if c.Err() != nil {
			t.Error(c.Err())
		}
	})
}

// Call every query twice on one connection, compare it with the output of the daemon's own
// commands, with an error of each in between.
func TestRealQueries(t *testing.T) {
	realnix.Each(t, func(t *testing.T, s realnix.Suite) {
		d := realnix.Start(t, s, nil)
		c := dialReal(t, d)
		ctx := t.Context()

		for range 2 {
			path, err := c.AddTextToStore(ctx, "hello.txt", "hello world", nil)
			if err != nil || path != helloPath {
				t.Fatalf("AddTextToStore: %s, %v", path, err)
			}
		}
		refers, err := c.AddTextToStore(ctx, "refers", "see "+string(helloPath), []storepath.Path{helloPath})
		if err != nil {
			t.Fatal(err)
		}
		if out := d.MustRun(t, "nix-store", "--query", "--references", string(refers)); strings.TrimSpace(out) != string(helloPath) {
			t.Errorf("according to nix-store %s refers to %q", refers, out)
		}

		for range 2 {
			for path, want := range map[storepath.Path]bool{helloPath: true, refers: true, absent: false} {
				if got, err := c.IsValidPath(ctx, path); err != nil || got != want {
					t.Errorf("IsValidPath(%s) = %v, %v", path, got, err)
				}
			}
			valid, err := c.QueryValidPaths(ctx, []storepath.Path{refers, absent, helloPath, refers}, false)
			want := []storepath.Path{helloPath, refers}
			slices.Sort(want)
			if err != nil || !slices.Equal(valid, want) {
				t.Errorf("QueryValidPaths = %q, %v, want %q", valid, err, want)
			}
			valid, err = c.QueryValidPaths(ctx, []storepath.Path{helloPath, absent}, true)
			if c.Version() < 1<<8|27 {
				if !errors.Is(err, errors.ErrUnsupported) {
					t.Errorf("QueryValidPaths with substitute before 1.27: %v", err)
				}
			} else if err != nil || !slices.Equal(valid, []storepath.Path{helloPath}) {
				t.Errorf("QueryValidPaths with substitute = %q, %v", valid, err)
			}
			checkInfo(t, d, c, refers, helloPath)
			checkInfo(t, d, c, helloPath)
			var missing *store.NotFoundError
			if _, err := c.QueryPathInfo(ctx, absent); !errors.As(err, &missing) || missing.Path != absent || !errors.Is(err, store.ErrNotFound) {
				t.Errorf("QueryPathInfo of an invalid path: %v", err)
			}
			if _, err := c.AddTextToStore(ctx, "dangling", "x", []storepath.Path{absent}); !isDaemonError(err) {
				t.Errorf("a text that refers to an invalid path: %v, want the daemon's error", err)
			}
		}
		if err := c.Err(); err != nil {
			t.Errorf("the connection is broken: %v", err)
		}
	})
}

func checkInfo(t *testing.T, d *realnix.Daemon, c *daemon.Conn, path storepath.Path, references ...storepath.Path) {
	t.Helper()
	info, err := c.QueryPathInfo(t.Context(), path)
	if err != nil {
		t.Error(err)
		return
	}
	ask := func(what string) string {
		return strings.TrimSpace(d.MustRun(t, "nix-store", "--query", what, string(path)))
	}
	if got := ask("--hash"); got != info.NARHash.WithNix32() {
		t.Errorf("NAR hash %s, nix-store prints %s", info.NARHash.WithNix32(), got)
	}
	if got := ask("--size"); got != strconv.FormatUint(info.NARSize, 10) {
		t.Errorf("NAR size %d, nix-store prints %s", info.NARSize, got)
	}
	if info.Path != path || !slices.Equal(info.References, references) || info.Deriver != "" || len(info.Signatures) > 0 || info.Ultimate {
		t.Errorf("%+v", info)
	}
	if age := time.Since(info.RegistrationTime); age < -time.Minute || age > time.Hour {
		t.Errorf("registered at %v", info.RegistrationTime)
	}
	if !strings.HasPrefix(info.CA.String(), "text:sha256:") {
		t.Errorf("content address %q", info.CA)
	}
}

func isDaemonError(err error) bool {
	var e *activity.Error
	return errors.As(err, &e) && e.Message != ""
}

// Ten thousand concurrent queries of a hundred goroutines all get correct answers.
func TestRealPipelining(t *testing.T) {
	realnix.Each(t, func(t *testing.T, s realnix.Suite) {
		d := realnix.Start(t, s, nil)
		c := dialReal(t, d)
		if _, err := c.AddTextToStore(t.Context(), "hello.txt", "hello world", nil); err != nil {
			t.Fatal(err)
		}
		errs := make(chan error)
		const goroutines, each = 100, 100
		for range goroutines {
			go func() {
				for i := range each {
					ctx, cancel := context.WithCancel(t.Context())
					if i%7 == 3 {
						time.AfterFunc(time.Duration(i)*time.Microsecond, cancel)
					}
					valid, err := c.IsValidPath(ctx, []storepath.Path{absent, helloPath}[i%2])
					cancel()
					if err == nil && valid != (i%2 == 1) {
						errs <- errors.New("wrong answer")
						return
					}
					if err != nil && !errors.Is(err, context.Canceled) {
						errs <- err
						return
					}
				}
				errs <- nil
			}()
		}
		for range goroutines {
			if err := <-errs; err != nil {
				t.Error(err)
			}
		}
		if err := c.Err(); err != nil {
			t.Errorf("the connection is broken: %v", err)
		}
	})
}
