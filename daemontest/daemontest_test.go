package daemontest_test

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pix/activity"
	"pix/daemon"
	"pix/daemontest"
	"pix/protocol"
	"pix/store"
	"pix/storepath"
)

// signingKey is a secret key that no store trusts.
var signingKey = "test-1:" + base64.StdEncoding.EncodeToString(ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)))

func sortedLines(lines []string) []string { return slices.Sorted(slices.Values(lines)) }

// client connects to d in memory.
func client(t testing.TB, d *daemontest.Daemon, opts *daemon.Options) (*daemon.Conn, error) {
	t.Helper()
	nc, err := d.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c, err := daemon.NewConn(t.Context(), nc, opts)
	if err == nil {
		t.Cleanup(func() { c.Close() })
	}
	return c, err
}

func mustClient(t testing.TB, d *daemontest.Daemon) *daemon.Conn {
	t.Helper()
	c, err := client(t, d, nil)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Our client and our server work together in every version.
func TestEveryVersion(t *testing.T) {
	for minor := uint8(18); minor <= 38; minor++ {
		d := daemontest.New(t, &daemontest.Options{Version: protocol.MakeVersion(minor), NoFeatures: minor%2 == 0})
		c := mustClient(t, d)
		if c.Version().Minor() != int(minor) {
			t.Errorf("wanted 1.%d, negotiated %s", minor, c.Version())
		}
		for range 2 {
			path, err := c.AddTextToStore(t.Context(), "text", "a text", nil)
			if err != nil {
				t.Fatalf("1.%d: %v", minor, err)
			}
			if _, err := c.AddTextToStore(t.Context(), "text", "x", []storepath.Path{path + "x"}); err == nil {
				t.Errorf("1.%d: a reference to an invalid path was accepted", minor)
			}
			info, err := c.QueryPathInfo(t.Context(), path)
			if err != nil || info.NARSize == 0 {
				t.Errorf("1.%d: %+v, %v", minor, info, err)
			}
			if _, err := c.QueryPathInfo(t.Context(), path+"x"); !errors.Is(err, store.ErrNotFound) {
				t.Errorf("1.%d: %v", minor, err)
			}
			valid, err := c.QueryValidPaths(t.Context(), []storepath.Path{path, path + "x"}, false)
			if err != nil || !slices.Equal(valid, []storepath.Path{path}) {
				t.Errorf("1.%d: %v, %v", minor, valid, err)
			}
		}
		if err := c.Err(); err != nil {
			t.Errorf("1.%d: %v", minor, err)
		}
	}
}

func TestSocket(t *testing.T) {
	d := daemontest.New(t, nil)
	for range 2 {
		c, err := daemon.Dial(t.Context(), d.Socket(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.AddTextToStore(t.Context(), "x", "x", nil); err != nil {
			t.Error(err)
		}
		c.Close()
	}
	all, err := d.Memory().QueryAllValidPaths(t.Context())
	if err != nil || len(all) != 1 {
		t.Errorf("%v, %v", all, err)
	}
	if errs := d.Errors(); len(errs) > 0 {
		t.Errorf("%v", errs)
	}
	d.Close()
	if _, err := daemon.Dial(t.Context(), d.Socket(), nil); err == nil {
		t.Error("a closed daemon listens")
	}
	if _, err := d.Dial(t.Context()); err != daemontest.ErrClosed {
		t.Errorf("%v", err)
	}
}

func TestUntrusted(t *testing.T) {
	d := daemontest.New(t, &daemontest.Options{Untrusted: true, NixVersion: "2.34.8"})
	if c := mustClient(t, d); c.Trust() != protocol.NotTrusted || c.NixVersion() != "2.34.8" {
		t.Errorf("%s, %s", c.Trust(), c.NixVersion())
	}
}

const somePath = storepath.Path("/nix/store/g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-some")

func TestDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := mustClient(t, daemontest.New(t, &daemontest.Options{Faults: daemontest.Faults{Delay: time.Hour}}))
		start := time.Now()
		if _, err := c.IsValidPath(t.Context(), somePath); err != nil || time.Since(start) != time.Hour {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}

func TestLogs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := mustClient(t, daemontest.New(t, &daemontest.Options{Faults: daemontest.Faults{Logs: 640, LogSize: 10_000}}))
		heard := 0
		ctx := activity.WithHandler(t.Context(), activity.HandlerFunc(func(e activity.Event) { heard++ }))
		if _, err := c.IsValidPath(ctx, somePath); err != nil || heard == 0 {
			t.Errorf("%d lines, %v", heard, err)
		}
	})
}

func TestFail(t *testing.T) {
	c := mustClient(t, daemontest.New(t, &daemontest.Options{Faults: daemontest.Faults{Fail: func(n int, req protocol.Request) error {
		if n == 1 {
			return fmt.Errorf("%s is out of order", req.Op())
		}
		return nil
	}}}))
	for n := range 3 {
		_, err := c.IsValidPath(t.Context(), somePath)
		var said *activity.Error
		if failed := errors.As(err, &said) && said.Message == "IsValidPath is out of order"; failed != (n == 1) || !failed && err != nil {
			t.Errorf("operation %d: %v", n, err)
		}
	}
}

// Wherever the connection breaks, the client reports it at once, and everything ends.
func TestBreakEverywhere(t *testing.T) {
	for _, f := range []func(int64) daemontest.Faults{
		func(n int64) daemontest.Faults { return daemontest.Faults{CutAfter: n} },
		func(n int64) daemontest.Faults { return daemontest.Faults{CutReadAfter: n} },
	} {
		failed, succeeded := 0, 0
		for n := int64(1); n <= 400; n++ {
			synctest.Test(t, func(t *testing.T) {
				c, err := client(t, daemontest.New(t, &daemontest.Options{Faults: f(n)}), nil)
				if err == nil {
					_, err = c.QueryValidPaths(t.Context(), []storepath.Path{somePath}, false)
				}
				if err == nil {
					_, err = c.IsValidPath(t.Context(), somePath)
				}
				if err == nil {
					succeeded++
				} else {
					failed++
				}
			})
		}
		if failed == 0 || succeeded == 0 {
			t.Errorf("%d conversations failed, %d succeeded", failed, succeeded)
		}
	}
}

func TestSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := daemontest.New(t, &daemontest.Options{Faults: daemontest.Faults{SilentAfter: 20}})
		start := time.Now()
		if _, err := client(t, d, &daemon.Options{HandshakeTimeout: time.Minute}); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Minute {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}

// If any number is wrong, the client neither hangs nor reports more than a wrong answer.
func TestLieEverywhere(t *testing.T) {
	noticed := 0
	for at := int64(0); at < 200; at += 8 {
		synctest.Test(t, func(t *testing.T) {
			d := daemontest.New(t, &daemontest.Options{Faults: daemontest.Faults{Overwrite: map[int64]uint64{at: 1 << 62}}})
			c, err := client(t, d, nil)
			if err == nil {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				_, err = c.QueryValidPaths(ctx, []storepath.Path{somePath}, false)
			}
			if err != nil {
				noticed++
			}
		})
	}
	if noticed < 10 {
		t.Errorf("only %d wrong numbers were noticed", noticed)
	}
}

func TestStoreDir(t *testing.T) {
	d := daemontest.New(t, &daemontest.Options{StoreDir: "/gnu/store"})
	c, err := client(t, d, &daemon.Options{StoreDir: "/gnu/store"})
	if err != nil {
		t.Fatal(err)
	}
	path, err := c.AddTextToStore(t.Context(), "x", "x", nil)
	if err != nil || !strings.HasPrefix(string(path), "/gnu/store/") {
		t.Errorf("%s, %v", path, err)
	}
}
