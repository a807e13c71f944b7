package daemon_test

import (
	"context"
	"errors"
	"io"
	"iter"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pix/activity"
	"pix/daemon"
	"pix/nixhash"
	"pix/protocol"
	"pix/store"
	"pix/storepath"
	"pix/wire"
)

// A slowReader is endless. It counts the starts and the ends of its reads.
type slowReader struct {
	takes        time.Duration
	begun, ended atomic.Int32
}

func (r *slowReader) Read(p []byte) (int, error) {
	r.begun.Add(1)
	time.Sleep(r.takes)
	r.ended.Add(1)
	return len(p), nil
}

// unused checks that the reader is not read any more.
func (r *slowReader) unused(t *testing.T) {
	t.Helper()
	begun, ended := r.begun.Load(), r.ended.Load()
	if begun != ended || begun == 0 {
		t.Errorf("%d reads have started, %d have ended", begun, ended)
	}
	time.Sleep(time.Hour)
	if later := r.begun.Load(); later != begun {
		t.Errorf("%d reads when the call returned, %d later", begun, later)
	}
}

// readingKinds are ways to upload from a reader, with the behaviour of the daemon.
var readingKinds = []struct {
	name  string
	minor uint8
	serve func(*peer)
	call  func(context.Context, *daemon.Conn, io.Reader) error
}{
	{"frames", 38, swallow, addReader},
	{"frames that are not read", 38, func(p *peer) { time.Sleep(time.Hour) }, addReader},
	{"archives in frames", 38, swallow, func(ctx context.Context, c *daemon.Conn, r io.Reader) error {
		return c.AddMultipleToStore(ctx, 2, endless(r), nil)
	}},
	{"asked", 22, (*peer).askOn, addArchive},
	{"as it is", 20, swallow, addArchive},
	{"text in memory", 21, swallow, func(ctx context.Context, c *daemon.Conn, r io.Reader) error {
		_, err := c.AddToStore(ctx, "x", storepath.Text, nixhash.SHA256, nil, r, nil)
		return err
	}},
	{"file in memory", 21, swallow, func(ctx context.Context, c *daemon.Conn, r io.Reader) error {
		_, err := c.AddToStore(ctx, "x", storepath.Flat, nixhash.SHA1, nil, r, nil)
		return err
	}},
}

func swallow(p *peer) { io.Copy(io.Discard, p.nc) }

// askOn asks repeatedly for the body of a request, until nothing comes.
func (p *peer) askOn() {
	for p.next(); ; {
		p.say(protocol.Message{Kind: protocol.MessageRead, Want: 1 << 20})
		if b, err := p.in.Bytes(1 << 20); err != nil || len(b) == 0 {
			break
		}
	}
	p.fail("unexpected end-of-file")
	p.serve()
}

func addReader(ctx context.Context, c *daemon.Conn, r io.Reader) error {
	_, err := c.AddToStore(ctx, "x", storepath.Flat, nixhash.SHA256, nil, r, nil)
	return err
}

// addArchive adds an object that starts like the archive of a large file.
func addArchive(ctx context.Context, c *daemon.Conn, r io.Reader) error {
	info := fakeInfo
	info.NARSize = 1 << 40
	head := fileNAR("")
	size := wire.AppendUint64(wire.AppendString(nil, "contents"), 1<<40)
	begin := append(head[:len(head)-3*wire.WordSize:len(head)-3*wire.WordSize], size[2*wire.WordSize:]...)
	return c.AddToStoreNAR(ctx, &info, io.MultiReader(strings.NewReader(string(begin)), r), nil)
}

// endless yields objects forever.
func endless(r io.Reader) iter.Seq2[store.Import, error] {
	return func(yield func(store.Import, error) bool) {
		info := fakeInfo
		info.NARSize = 1 << 40
		for yield(store.Import{Info: &info, NAR: r}, nil) {
		}
	}
}

// After a cancelled upload has returned, the caller's reader is not read.
func TestReadAfterReturn(t *testing.T) {
	for _, kind := range readingKinds {
		t.Run(kind.name, func(t *testing.T) {
			play(t, protocol.MakeVersion(kind.minor), nil, kind.serve, func(ctx context.Context, c *daemon.Conn) {
				r := &slowReader{takes: 20 * time.Millisecond}
				short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
				defer cancel()
				start := time.Now()
				if err := kind.call(short, c, r); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("%v", err)
				}
				if took := time.Since(start); took > 60*time.Millisecond {
					t.Errorf("it returned after %v", took)
				}
				r.unused(t)
			})
		})
	}
}

// A Read that blocks delays the end of a cancelled upload by a second, and is the last one.
func TestReadThatBlocks(t *testing.T) {
	for _, kind := range readingKinds[:5] {
		t.Run(kind.name, func(t *testing.T) {
			play(t, protocol.MakeVersion(kind.minor), nil, kind.serve, func(ctx context.Context, c *daemon.Conn) {
				r := &slowReader{takes: time.Minute}
				short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
				defer cancel()
				start := time.Now()
				if err := kind.call(short, c, r); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("%v", err)
				}
				if took, want := time.Since(start), 1050*time.Millisecond; took != want {
					t.Errorf("it returned after %v, want %v", took, want)
				}
				broken(t, ctx, c, context.DeadlineExceeded)
				time.Sleep(time.Minute)
				r.unused(t)
			})
		})
	}
}

// The reader is not read after the daemon has refused the upload or hung up.
func TestReadAfterRefusal(t *testing.T) {
	for name, serve := range map[string]func(*peer){
		"refused": func(p *peer) {
			p.next()
			time.Sleep(30 * time.Millisecond)
			p.fail(refusedText)
			wire.NewFrameReader(p.in).Drain()
			p.serve()
		},
		"hung up": func(p *peer) {
			p.next()
			time.Sleep(30 * time.Millisecond)
		},
	} {
		t.Run(name, func(t *testing.T) {
			play(t, newest, nil, serve, func(ctx context.Context, c *daemon.Conn) {
				r := &slowReader{takes: 20 * time.Millisecond}
				if err := addReader(ctx, c, r); err == nil {
					t.Error("no error")
				}
				r.unused(t)
				if name == "refused" {
					stillGood(t, ctx, c)
				}
			})
		})
	}
}

// After a refusal the call waits for a slow reader, since the stream is in step when the reader
// has ended.
func TestRefusalWaitsForReader(t *testing.T) {
	play(t, newest, nil, func(p *peer) {
		p.next()
		time.Sleep(time.Second)
		p.fail(refusedText)
		wire.NewFrameReader(p.in).Drain()
		p.serve()
	}, func(ctx context.Context, c *daemon.Conn) {
		r := &slowReader{takes: time.Minute}
		if err := addReader(ctx, c, r); !isDaemonError(err) {
			t.Errorf("%v", err)
		}
		r.unused(t)
		stillGood(t, ctx, c)
	})
}

// A panicking handler ends the upload before its panic reaches the caller.
func TestReadAfterPanic(t *testing.T) {
	play(t, newest, nil, func(p *peer) {
		p.next()
		time.Sleep(30 * time.Millisecond)
		p.log("boo")
		swallow(p)
	}, func(ctx context.Context, c *daemon.Conn) {
		r := &slowReader{takes: 20 * time.Millisecond}
		func() {
			defer func() { recover() }()
			addReader(activity.WithHandler(ctx, activity.HandlerFunc(func(activity.Event) { panic("boo") })), c, r)
		}()
		r.unused(t)
		broken(t, ctx, c, nil)
	})
}

// A panic of the caller's reader reaches the caller, which can recover.
func TestReaderPanics(t *testing.T) {
	for _, kind := range readingKinds {
		t.Run(kind.name, func(t *testing.T) {
			play(t, protocol.MakeVersion(kind.minor), nil, kind.serve, func(ctx context.Context, c *daemon.Conn) {
				defer func() {
					err, ok := recover().(error)
					if !ok && strings.Contains(kind.name, "memory") {
						return // a panic on the caller's goroutine has its own value
					}
					if !ok || !strings.HasPrefix(err.Error(), "panic: boo\n") || !strings.Contains(err.Error(), "reader_test.go") {
						t.Errorf("%v", err)
					}
				}()
				kind.call(ctx, c, readerFunc(func([]byte) (int, error) { panic("boo") }))
				t.Error("there was no panic")
			})
		})
	}
}

// A reader that exits its goroutine, as in a failing test, does not block the caller.
func TestReaderExits(t *testing.T) {
	for _, kind := range readingKinds[:5] {
		t.Run(kind.name, func(t *testing.T) {
			play(t, protocol.MakeVersion(kind.minor), nil, kind.serve, func(ctx context.Context, c *daemon.Conn) {
				ctx, cancel := context.WithTimeout(ctx, time.Minute)
				defer cancel()
				err := kind.call(ctx, c, readerFunc(func([]byte) (int, error) { runtime.Goexit(); return 0, nil }))
				if err == nil || errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("%v", err)
				}
			})
		})
	}
}

// After the upload has returned, the sequence does not yield another object.
func TestSequenceAfterReturn(t *testing.T) {
	play(t, newest, nil, swallow, func(ctx context.Context, c *daemon.Conn) {
		var steps atomic.Int32
		var ended sync.WaitGroup
		ended.Add(1)
		objects := func(yield func(store.Import, error) bool) {
			defer ended.Done()
			for object := range fakeObjects(1000) {
				time.Sleep(20 * time.Millisecond)
				steps.Add(1)
				if !yield(object, nil) {
					return
				}
			}
		}
		short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
		defer cancel()
		if err := c.AddMultipleToStore(short, 1000, objects, nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
		before := steps.Load()
		ended.Wait()
		synctest.Wait()
		if after := steps.Load(); after != before || before > 3 {
			t.Errorf("%d objects when the call returned, %d later", before, after)
		}
	})
}
