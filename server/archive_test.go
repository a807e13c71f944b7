package server_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pix/nar"
	"pix/protocol"
	"pix/server"
	"pix/store"
	"pix/storepath"
	"pix/wire"
)

// A diskStore has archives of files on a disk. The server sends the files directly.
type diskStore struct {
	store.Store
	dir        string
	beforeFile func(size int64) // called before a file is passed to the server
	failing    error            // the error at the end of the archive
}

func (s *diskStore) NARFromPath(_ context.Context, path storepath.Path) (io.ReadCloser, error) {
	return &diskArchive{store: s, file: filepath.Join(s.dir, path.Base())}, nil
}

type diskArchive struct {
	io.ReadCloser // nil
	store         *diskStore
	file          string
}

func (a *diskArchive) WriteTo(dst io.Writer) (int64, error) {
	files, ok := dst.(nar.FileWriter)
	if !ok {
		return 0, errors.New("the server does not accept files")
	}
	return 0, errors.Join(nar.Dump(context.Background(), &meanwhileWriter{files, a.store.beforeFile}, a.file, nil), a.store.failing)
}

// A meanwhileWriter calls a function after a file was opened.
type meanwhileWriter struct {
	nar.FileWriter
	before func(size int64)
}

func (w *meanwhileWriter) WriteFile(f nar.File, n int64) (int64, error) {
	if w.before != nil {
		w.before(n)
	}
	return w.FileWriter.WriteFile(f, n)
}

func (a *diskArchive) Close() error { return nil }

// dialSocket connects to a store on a Unix socket.
func dialSocket(t *testing.T, s store.Store, opts *server.Options) *client {
	t.Helper()
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c := &client{t: t, served: make(chan error, 1)}
	go func() {
		nc, err := l.Accept()
		if err == nil {
			err = server.Serve(context.Background(), nc, s, opts)
		}
		c.served <- err
	}()
	if c.nc, err = net.Dial("unix", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.hangUp() })
	c.in = wire.NewReader(c.nc, 4096)
	if c.params, c.greet, err = protocol.ClientHandshake(c.in, c.nc, s.Dir()); err != nil {
		t.Fatal(err)
	}
	if err := c.messages(); err != nil {
		t.Fatal(err)
	}
	return c
}

// sizes are the sizes of the files in the archive of a diskStore.
var sizes = map[string]int64{"a": 3, "b": 1 << 20, "c": 0, "d": 3<<20 + 1, "e": 4 << 20}

// newDiskStore returns a store with one object, which has files of several sizes, and the
// archive of the object.
func newDiskStore(t *testing.T) (s *diskStore, path storepath.Path, archive []byte) {
	t.Helper()
	mem, path, _ := newStore(t)
	s = &diskStore{Store: mem, dir: t.TempDir()}
	object := filepath.Join(s.dir, path.Base())
	if err := os.Mkdir(object, 0o777); err != nil {
		t.Fatal(err)
	}
	for name, size := range sizes {
		if err := os.WriteFile(filepath.Join(object, name), bytes.Repeat([]byte(name), int(size)), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	var b bytes.Buffer
	if err := nar.Dump(t.Context(), &b, object, nil); err != nil {
		t.Fatal(err)
	}
	return s, path, b.Bytes()
}

// ways are the kinds of connections. The system can send files to a socket, but not to other
// connections.
var ways = map[string]func(*testing.T, store.Store, *server.Options) *client{
	"socket": dialSocket,
	"pipe":   func(t *testing.T, s store.Store, opts *server.Options) *client { return dial(t, s, opts) },
}

// Files of an archive are sent unchanged, and the connection stays in step.
func TestArchiveOfFiles(t *testing.T) {
	for name, connect := range ways {
		t.Run(name, func(t *testing.T) {
			s, path, want := newDiskStore(t)
			c := connect(t, s, trusted)
			for range 2 {
				must[*protocol.None](c, &protocol.NarFromPathRequest{Path: path}, nil)
				got := make([]byte, len(want))
				if _, err := io.ReadFull(c.in, got); err != nil || !bytes.Equal(got, want) {
					t.Fatalf("got another archive, %v", err)
				}
				if !must[*protocol.IsValidPathReply](c, &protocol.IsValidPathRequest{Path: path}, nil).Valid {
					t.Error("the path is not valid")
				}
			}
		})
	}
}

// If an archive turns out to be wrong or cannot be read to its end, the client gets an error in
// place of its last bytes.
func TestArchiveOfFilesFails(t *testing.T) {
	for name, connect := range ways {
		t.Run(name, func(t *testing.T) {
			for what, change := range map[string]func(s *diskStore, object string){
				"it is the wrong one": func(s *diskStore, _ string) { s.failing = errors.New("it is the wrong one") },
				nar.ErrFileChanged.Error(): func(s *diskStore, object string) {
					s.beforeFile = func(size int64) {
						if size == sizes["d"] {
							os.Truncate(filepath.Join(object, "d"), 100_000)
						}
					}
				},
			} {
				s, path, want := newDiskStore(t)
				change(s, filepath.Join(s.dir, path.Base()))
				c := connect(t, s, trusted)
				must[*protocol.None](c, &protocol.NarFromPathRequest{Path: path}, nil)
				got, err := io.ReadAll(c.in)
				if err != nil {
					t.Fatal(err)
				}
				at := bytes.Index(got, wire.AppendUint64(nil, uint64(protocol.MessageError)))
				if at < 0 || at > len(want)-16 || !bytes.Equal(got[:at], want[:at]) {
					t.Fatalf("%s: the error comes after %d bytes of %d", what, at, len(want))
				}
				if !strings.Contains(string(got[at:]), what) {
					t.Errorf("%s: the client gets %q", what, got[at:])
				}
			}
		})
	}
}

// The server stops serving a client that hangs up, or stops reading, in the middle of a file.
func TestArchiveOfFilesToStalledClient(t *testing.T) {
	s, path, want := newDiskStore(t)
	t.Run("gone", func(t *testing.T) {
		c := dialSocket(t, s, trusted)
		must[*protocol.None](c, &protocol.NarFromPathRequest{Path: path}, nil)
		if _, err := io.CopyN(io.Discard, c.in, int64(len(want)/4)); err != nil {
			t.Fatal(err)
		}
		if err := c.hangUp(); err != nil {
			t.Error(err)
		}
	})
	t.Run("stalled", func(t *testing.T) {
		c := dialSocket(t, s, &server.Options{Trusted: true, StallTimeout: 50 * time.Millisecond})
		must[*protocol.None](c, &protocol.NarFromPathRequest{Path: path}, nil)
		if err := <-c.served; !errors.Is(err, server.ErrStalled) {
			t.Error(err)
		} else {
			c.served <- nil
		}
	})
}
