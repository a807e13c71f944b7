package daemon_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pix/activity"
	"pix/daemon"
	"pix/derivation"
	"pix/internal/realnix"
	"pix/nixhash"
	"pix/protocol"
	"pix/store"
	"pix/storepath"
)

func openReal(t testing.TB, d *realnix.Daemon, opts *daemon.Options) *daemon.Pool {
	t.Helper()
	p, err := daemon.Open(t.Context(), daemon.Unix{Path: d.Socket}, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

// With a collection after each step of adding, building and reading, no path of a session is
// lost. After the session is closed, they can be collected.
func TestRealSession(t *testing.T) {
	realnix.Each(t, func(t *testing.T, s realnix.Suite) {
		d := realnix.Start(t, s, nil)
		p := openReal(t, d, nil)
		ctx := t.Context()
		collect := func() { d.MustRun(t, "nix-store", "--gc") }

		opened, err := p.Session(ctx)
		if err != nil {
			t.Fatal(err)
		}
		session := opened.(*daemon.Session)
		source, err := session.AddTextToStore(ctx, "greeting", "hello", nil)
		if err != nil {
			t.Fatal(err)
		}
		collect()
		drv := newDerivation("kept", "cat "+string(source)+" > $out")
		drv.InputSources.Add(source)
		path := addDerivation(t, session.Conn, drv, nil)
		collect()
		out := outPath(t, drv, "out")
		if err := session.BuildPaths(ctx, allOutputsOf(path), store.BuildNormal); err != nil {
			t.Fatal(err)
		}
		collect()
		r, err := session.NARFromPath(ctx, out)
		if err != nil {
			t.Fatal(err)
		}
		if nar, err := io.ReadAll(r); err != nil || !bytes.Equal(nar, fileNAR("hello")) {
			t.Errorf("%q, %v", nar, err)
		}
		r.Close()
		for _, path := range []storepath.Path{source, path, out} {
			if valid, err := p.IsValidPath(ctx, path); !valid || err != nil {
				t.Errorf("%s was collected: %v", path, err)
			}
		}
		session.Close()
		// Until the daemon has noticed the end of the session.
		for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
			if collect(); !exists(d, source) {
				break
			}
		}
		for _, path := range []storepath.Path{source, path, out} {
			if valid, err := p.IsValidPath(ctx, path); valid || err != nil {
				t.Errorf("%s still exists after the session: %v", path, err)
			}
		}
	})
}

func exists(d *realnix.Daemon, path storepath.Path) bool {
	_, err := os.Lstat(d.HostPath(string(path)))
	return err == nil
}

// A pool reconnects to its daemon after a restart.
func TestRealRestart(t *testing.T) {
	realnix.Each(t, func(t *testing.T, s realnix.Suite) {
		d := realnix.Start(t, s, nil)
		p := openReal(t, d, nil)
		for range 3 {
			if path, err := p.AddTextToStore(t.Context(), "hello.txt", "hello world", nil); err != nil || path != helloPath {
				t.Errorf("%s, %v", path, err)
			}
			for info, err := range p.QueryClosure(t.Context(), helloPath) {
				if err != nil || info.Path != helloPath {
					t.Errorf("%+v, %v", info, err)
				}
			}
			d.Kill()
			if valid, err := p.IsValidPath(t.Context(), helloPath); err == nil {
				t.Errorf("a killed daemon answers %v", valid)
			}
			d.Restart()
		}
	})
}

// Requests that an untrusted user may not make are not sent. A log that is sent to a daemon
// which does not report trust does no harm.
func TestRealUntrustedPool(t *testing.T) {
	realnix.Each(t, func(t *testing.T, s realnix.Suite) {
		d := realnix.Start(t, s, &realnix.Options{Untrusted: true})
		p := openReal(t, d, nil)
		ctx := t.Context()
		hello, err := p.AddTextToStore(ctx, "hello.txt", "hello world", nil)
		if err != nil {
			t.Fatal(err)
		}
		drv := newDerivation("x", "echo > $out")
		if err := drv.FillOutputPaths(nil, nil); err != nil {
			t.Fatal(err)
		}
		drvPath, err := drv.Path()
		if err != nil {
			t.Fatal(err)
		}
		info, err := p.Info(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for name, call := range map[string]func() error{
			"VerifyStore": func() error { _, err := p.VerifyStore(ctx, false, true); return err },
			"AddPermRoot": func() error { _, err := p.AddPermRoot(ctx, hello, "/tmp/perm"); return err },
			"AddBuildLog": func() error { return p.AddBuildLog(ctx, drvPath, strings.NewReader(strings.Repeat("x", 34))) },
			"BuildDerivation": func() error {
				_, err := p.BuildDerivation(ctx, drvPath, drv, store.BuildNormal)
				return err
			},
			"BuildPathsWithResults": func() error {
				_, err := p.BuildPathsWithResults(ctx, []derivation.DerivedPath{derivation.Opaque{Path: hello}}, store.BuildRepair)
				return err
			},
		} {
			err := call()
			if errors.Is(err, errors.ErrUnsupported) {
				continue
			}
			var untrusted *protocol.TrustError
			if known := info.Trust == protocol.NotTrusted; errors.As(err, &untrusted) != known || !known && !isDaemonError(err) {
				t.Errorf("%s by a daemon of %s: %v", name, info.Version, err)
			}
			if valid, err := p.IsValidPath(ctx, hello); !valid || err != nil {
				t.Errorf("after %s: %v, %v", name, valid, err)
			}
		}
		unsigned, nar, err := object("unsigned", "x")
		if err != nil {
			t.Fatal(err)
		}
		unsigned.CA = storepath.ContentAddress{}
		if err := p.AddToStoreNAR(ctx, unsigned, bytes.NewReader(nar), &store.AddOptions{NoSignatures: true}); !isDaemonError(err) {
			t.Errorf("an unsigned object: %v", err)
		}
	})
}

// 64 goroutines make all kinds of calls on one pool and cancel at random. All answers must be
// correct. With PIX_LONG=1 this takes a minute.
func TestRealPoolOfMany(t *testing.T) {
	lasts := 3 * time.Second
	if testing.Short() {
		lasts = time.Second
	}
	if os.Getenv("PIX_LONG") != "" {
		lasts = time.Minute
	}
	realnix.Each(t, func(t *testing.T, s realnix.Suite) {
		d := realnix.Start(t, s, nil)
		p := openReal(t, d, &daemon.Options{MaxConns: 4})
		refers, err := p.AddTextToStore(t.Context(), "hello.txt", "hello world", nil)
		if err == nil {
			refers, err = p.AddTextToStore(t.Context(), "refers", string(helloPath), []storepath.Path{helloPath})
		}
		if err != nil {
			t.Fatal(err)
		}
		var done, cancelled atomic.Int64
		var all sync.WaitGroup
		end := time.Now().Add(lasts)
		for i := range 64 {
			all.Go(func() {
				random := rand.New(rand.NewPCG(uint64(i), 2))
				for time.Now().Before(end) {
					ctx, cancel := context.WithCancel(t.Context())
					if random.IntN(4) == 0 {
						time.AfterFunc(time.Duration(random.IntN(3000))*time.Microsecond, cancel)
					}
					err := atRandom(ctx, p, random, refers)
					cancel()
					switch {
					case err == nil:
						done.Add(1)
					case errors.Is(err, context.Canceled):
						cancelled.Add(1)
					default:
						t.Error(err)
						return
					}
				}
			})
		}
		all.Wait()
		t.Logf("%d calls, %d cancelled", done.Load(), cancelled.Load())
		if done.Load() == 0 || cancelled.Load() == 0 {
			t.Error("no call was made")
		}
	})
}

// atRandom makes one call, and returns an error if the answer is wrong.
func atRandom(ctx context.Context, p *daemon.Pool, random *rand.Rand, refers storepath.Path) error {
	switch random.IntN(20) {
	case 0:
		name := fmt.Sprint("text-", random.IntN(100))
		path, err := p.AddTextToStore(ctx, name, name, nil)
		return wrongUnless(path.Name() == name, err)
	case 1:
		r, err := p.NARFromPath(ctx, helloPath)
		if err != nil {
			return err
		}
		defer r.Close()
		if random.IntN(2) == 0 {
			return nil
		}
		nar, err := io.ReadAll(r)
		return wrongUnless(bytes.Equal(nar, fileNAR("hello world")), err)
	case 2:
		n := 0
		for info, err := range p.QueryClosure(ctx, refers) {
			if err != nil {
				return err
			}
			if n++; info.Path != refers && info.Path != helloPath {
				return errWrong
			}
		}
		return expect(n, nil, 2)
	case 3, 4, 5, 6, 7, 8:
		info, err := p.QueryPathInfo(ctx, refers)
		return wrongUnless(err != nil || info.References[0] == helloPath, err)
	case 9, 10:
		_, err := p.QueryPathInfo(ctx, absent)
		if errors.Is(err, store.ErrNotFound) {
			err = nil
		}
		return err
	case 11:
		valid, err := p.QueryValidPaths(ctx, []storepath.Path{helloPath, absent}, false)
		return expect(valid, err, []storepath.Path{helloPath})
	}
	path := []storepath.Path{absent, helloPath, refers}[random.IntN(3)]
	valid, err := p.IsValidPath(ctx, path)
	return expect(valid, err, path != absent)
}

// Thousands of objects are uploaded at a verbosity at which the daemon sends more than it
// receives. A client that does not read at the same time would deadlock.
func TestRealManyObjects(t *testing.T) {
	n := 1000
	if os.Getenv("PIX_LONG") != "" {
		n = 6000
	}
	realnix.Each(t, func(t *testing.T, s realnix.Suite) {
		d := realnix.Start(t, s, nil)
		settings := daemon.DefaultSettings()
		settings.Verbosity = activity.LevelVomit
		p := openReal(t, d, &daemon.Options{Settings: settings})
		heard := 0
		ctx := activity.WithHandler(t.Context(), activity.HandlerFunc(func(activity.Event) { heard++ }))
		start := time.Now()
		if err := p.AddMultipleToStore(ctx, n, fakeObjects(n), &store.AddOptions{NoSignatures: true}); err != nil {
			t.Fatal(err)
		}
		t.Logf("%d objects, %d events, %v", n, heard, time.Since(start))
		if heard == 0 {
			t.Error("the daemon sent no event")
		}
		all, err := p.QueryAllValidPaths(t.Context())
		if err != nil || len(all) != n {
			t.Errorf("%d paths, %v", len(all), err)
		}
	})
}

// A huge object is uploaded and downloaded with little memory: two gigabytes with PIX_LONG=1.
func TestRealHugeObject(t *testing.T) {
	size := uint64(64 << 20)
	if os.Getenv("PIX_LONG") != "" {
		size = 2 << 30
	}
	for _, name := range []string{"bookworm", "sid"} {
		t.Run(name, func(t *testing.T) {
			d := realnix.Start(t, realnix.Get(t, name), nil)
			p := openReal(t, d, nil)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			start := time.Now()
			info, err := p.AddToStore(t.Context(), "huge", storepath.Flat, nixhash.SHA256, nil, io.LimitReader(zeros{}, int64(size)), nil)
			if err != nil {
				t.Fatal(err)
			}
			up := time.Since(start)
			start = time.Now()
			r, err := p.NARFromPath(t.Context(), info.Path)
			if err != nil {
				t.Fatal(err)
			}
			n, err := io.Copy(io.Discard, r)
			if err != nil || uint64(n) != info.NARSize || info.NARSize < size {
				t.Errorf("%d bytes, %v", n, err)
			}
			down := time.Since(start)
			runtime.ReadMemStats(&after)
			if used := after.TotalAlloc - before.TotalAlloc; used > 16<<20 {
				t.Errorf("%d bytes were allocated", used)
			}
			t.Logf("%d MB: %.0f MB/s up, %.0f MB/s down", size>>20, float64(size)/1e6/up.Seconds(), float64(size)/1e6/down.Seconds())
		})
	}
}

// zeros returns zero bytes forever.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// A daemon that cannot read an object sends its error in the middle of the archive, in a way
// that depends on the version. This breaks the connection, but other calls of the pool succeed.
func TestRealErrorInArchive(t *testing.T) {
	realnix.Each(t, func(t *testing.T, s realnix.Suite) {
		d := realnix.Start(t, s, nil)
		p := openReal(t, d, nil)
		gone, err := p.AddTextToStore(t.Context(), "gone", "gone", nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(d.HostPath(string(gone))); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			r, err := p.NARFromPath(t.Context(), gone)
			if err == nil {
				_, err = io.ReadAll(r)
				r.Close()
			}
			if !isDaemonError(err) || !strings.Contains(err.Error(), "gone") {
				t.Errorf("%v, want the daemon's error", err)
			}
			if valid, err := p.IsValidPath(t.Context(), gone); !valid || err != nil {
				t.Errorf("afterwards: %v, %v", valid, err)
			}
		}
	})
}
