package daemon_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"strings"
	"testing"
	"time"

	"pix/daemon"
	"pix/nixhash"
	"pix/protocol"
	"pix/store"
	"pix/storepath"
	"pix/wire"
)

var refusals = []refusal{
	{name: "before the frames"},
	{name: "before the frames, and drains", drains: true},
	{name: "after a frame, and drains", frames: 1, drains: true},
	{name: "after 3 frames, and drains", frames: 3, drains: true},
	{name: "after 5 bytes, and drains", frames: -1, bytes: 5, drains: true},
	{name: "after a megabyte, and drains", frames: -1, bytes: 1 << 20, drains: true},
	{name: "after a frame", frames: 1},
	{name: "after 2 frames", frames: 2},
}

// refusedText is the error of refused uploads.
const refusedText = "this is refused"

// An uploadKind is a way to upload arbitrary contents.
type uploadKind struct {
	name    string
	minor   uint8
	archive bool // an archive of known size
	call    func(ctx context.Context, c *daemon.Conn, contents []byte) error
}

var uploadKinds = []uploadKind{
	{"AddTextToStore", 38, false, func(ctx context.Context, c *daemon.Conn, contents []byte) error {
		_, err := c.AddTextToStore(ctx, "x", string(contents), nil)
		return err
	}},
	{"AddToStore", 38, false, func(ctx context.Context, c *daemon.Conn, contents []byte) error {
		_, err := c.AddToStore(ctx, "x", storepath.Flat, nixhash.BLAKE3, nil, bytes.NewReader(contents), nil)
		return err
	}},
	{"AddToStore, 1.25", 25, false, func(ctx context.Context, c *daemon.Conn, contents []byte) error {
		_, err := c.AddToStore(ctx, "x", storepath.NAR, nixhash.SHA256, nil, bytes.NewReader(contents), nil)
		return err
	}},
	{"AddToStoreNar", 38, true, func(ctx context.Context, c *daemon.Conn, contents []byte) error {
		return c.AddToStoreNAR(ctx, claim(contents), bytes.NewReader(contents), nil)
	}},
	{"AddToStoreNar, 1.23", 23, true, func(ctx context.Context, c *daemon.Conn, contents []byte) error {
		return c.AddToStoreNAR(ctx, claim(contents), bytes.NewReader(contents), nil)
	}},
	{"AddMultipleToStore", 38, true, func(ctx context.Context, c *daemon.Conn, contents []byte) error {
		return c.AddMultipleToStore(ctx, 1, oneObject(contents), nil)
	}},
	{"AddBuildLog", 38, false, func(ctx context.Context, c *daemon.Conn, contents []byte) error {
		return c.AddBuildLog(ctx, fakeDrv, bytes.NewReader(contents))
	}},
	{"AddBuildLog, trust unknown", 34, false, func(ctx context.Context, c *daemon.Conn, contents []byte) error {
		return c.AddBuildLog(ctx, fakeDrv, bytes.NewReader(contents))
	}},
	{"AddToStoreScanning", 38, false, func(ctx context.Context, c *daemon.Conn, contents []byte) error {
		_, err := c.AddToStoreScanning(ctx, "x", storepath.Flat, nixhash.SHA256, bytes.NewReader(contents))
		return err
	}},
}

// claim returns a path info for contents as an archive.
func claim(contents []byte) *store.PathInfo {
	info := fakeInfo
	info.NARSize = uint64(len(contents))
	return &info
}

func oneObject(contents []byte) iter.Seq2[store.Import, error] {
	return func(yield func(store.Import, error) bool) {
		yield(store.Import{Info: claim(contents), NAR: bytes.NewReader(contents)}, nil)
	}
}

// refusedSizes returns sizes of contents: those that are operations, and those at which the
// split into frames changes.
func refusedSizes() []int {
	var sizes []int
	for n := range 52 {
		sizes = append(sizes, n)
	}
	return append(sizes, 63, 64, 65, 66, 255, 256, 257, 899, 900, 901, 1000, 1001, 1100, 1101,
		1<<16-1, 1<<16, 1<<16+1, 1<<16+255, 1<<16+256, 1<<16+257, 2<<16+256, 1<<20+1)
}

// spelled returns contents that consist of encoded operations, starting with first.
func spelled(size int, first uint64) []byte {
	b := make([]byte, 0, size+8)
	for op := first; len(b) < size; op = op%50 + 1 {
		b = binary.LittleEndian.AppendUint64(b, op)
	}
	return b[:size]
}

// Wherever a daemon refuses an upload, and for all contents, it runs no operation in the
// contents, the caller gets the refusal, and the next call gets its own answer, or the
// connection is lost.
func TestRefusedUploads(t *testing.T) {
	sizes := refusedSizes()
	for _, kind := range uploadKinds {
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			for i, size := range sizes {
				for j, refusal := range refusals {
					ops := []uint64{uint64(i+j)%50 + 1}
					if os.Getenv("PIX_LONG") != "" && size < 2000 {
						ops = ops[:0]
						for op := uint64(1); op <= 50; op++ {
							ops = append(ops, op)
						}
					}
					for _, op := range ops {
						refuseOnce(t, kind, refusal, spelled(size, op))
					}
				}
			}
		})
	}
}

func refuseOnce(t *testing.T, kind uploadKind, at refusal, contents []byte) {
	t.Helper()
	if kind.archive && len(contents) == 0 {
		return // a size of 0 means unknown
	}
	g := protocol.Greeting{DaemonVersion: protocol.MakeVersion(kind.minor), NixVersion: "2.34.8", Trust: protocol.Trusted}
	opts := &daemon.Options{Features: protocol.BuildFeatures}
	playAs(t, g, protocol.BuildFeatures, opts, func(p *peer) {
		(&refuser{p, at, len(contents)}).serve()
	}, func(ctx context.Context, c *daemon.Conn) {
		wrong := func(what string, values ...any) {
			t.Helper()
			t.Errorf("%s, %d bytes: %s %v", at.name, len(contents), what, values)
		}
		start := time.Now()
		if err := kind.call(ctx, c, contents); !isDaemonError(err) || err.Error() != refusedText {
			wrong("it is refused with", err)
		}
		valid, err := c.IsValidPath(ctx, helloPath)
		lost := errors.Is(err, daemon.ErrConnLost)
		if !lost && (err != nil || !valid) || lost && (at.drains || strings.Contains(err.Error(), "invalid operation")) {
			wrong("then IsValidPath says", valid, err)
		}
		if err := c.Err(); err != nil && !strings.Contains(err.Error(), refusedText) {
			wrong("the connection is broken because of", err)
		}
		if took := time.Since(start); took > 200*time.Millisecond {
			wrong("it took", took)
		}
	})
}

// A daemon that refuses a single byte after it was sent reads its length as IsValidPath, and
// the following request as the path. That is never a valid path, and its result is not the
// answer to another call.
func TestLateRefusal(t *testing.T) {
	for b := range 256 {
		play(t, newest, nil, func(p *peer) {
			p.next()
			time.Sleep(time.Second)
			p.fail(refusedText)
			if op, err := p.in.Uint64(); err != nil || op != 1 {
				t.Errorf("byte %d: the next word is %d, %v", b, op, err)
			}
			path, err := p.in.String(protocol.MaxPath)
			if err == nil && strings.HasPrefix(path, "/nix/store/") {
				t.Errorf("byte %d: %q was read as a path", b, path)
			}
			for range 2 {
				p.fail("path is not in the Nix store")
			}
		}, func(ctx context.Context, c *daemon.Conn) {
			_, err := c.AddTextToStore(ctx, "x", string([]byte{byte(b)}), nil)
			if !isDaemonError(err) || err.Error() != refusedText {
				t.Errorf("byte %d: %v", b, err)
			}
			broken(t, ctx, c, nil)
		})
	}
}

// A single byte is sent only if the daemon has not refused for a short while. Other contents
// are sent at once.
func TestOneByteWaits(t *testing.T) {
	for text, want := range map[string]time.Duration{"": 0, "x": 50 * time.Millisecond, "xy": 0, "hi\n": 0, strings.Repeat("x", 47): 0} {
		play(t, newest, nil, (*peer).serveAll, func(ctx context.Context, c *daemon.Conn) {
			start := time.Now()
			if _, err := c.AddToStore(ctx, "x", storepath.Flat, nixhash.SHA256, nil, strings.NewReader(text), nil); err != nil {
				t.Errorf("%q: %v", text, err)
			}
			if took := time.Since(start); took != want {
				t.Errorf("%q took %v, want %v", text, took, want)
			}
		})
	}
}

// After a refusal the daemon has DrainTimeout to prove that it has read the frames.
func TestSilentAfterRefusal(t *testing.T) {
	for name, then := range map[string]func(*peer){
		"it says nothing":  func(p *peer) { io.Copy(io.Discard, p.nc) },
		"it reads nothing": func(p *peer) { time.Sleep(time.Hour) },
		"the path is valid": func(p *peer) {
			wire.NewFrameReader(p.in).Drain()
			p.next()
			p.answer(protocol.IsValidPath, &protocol.IsValidPathReply{Valid: true})
			io.Copy(io.Discard, p.nc)
		},
		"it fails": func(p *peer) {
			wire.NewFrameReader(p.in).Drain()
			p.next()
			p.fail("no")
			io.Copy(io.Discard, p.nc)
		},
		"it answers twice": func(p *peer) {
			wire.NewFrameReader(p.in).Drain()
			for range 2 {
				p.answer(protocol.IsValidPath, &protocol.IsValidPathReply{Valid: true})
			}
			io.Copy(io.Discard, p.nc)
		},
	} {
		t.Run(name, func(t *testing.T) {
			for _, size := range []int{10, 10 << 20} {
				play(t, newest, nil, func(p *peer) {
					p.next()
					p.fail(refusedText)
					then(p)
				}, func(ctx context.Context, c *daemon.Conn) {
					start := time.Now()
					_, err := c.AddTextToStore(ctx, "x", strings.Repeat("x", size), nil)
					if !isDaemonError(err) || err.Error() != refusedText {
						t.Errorf("%v", err)
					}
					if took := time.Since(start); took > 6*time.Second {
						t.Errorf("it took %v", took)
					}
					broken(t, ctx, c, nil)
					if want := "the daemon refused an upload and may not have read it: " + refusedText; c.Err().Error() != want {
						t.Errorf("the connection is broken because of %v", c.Err())
					}
				})
			}
		})
	}
}

// A daemon that reports success before it has read the upload is checked, too.
func TestEarlySuccess(t *testing.T) {
	for name, c := range map[string]struct {
		then func(*peer)
		good bool
	}{
		"it reads the frames": {func(p *peer) { wire.NewFrameReader(p.in).Drain(); p.serve() }, true},
		"it does not":         {func(p *peer) { (&refuser{p, refusal{}, 1 << 20}).takeFramesForOperations() }, false},
	} {
		t.Run(name, func(t *testing.T) {
			play(t, newest, nil, func(p *peer) {
				p.next()
				p.answerAdded()
				c.then(p)
			}, func(ctx context.Context, conn *daemon.Conn) {
				_, err := conn.AddToStore(ctx, "hello.txt", storepath.Flat, nixhash.SHA256, nil, strings.NewReader(strings.Repeat("x", 1<<20)), nil)
				if wrong := (*daemon.AnswerError)(nil); !errors.As(err, &wrong) { // it cannot know the path yet
					t.Error(err)
				}
				if c.good {
					stillGood(t, ctx, conn)
				} else {
					broken(t, ctx, conn, nil)
				}
			})
		})
	}
}

// A refusal of a body without frames is checked as well: its first bytes could be read as an
// operation.
func TestRefusedOldUploads(t *testing.T) {
	for _, minor := range []uint8{18, 20, 21, 22} {
		for name, good := range map[string]bool{"reads": true, "does not read": false} {
			t.Run(fmt.Sprintf("1.%d, the daemon %s", minor, name), func(t *testing.T) {
				play(t, protocol.MakeVersion(minor), nil, func(p *peer) {
					row, _ := protocol.Lookup(p.next().Op())
					asked := row.Body(p.params) == protocol.AskedBody
					if good {
						p.readBody(row.Body(p.params), io.Discard)
					} else if asked {
						p.say(protocol.Message{Kind: protocol.MessageRead, Want: 40})
					}
					p.fail(refusedText)
					if good {
						p.serve()
					} else if op, err := p.in.Uint64(); err == nil {
						// "nix-archive-1" has 13 bytes, and 13 is SyncWithGC.
						if op == 13 {
							p.answer(protocol.SyncWithGC, new(protocol.Ack))
						}
						for range 2 {
							p.fail("invalid operation")
						}
					}
				}, func(ctx context.Context, c *daemon.Conn) {
					if err := addFakeNAR(ctx, c); !isDaemonError(err) || err.Error() != refusedText {
						t.Errorf("%v", err)
					}
					if good {
						stillGood(t, ctx, c)
					} else {
						broken(t, ctx, c, nil)
					}
				})
			})
		}
	}
}
