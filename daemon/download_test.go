package daemon_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"pix/activity"
	"pix/daemon"
	"pix/nar"
	"pix/nixhash"
	"pix/protocol"
	"pix/store"
	"pix/wire"
)

// treeNAR returns an archive with all kinds of entries, and with names that look like the tags
// of the format.
func treeNAR(t *testing.T) []byte {
	var b bytes.Buffer
	w := nar.NewWriter(&b)
	for _, e := range []nar.Entry{
		{Kind: nar.Directory},
		{Kind: nar.Regular, Depth: 1, Name: "(", Size: 5},
		{Kind: nar.Regular, Depth: 1, Name: ")", Executable: true},
		{Kind: nar.Directory, Depth: 1, Name: "contents"},
		{Kind: nar.Symlink, Depth: 2, Name: "name", Target: "a/rather/long/target/of/a/symlink"},
	} {
		if err := w.WriteEntry(e); err != nil {
			t.Fatal(err)
		}
		if e.Size > 0 {
			w.Write(bytes.Repeat([]byte(")"), int(e.Size)))
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// infoOf returns a path info that matches an archive.
func infoOf(archive []byte) *store.PathInfo {
	return &store.PathInfo{NARHash: nixhash.Sum(nixhash.SHA256, archive), NARSize: uint64(len(archive))}
}

// answerArchive plays a daemon that is asked for an archive. It returns info as path info, and
// sends the bytes said instead of the archive.
func (p *peer) answerArchive(info *store.PathInfo, said []byte) {
	p.next()
	p.answer(protocol.QueryPathInfo, &protocol.QueryPathInfoReply{Info: info})
	p.next()
	p.answer(protocol.NarFromPath, &protocol.None{})
	p.write(said, nil)
}

func errorMessage(t *testing.T, params protocol.Params, text string) []byte {
	b, err := params.AppendMessage(nil, protocol.Message{Kind: protocol.MessageError, Err: &activity.Error{Message: text}})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// An archive is read completely, however it is split, and the connection is free afterwards.
func TestDownload(t *testing.T) {
	archive := treeNAR(t)
	for name, read := range map[string]func(io.Reader) io.Reader{
		"at once":      func(r io.Reader) io.Reader { return r },
		"byte by byte": iotest.OneByteReader,
	} {
		t.Run(name, func(t *testing.T) {
			play(t, newest, nil, func(p *peer) {
				p.answerArchive(infoOf(archive), archive)
				p.answerArchive(&store.PathInfo{NARHash: infoOf(archive).NARHash}, archive) // of unknown size
				p.serve()
			}, func(ctx context.Context, c *daemon.Conn) {
				for range 2 {
					r, err := c.NARFromPath(ctx, helloPath)
					if err != nil {
						t.Fatal(err)
					}
					got, err := io.ReadAll(read(r))
					if err != nil || !bytes.Equal(got, archive) {
						t.Errorf("%d bytes, %v", len(got), err)
					}
					r.Close()
				}
				stillGood(t, ctx, c)
			})
		})
	}
}

// If the daemon fails in the middle of an archive, at any string, the reader returns its error,
// and no part of the message is returned as a part of the archive.
func TestErrorInArchive(t *testing.T) {
	archive := treeNAR(t)
	for offset := 0; offset < len(archive); offset += wire.WordSize {
		if inString(archive, offset) {
			continue
		}
		play(t, newest, nil, func(p *peer) {
			message := errorMessage(t, p.params, "disk failure")
			p.answerArchive(infoOf(archive), append(append(bytes.Clone(archive[:offset]), message...), message...))
		}, func(ctx context.Context, c *daemon.Conn) {
			r, err := c.NARFromPath(ctx, helloPath)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			got, err := io.ReadAll(r)
			var said *activity.Error
			if !errors.As(err, &said) || said.Message != "disk failure" || errors.Is(err, io.EOF) {
				t.Errorf("at %d: %v, want the daemon's error", offset, err)
			}
			if !bytes.Equal(got, archive[:offset]) {
				t.Errorf("at %d: %d bytes were read", offset, len(got))
			}
			broken(t, ctx, c, nil)
		})
	}
}

// inString reports whether an offset lies within a string, and not before its length.
func inString(archive []byte, offset int) bool {
	r := wire.NewReader(bytes.NewReader(archive), 0)
	for r.Offset() < int64(offset) {
		r.Bytes(1 << 20)
	}
	return r.Offset() != int64(offset)
}

// An archive that differs from its path info never ends with io.EOF.
func TestCorruptArchive(t *testing.T) {
	good := fileNAR("good")
	endless := append(bytes.Clone(good[:len(good)-16]), bytes.Repeat(wire.AppendString(nil, "("), 1000)...)
	for name, said := range map[string][]byte{
		"other contents": fileNAR("evil"),
		"too long":       fileNAR("good and more"),
		"too short":      fileNAR(""),
		"endless":        endless,
		"no archive":     bytes.Repeat([]byte{0xff}, 1000),
		"cut":            good[:len(good)-8],
		"more after it":  append(bytes.Clone(good), 1, 2, 3, 4, 5, 6, 7, 8),
	} {
		t.Run(name, func(t *testing.T) {
			play(t, newest, nil, func(p *peer) { p.answerArchive(infoOf(good), said) }, func(ctx context.Context, c *daemon.Conn) {
				r, err := c.NARFromPath(ctx, helloPath)
				if err != nil {
					t.Fatal(err)
				}
				defer r.Close()
				n, err := io.Copy(io.Discard, r)
				var corrupt *daemon.CorruptError
				if !errors.As(err, &corrupt) && !errors.Is(err, daemon.ErrConnLost) {
					t.Errorf("%v", err)
				}
				if n > int64(len(said)) {
					t.Errorf("%d bytes were read", n)
				}
				broken(t, ctx, c, nil)
			})
		})
	}
}

// The rest of an archive that is closed early is read if it is short. Otherwise the connection
// is broken with the reason.
func TestArchiveClosedEarly(t *testing.T) {
	for size, drained := range map[int]bool{1000: true, 1 << 19: true, 2 << 20: false} {
		archive := fileNAR(string(make([]byte, size)))
		play(t, newest, nil, func(p *peer) {
			p.answerArchive(infoOf(archive), archive)
			p.serve()
		}, func(ctx context.Context, c *daemon.Conn) {
			r, err := c.NARFromPath(ctx, helloPath)
			if err != nil {
				t.Fatal(err)
			}
			io.CopyN(io.Discard, r, 100)
			r.Close()
			r.Close()
			if _, err := r.Read(make([]byte, 1)); err == nil {
				t.Error("the archive can be read after Close")
			}
			if drained {
				stillGood(t, ctx, c)
			} else {
				broken(t, ctx, c, daemon.ErrAbandoned)
			}
		})
	}
}

// If the daemon stops in the middle of an archive, Read and Close return in time.
func TestArchiveStalls(t *testing.T) {
	archive := fileNAR(string(make([]byte, 10_000)))
	script := func(p *peer) {
		p.answerArchive(infoOf(archive), archive[:500])
		io.Copy(io.Discard, p.nc)
	}
	play(t, newest, nil, script, func(ctx context.Context, c *daemon.Conn) {
		short, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		r, err := c.NARFromPath(short, helloPath)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(r); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
		broken(t, ctx, c, context.DeadlineExceeded)
	})
	play(t, newest, &daemon.Options{DrainTimeout: time.Second}, script, func(ctx context.Context, c *daemon.Conn) {
		r, err := c.NARFromPath(ctx, helloPath)
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		r.Close()
		if took := time.Since(start); took > time.Second {
			t.Errorf("closing took %v", took)
		}
		synctest.Wait()
		broken(t, ctx, c, nil)
	})
}

func TestArchiveOfNothing(t *testing.T) {
	play(t, newest, nil, func(p *peer) {
		p.next()
		p.answer(protocol.QueryPathInfo, &protocol.QueryPathInfoReply{})
		p.serve()
	}, func(ctx context.Context, c *daemon.Conn) {
		var missing *store.NotFoundError
		if _, err := c.NARFromPath(ctx, absent); !errors.As(err, &missing) || missing.Path != absent {
			t.Errorf("%v", err)
		}
		stillGood(t, ctx, c)
	})
}

// If an archive cannot be opened, the result is a nil interface, even if the daemon refuses it
// or is lost after the path was found to be valid.
func TestArchiveThatIsRefused(t *testing.T) {
	for _, how := range []string{"refused", "lost"} {
		serve := func(p *peer) {
			for req := p.next(); req != nil; req = p.next() {
				if req.Op() != protocol.NarFromPath {
					p.answer(req.Op(), fakeReply(req))
					continue
				}
				if how == "lost" {
					return
				}
				p.fail("path is not valid")
			}
		}
		play(t, newest, nil, serve, func(ctx context.Context, c *daemon.Conn) {
			if r, err := c.NARFromPath(ctx, helloPath); err == nil || r != nil {
				t.Errorf("%s: %#v, %v", how, r, err)
			}
		})
		m := &memory{serve: func(p *peer, _ int) { serve(p) }}
		pooled(t, m, nil, func(ctx context.Context, p *daemon.Pool) {
			if r, err := p.NARFromPath(ctx, helloPath); err == nil || r != nil {
				t.Errorf("%s: %#v, %v", how, r, err)
			}
		})
	}
}
