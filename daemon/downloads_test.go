package daemon_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	"pix/daemon"
	"pix/internal/realnix"
	"pix/protocol"
	"pix/store"
)

// manyInfos returns n archives with different contents, and their infos.
func manyInfos(n int) (infos []*store.PathInfo, archives [][]byte) {
	for i := range n {
		archive := fileNAR(fmt.Sprint("contents ", i))
		info := infoOf(archive)
		info.Path = helloPath
		infos, archives = append(infos, info), append(archives, archive)
	}
	return infos, archives
}

// answerArchives plays a daemon that reads all requests before it answers, and sends all
// answers in one write.
func (p *peer) answerArchives(said ...[]byte) {
	for range said {
		p.next()
	}
	var all []byte
	for _, archive := range said {
		b, err := p.params.AppendMessage(nil, protocol.Message{Kind: protocol.MessageLast})
		if err != nil {
			p.t.Error(err)
		}
		all = append(append(all, b...), archive...)
	}
	p.write(all, nil)
}

// Many archives are requested together and received one by one. The connection is free
// afterwards.
func TestDownloads(t *testing.T) {
	infos, archives := manyInfos(20)
	play(t, newest, nil, func(p *peer) {
		p.answerArchives(archives...)
		p.serve()
	}, func(ctx context.Context, c *daemon.Conn) {
		i := 0
		for r, err := range c.NARsFromPaths(ctx, infos) {
			if err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, archives[i]) {
				t.Errorf("%d: %q, %v", i, got, err)
			}
			i++
		}
		if i != len(infos) {
			t.Errorf("got %d archives", i)
		}
		for range c.NARsFromPaths(ctx, nil) {
			t.Error("got an archive without a request")
		}
		stillGood(t, ctx, c)
	})
}

// An archive that differs from its path info is reported, and does not affect the archives
// after it.
func TestDownloadsCorrupt(t *testing.T) {
	infos, archives := manyInfos(3)
	for name, said := range map[string][]byte{
		"other contents": fileNAR("contents x"),
		"too long":       fileNAR("contents and much more"),
		"too short":      fileNAR(""),
	} {
		t.Run(name, func(t *testing.T) {
			play(t, newest, nil, func(p *peer) {
				p.answerArchives(archives[0], said, archives[2])
				io.Copy(io.Discard, p.nc)
			}, func(ctx context.Context, c *daemon.Conn) {
				var errs []error
				for r, err := range c.NARsFromPaths(ctx, infos) {
					if err == nil {
						_, err = io.Copy(io.Discard, r)
					}
					errs = append(errs, err)
				}
				var corrupt *daemon.CorruptError
				if len(errs) < 2 || errs[0] != nil || !errors.As(errs[1], &corrupt) && !errors.Is(errs[1], daemon.ErrConnLost) {
					t.Errorf("%v", errs)
				}
				broken(t, ctx, c, nil)
			})
		})
	}
}

// Leaving the loop breaks the connection, unless no archive is left.
func TestDownloadsLeft(t *testing.T) {
	infos, archives := manyInfos(3)
	for leaveAfter := range infos {
		play(t, newest, nil, func(p *peer) {
			p.answerArchives(archives...)
			p.serve()
		}, func(ctx context.Context, c *daemon.Conn) {
			i := 0
			for r, err := range c.NARsFromPaths(ctx, infos) {
				if err == nil {
					_, err = io.Copy(io.Discard, r)
				}
				if err != nil {
					t.Error(err)
				}
				if i == leaveAfter {
					break
				}
				i++
			}
			if leaveAfter == len(infos)-1 {
				stillGood(t, ctx, c)
			} else {
				broken(t, ctx, c, daemon.ErrAbandoned)
			}
		})
	}
}

// If the daemon fails before an archive, its error is reported, and the connection is broken.
// An archive of unknown size is not requested.
func TestDownloadsFail(t *testing.T) {
	infos, archives := manyInfos(3)
	play(t, newest, nil, func(p *peer) {
		p.next()
		p.next()
		p.next()
		p.answer(protocol.NarFromPath, &protocol.None{})
		p.write(archives[0], nil)
		p.fail("disk failure")
		io.Copy(io.Discard, p.nc)
	}, func(ctx context.Context, c *daemon.Conn) {
		var last error
		for r, err := range c.NARsFromPaths(ctx, infos) {
			if err == nil {
				_, err = io.Copy(io.Discard, r)
			}
			last = err
		}
		if !isDaemonError(last) {
			t.Errorf("%v", last)
		}
		broken(t, ctx, c, daemon.ErrAbandoned)
	})
	play(t, newest, nil, func(p *peer) { p.serve() }, func(ctx context.Context, c *daemon.Conn) {
		for _, err := range c.NARsFromPaths(ctx, []*store.PathInfo{{Path: helloPath}}) {
			if err == nil {
				t.Error("an archive of unknown size was requested")
			}
		}
		stillGood(t, ctx, c)
	})
}

// Real daemons of all versions answer many requests that are sent together.
func TestRealDownloads(t *testing.T) {
	realnix.Each(t, func(t *testing.T, s realnix.Suite) {
		d := realnix.Start(t, s, nil)
		p := openReal(t, d, nil)
		const n = 100
		objects := fakeObjects(n)
		if err := p.AddMultipleToStore(t.Context(), n, objects, &store.AddOptions{NoSignatures: true}); err != nil {
			t.Fatal(err)
		}
		var infos []*store.PathInfo
		for object, err := range objects {
			if err != nil {
				t.Fatal(err)
			}
			infos = append(infos, object.Info)
		}
		i := 0
		for r, err := range p.NARsFromPaths(t.Context(), infos) {
			if err != nil {
				t.Fatal(err)
			}
			if size, err := io.Copy(io.Discard, r); err != nil || uint64(size) != infos[i].NARSize {
				t.Fatalf("%d bytes of %s, %v", size, infos[i].Path, err)
			}
			i++
		}
		if i != n {
			t.Errorf("got %d archives", i)
		}
	})
}
