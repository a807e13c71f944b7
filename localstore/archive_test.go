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

// addLargeTree adds a directory with several small files and a large one.
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

// A filesWriter accepts whole files, and counts them.
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

// writeArchive writes an archive to a filesWriter. If there is no error, the archive must be want.
func writeArchive(t *testing.T, s *Store, path storepath.Path, want []byte, meanwhile func()) (*filesWriter, error) {
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
		t.Error("the archive is a different one")
	}
	return w, err
}

// An object that had the registered hash and has not changed is not hashed again, and its files are copied directly. A
// change is detected.
func TestArchiveIsCheckedOnce(t *testing.T) {
	s := open(t, Options{Root: t.TempDir()})
	begin := time.Now()
	path, want := addLargeTree(t, s)
	write := func(meanwhile func()) (*filesWriter, error) {
		t.Helper()
		return writeArchive(t, s, path, want, meanwhile)
	}
	hashed := func() {
		t.Helper()
		if w, err := write(nil); w.files != 0 || err != nil {
			t.Fatalf("%d files were copied directly, %v", w.files, err)
		}
	}
	unhashed := func(meanwhile func()) {
		t.Helper()
		if w, err := write(meanwhile); w.files != 1 || err != nil {
			t.Fatalf("%d files were copied directly, %v", w.files, err)
		}
	}
	s.verified.now = func() time.Time { return begin.Add(filetime.Settled) } // it was added just now
	hashed()
	hashed()

	later := func() time.Time { return time.Now().Add(filetime.Settled) }
	s.verified.now = later
	unhashed(nil) // this process has written it
	s.Close()
	s = open(t, s.opts)
	s.verified.now = later
	hashed()
	unhashed(nil)
	unhashed(nil)
	if got := archiveOf(t, s, path); !bytes.Equal(got, want) {
		t.Error("Read returns a different archive")
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
	change("a") // restored, but the time of its last change is another
	hashed()
	unhashed(func() { change("a") }) // no archive has a wrong hash
	hashed()
	if _, err := write(func() { change("c") }); !errors.As(err, &modified) {
		t.Fatalf("changed meanwhile: %v", err)
	}
	if _, err := write(nil); !errors.As(err, &modified) {
		t.Fatalf("changed: %v", err)
	}
}

// An object that this process has just written from a verified archive is not hashed, unless it is small. With
// AutoOptimise, its files can belong to other objects, so it is hashed.
func TestWrittenArchiveIsNotHashed(t *testing.T) {
	for _, test := range []struct {
		name     string
		size     int
		optimise bool
		hashed   bool
	}{
		{"large", 3 * minWritten, false, false},
		{"small", minWritten / 2, false, true},
		{"linked", 3 * minWritten, true, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := open(t, Options{Root: t.TempDir(), AutoOptimise: test.optimise})
			s.verified.now = func() time.Time { return time.Now().Add(filetime.Settled) }
			add := func(name string, add func(info *store.PathInfo, archive []byte, opts *store.AddOptions) error) {
				t.Helper()
				info := info(t, name)
				archive := fileNAR(strings.Repeat("x", test.size))
				info.NARHash, info.NARSize = nixhash.Sum(nixhash.SHA256, archive), uint64(len(archive))
				if err := add(info, archive, &store.AddOptions{NoSignatures: true}); err != nil {
					t.Fatal(err)
				}
				hashed := !s.verified.has(info, s.verified.state(s.object(info.Path)))
				if hashed != test.hashed {
					t.Errorf("%s: hashed = %t", name, hashed)
				}
			}
			add("one", func(info *store.PathInfo, archive []byte, opts *store.AddOptions) error {
				return s.AddToStoreNAR(t.Context(), info, bytes.NewReader(archive), opts)
			})
			add("several", func(info *store.PathInfo, archive []byte, opts *store.AddOptions) error {
				return s.AddMultipleToStore(t.Context(), 1, oneImport(info, archive), opts)
			})
		})
	}
}

// An archive can be closed before it is read, twice, and after WriteTo.
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
			t.Error("a closed archive was read")
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
