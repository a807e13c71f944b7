package localstore

import (
	"bytes"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"pix/localstore/internal/filetime"
	"pix/nar"
	"pix/nixhash"
	"pix/store"
	"pix/storepath"
)

// addLargeTree adds an object of some small files and a large one.
func addLargeTree(t *testing.T, s *Store) (path storepath.Path, archive []byte) {
	t.Helper()
	var b bytes.Buffer
	w := nar.NewWriter(&b)
	w.WriteEntry(nar.Entry{Kind: nar.Directory})
	for _, f := range []struct{ name, contents string }{{"a", "a"}, {"large", strings.Repeat("0123456789", 300_001)}, {"z", "z"}} {
		w.WriteEntry(nar.Entry{Kind: nar.Regular, Depth: 1, Name: f.name, Size: uint64(len(f.contents))})
		io.WriteString(w, f.contents)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	info := info(t, "tree")
	info.NARHash, info.NARSize = nixhash.Sum(nixhash.SHA256, b.Bytes()), uint64(b.Len())
	if err := s.AddToStoreNAR(t.Context(), info, &b, &store.AddOptions{NoSignatures: true}); err != nil {
		t.Fatal(err)
	}
	return info.Path, archiveOf(t, s, info.Path)
}

func archiveOf(t *testing.T, s *Store, path storepath.Path) []byte {
	t.Helper()
	r, err := s.NARFromPath(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// A filesWriter takes files, and counts them.
type filesWriter struct {
	bytes.Buffer
	files     int
	meanwhile func()
}

func (w *filesWriter) WriteFile(f nar.File, n int64) (int64, error) {
	w.files++
	written, err := io.Copy(&w.Buffer, io.NewSectionReader(f, 0, n))
	if w.meanwhile != nil {
		w.meanwhile()
	}
	return written, err
}

// An object that had the right hash and was not changed since is not hashed again, and its
// files go right to where they are wanted. If it is changed, that is noticed.
func TestArchiveIsCheckedOnce(t *testing.T) {
	s := open(t, Options{Root: t.TempDir()})
	begin := time.Now()
	path, want := addLargeTree(t, s)
	write := func(meanwhile func()) (*filesWriter, error) {
		t.Helper()
		r, err := s.NARFromPath(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		w := &filesWriter{meanwhile: meanwhile}
		n, err := r.(io.WriterTo).WriteTo(w)
		if n != int64(w.Len()) {
			t.Errorf("%d bytes of %d", n, w.Len())
		}
		if err == nil && !bytes.Equal(w.Bytes(), want) {
			t.Error("it is another archive")
		}
		return w, err
	}
	hashed := func() {
		t.Helper()
		if w, err := write(nil); w.files != 0 || err != nil {
			t.Fatalf("%d files were taken unchecked, %v", w.files, err)
		}
	}
	unhashed := func(meanwhile func()) {
		t.Helper()
		if w, err := write(meanwhile); w.files != 1 || err != nil {
			t.Fatalf("%d files were taken unchecked, %v", w.files, err)
		}
	}
	s.verified.now = func() time.Time { return begin.Add(filetime.Settled) } // it was added just now
	hashed()
	hashed()

	s.verified.now = func() time.Time { return time.Now().Add(filetime.Settled) }
	hashed()
	unhashed(nil)
	unhashed(nil)
	if got := archiveOf(t, s, path); !bytes.Equal(got, want) {
		t.Error("read, it is another archive")
	}

	name := s.object(path) + "/a"
	change := func(contents string) {
		time.Sleep(30 * time.Millisecond) // a tick of the file system's clock
		if err := errors.Join(os.Chmod(name, 0o644), os.WriteFile(name, []byte(contents), 0o644), os.Chmod(name, 0o444)); err != nil {
			t.Fatal(err)
		}
	}
	var modified *store.ModifiedError
	change("b")
	if _, err := write(nil); !errors.As(err, &modified) {
		t.Fatalf("changed: %v", err)
	}
	change("a") // as it was, but who knows
	hashed()
	unhashed(func() { change("a") }) // nothing has become wrong
	hashed()
	if _, err := write(func() { change("c") }); !errors.As(err, &modified) {
		t.Fatalf("changed meanwhile: %v", err)
	}
	if _, err := write(nil); !errors.As(err, &modified) {
		t.Fatalf("changed: %v", err)
	}
}

// What is read is closed early, before anything was read, twice, and after it was written.
func TestArchiveClosedEarly(t *testing.T) {
	s := open(t, Options{Root: t.TempDir()})
	path, want := addLargeTree(t, s)
	for _, n := range []int{0, 1, 1 << 20} {
		r, err := s.NARFromPath(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(r, make([]byte, n)); err != nil {
			t.Fatal(err)
		}
		r.Close()
		r.Close()
		if _, err := r.Read(make([]byte, 1)); err == nil {
			t.Error("a closed archive can be read")
		}
	}
	r, err := s.NARFromPath(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var whole bytes.Buffer
	if _, err := io.CopyN(&whole, r, 10); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(&whole, r); err != nil || !bytes.Equal(whole.Bytes(), want) { // by WriteTo
		t.Errorf("%d bytes, %v", whole.Len(), err)
	}
	if n, err := r.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("%d, %v at the end", n, err)
	}
}
