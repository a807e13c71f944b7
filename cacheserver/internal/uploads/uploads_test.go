package uploads_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"pix/cacheserver/internal/uploads"
	"pix/internal/compression"
	"pix/nar"
	"pix/nixhash"
)

// me is an uploader with one client.
var me = uploads.Sender{Uploader: "me"}

// archiveOf returns the archive of a file.
func archiveOf(t *testing.T, contents string) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := nar.WriteFile(&b, strings.NewReader(contents), uint64(len(contents))); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// compress returns compressed contents.
func compress(t *testing.T, method string, contents []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := compression.Encode(method, &b, 0, uint64(len(contents)))
	if err == nil {
		_, err = w.Write(contents)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// nameOf returns the name of a file.
func nameOf(file []byte, ext string) uploads.Name {
	return uploads.Name{FileHash: nixhash.Sum(nixhash.SHA256, file), Ext: ext}
}

// open opens a spool and returns it with its directory.
func open(t *testing.T, opts uploads.Options) (*uploads.Spool, string) {
	t.Helper()
	opts.Dir = filepath.Join(t.TempDir(), "uploads")
	s, err := uploads.Open(&opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s, opts.Dir
}

// stored returns the number of files in the directory of a spool.
func stored(t *testing.T, dir string) int {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "upload-*"))
	if err != nil {
		t.Fatal(err)
	}
	return len(names)
}

// receive uploads a file of known length.
func receive(s *uploads.Spool, uploader string, name uploads.Name, file []byte) error {
	return s.Receive(context.Background(), uploads.Sender{Uploader: uploader}, name, int64(len(file)), bytes.NewReader(file))
}

func TestMethods(t *testing.T) {
	s, dir := open(t, uploads.Options{})
	archive := archiveOf(t, strings.Repeat("contents ", 1000))
	for _, test := range []struct{ method, ext string }{{"none", ""}, {"gzip", ""}, {"xz", "xz"}, {"zstd", "zst"}, {"br", "br"}} {
		file := compress(t, test.method, archive)
		name := nameOf(file, test.ext)
		if err := receive(s, "me", name, file); err != nil {
			t.Errorf("%s: %v", test.method, err)
			continue
		}
		a := s.Find("me", name)
		if a == nil || a.Method != test.method || a.FileSize != int64(len(file)) ||
			a.NARHash != nixhash.Sum(nixhash.SHA256, archive) || a.NARSize != uint64(len(archive)) {
			t.Errorf("%s: got %+v", test.method, a)
			continue
		}
		r, err := s.Open(t.Context(), a)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, archive) {
			t.Errorf("%s: read %d bytes, error %v", test.method, len(got), err)
		}
		r.Close()
		if s.Done(a); s.Find("me", name) != nil {
			t.Errorf("%s: the archive is still there after its narinfo", test.method)
		}
	}
	if n := stored(t, dir); n != 0 {
		t.Errorf("%d files are left", n)
	}
	err := receive(s, "me", uploads.Name{FileHash: nixhash.Sum(nixhash.SHA256, nil), Ext: "lzip"}, nil)
	if !errors.Is(err, uploads.ErrMethod) {
		t.Errorf("lzip: got %v", err)
	}
}

// Refused uploads leave nothing, neither in the spool nor on the disk.
func TestRefused(t *testing.T) {
	limits := uploads.Options{MaxFile: 1 << 20, MaxArchive: 1 << 20, Quota: 2 << 20}
	archive := archiveOf(t, "contents")
	xz := compress(t, "xz", archive)
	noise := archiveOf(t, strings.Repeat("x", 1<<20)) // larger than MaxArchive
	tests := []struct {
		name string
		file []byte
		ext  string
		want error
	}{
		{"not an archive", []byte("<html><script>alert(1)</script></html>"), "", uploads.ErrInvalid},
		{"empty", nil, "", uploads.ErrInvalid},
		{"empty xz", nil, "xz", uploads.ErrInvalid},
		{"compressed garbage", compress(t, "zstd", []byte("garbage")), "zst", uploads.ErrInvalid},
		{"not compressed", archive, "xz", uploads.ErrInvalid},
		{"truncated archive", archive[:len(archive)-1], "", uploads.ErrInvalid},
		{"truncated file", xz[:len(xz)-1], "xz", uploads.ErrInvalid},
		{"bytes behind the archive", append(bytes.Clone(archive), 0), "", uploads.ErrInvalid},
		{"bytes behind the compressed archive", compress(t, "xz", append(bytes.Clone(archive), 0)), "xz", uploads.ErrInvalid},
		{"two archives", append(bytes.Clone(archive), archive...), "", uploads.ErrInvalid},
		{"large archive", compress(t, "zstd", noise), "zst", uploads.ErrTooLarge},
		{"large file", noise, "", uploads.ErrTooLarge},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s, dir := open(t, limits)
			name := nameOf(test.file, test.ext)
			if err := receive(s, "me", name, test.file); !errors.Is(err, test.want) {
				t.Errorf("got %v, want %v", err, test.want)
			}
			err := s.Receive(t.Context(), me, name, -1, bytes.NewReader(test.file))
			if !errors.Is(err, test.want) {
				t.Errorf("of unknown length: got %v, want %v", err, test.want)
			}
			checkEmpty(t, s, dir, name)
		})
	}
}

// checkEmpty fails unless a spool with a quota of 2 MiB has nothing.
func checkEmpty(t *testing.T, s *uploads.Spool, dir string, name uploads.Name) {
	t.Helper()
	if _, ok := s.Promise(me, name); ok {
		t.Error("the refused archive is in the spool")
	}
	if n := stored(t, dir); n != 0 {
		t.Errorf("%d files are left", n)
	}
	if err := s.Receive(t.Context(), me, name, 1<<20, strings.NewReader("")); errors.Is(err, uploads.ErrFull) {
		t.Errorf("the refused upload still counts: %v", err)
	}
}

func TestWrongName(t *testing.T) {
	s, dir := open(t, uploads.Options{Quota: 2 << 20})
	name := nameOf([]byte("another file"), "")
	err := receive(s, "me", name, archiveOf(t, "contents"))
	if !errors.Is(err, uploads.ErrInvalid) || !strings.Contains(err.Error(), "its hash is") {
		t.Errorf("got %v", err)
	}
	checkEmpty(t, s, dir, name)
}

// A body that breaks off is the client's error, and leaves nothing.
func TestCut(t *testing.T) {
	s, dir := open(t, uploads.Options{Quota: 2 << 20})
	archive := archiveOf(t, strings.Repeat("x", 100_000))
	name := nameOf(archive, "")
	cut := errors.New("the connection is lost")
	for _, length := range []int64{-1, int64(len(archive))} {
		body := io.MultiReader(bytes.NewReader(archive[:50_000]), iotest.ErrReader(cut))
		if err := s.Receive(t.Context(), me, name, length, body); !errors.Is(err, cut) {
			t.Errorf("length %d: got %v", length, err)
		}
	}
	checkEmpty(t, s, dir, name)
}

// A decoder stops soon after the ratio is exceeded.
func TestBombs(t *testing.T) {
	s, dir := open(t, uploads.Options{MaxRatio: 10, FreeSize: 1 << 20, Quota: 2 << 20})
	for _, test := range []struct{ method, ext string }{{"zstd", "zst"}, {"xz", "xz"}, {"gzip", ""}, {"br", "br"}} {
		file := bomb(t, test.method, 2<<20)
		name := nameOf(file, test.ext)
		if err := receive(s, "me", name, file); !errors.Is(err, uploads.ErrTooLarge) {
			t.Errorf("%s: %d bytes: got %v", test.method, len(file), err)
		}
		checkEmpty(t, s, dir, name)
	}
	// A stream of 10 GB with the header of an archive. It ends the test late if the decoder does not stop.
	empty := archiveOf(t, "")
	header := binary.LittleEndian.AppendUint64(empty[:len(empty)-24], 10<<30) // in place of the size 0 and a parenthesis
	file := append(compress(t, "zstd", header), bytes.Repeat(compress(t, "zstd", make([]byte, 1<<20)), 10<<10)...)
	name := nameOf(file, "zst")
	if err := receive(s, "me", name, file); !errors.Is(err, uploads.ErrTooLarge) {
		t.Errorf("10 GB: %d bytes: got %v", len(file), err)
	}
	checkEmpty(t, s, dir, name)
}

// bomb returns the compressed archive of a file of zeros.
func bomb(t *testing.T, method string, size int64) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := compression.Encode(method, &b, 0, 1<<16)
	if err != nil {
		t.Fatal(err)
	}
	if err := nar.WriteFile(w, io.LimitReader(zeros{}, size), uint64(size)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// zeros is an endless stream of zeros.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

func TestQuota(t *testing.T) {
	s, _ := open(t, uploads.Options{Quota: 300_000, Files: 2})
	first := archiveOf(t, strings.Repeat("1", 200_000))
	second := archiveOf(t, strings.Repeat("2", 200_000))
	if err := receive(s, "me", nameOf(first, ""), first); err != nil {
		t.Fatal(err)
	}
	if err := receive(s, "me", nameOf(second, ""), second); !errors.Is(err, uploads.ErrFull) {
		t.Errorf("beyond the quota of bytes: got %v", err)
	}
	if err := s.Receive(t.Context(), me, nameOf(second, ""), -1, bytes.NewReader(second)); !errors.Is(err, uploads.ErrFull) {
		t.Errorf("beyond the quota of bytes, with unknown length: got %v", err)
	}
	if err := receive(s, "you", nameOf(second, ""), second); err != nil {
		t.Errorf("another uploader: %v", err)
	}
	small := archiveOf(t, "small")
	if err := receive(s, "me", nameOf(small, ""), small); err != nil {
		t.Errorf("within the quota: %v", err)
	}
	smaller := archiveOf(t, "")
	if err := receive(s, "me", nameOf(smaller, ""), smaller); !errors.Is(err, uploads.ErrFull) {
		t.Errorf("beyond the quota of files: got %v", err)
	}
	s.Done(s.Find("me", nameOf(first, "")))
	if err := receive(s, "me", nameOf(second, ""), second); err != nil {
		t.Errorf("after the narinfo of the first archive: %v", err)
	}
}

// An uploader neither sees nor uses the archives of another one.
func TestUploaders(t *testing.T) {
	s, _ := open(t, uploads.Options{})
	archive := archiveOf(t, "secret")
	name := nameOf(archive, "")
	if err := receive(s, "me", name, archive); err != nil {
		t.Fatal(err)
	}
	if _, ok := s.Promise(uploads.Sender{Uploader: "you"}, name); ok || s.Find("you", name) != nil {
		t.Error("the archive of another uploader is visible")
	}
}

// Only a client that has sent an archive prolongs it. If another client of the uploader sends it again, it counts to the quota of
// that client.
func TestClients(t *testing.T) {
	s, dir := open(t, uploads.Options{Quota: 1000})
	archive := archiveOf(t, strings.Repeat("x", 700))
	name := nameOf(archive, "")
	first, second := uploads.Sender{Uploader: "anyone", Client: "1"}, uploads.Sender{Uploader: "anyone", Client: "2"}
	send := func(by uploads.Sender, archive []byte) error {
		return s.Receive(t.Context(), by, nameOf(archive, ""), int64(len(archive)), bytes.NewReader(archive))
	}
	check := func(owner, other uploads.Sender) {
		t.Helper()
		if err := send(owner, archive); err != nil {
			t.Fatal(err)
		}
		_, ok := s.Promise(owner, name)
		_, otherOK := s.Promise(other, name)
		if !ok || otherOK || stored(t, dir) != 1 {
			t.Errorf("the archive exists for its sender: %t, for another client: %t; %d files", ok, otherOK, stored(t, dir))
		}
	}
	check(first, second)
	check(second, first)
	large := archiveOf(t, strings.Repeat("y", 700))
	if err := send(second, large); !errors.Is(err, uploads.ErrFull) {
		t.Errorf("the last sender has room for another archive: %v", err)
	}
	if err := send(first, large); err != nil {
		t.Errorf("the first sender: %v", err)
	}
}

// An archive is kept for every narinfo that was announced by an upload or by the question whether it exists.
func TestPromises(t *testing.T) {
	s, dir := open(t, uploads.Options{})
	archive := archiveOf(t, "contents")
	name := nameOf(archive, "")
	if _, ok := s.Promise(me, name); ok {
		t.Fatal("an archive exists that was not uploaded")
	}
	var uploading sync.WaitGroup
	for range 4 { // the same archive several times at once
		uploading.Go(func() {
			if err := receive(s, "me", name, archive); err != nil {
				t.Error(err)
			}
		})
	}
	uploading.Wait()
	if n := stored(t, dir); n != 1 {
		t.Errorf("%d files of one archive", n)
	}
	if size, ok := s.Promise(me, name); !ok || size != int64(len(archive)) {
		t.Errorf("Promise returned %d, %t", size, ok)
	}
	for i := range 5 {
		a := s.Find("me", name)
		if a == nil {
			t.Fatalf("the archive is gone after %d narinfos of 5", i)
		}
		s.Done(a)
	}
	if s.Find("me", name) != nil || stored(t, dir) != 0 {
		t.Error("the archive is still there after its last narinfo")
	}
}

func TestExpiry(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s, err := uploads.Open(&uploads.Options{Dir: dir, Expiry: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		one, two := archiveOf(t, "one"), archiveOf(t, "two")
		for _, archive := range [][]byte{one, two} {
			if err := receive(s, "me", nameOf(archive, ""), archive); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(50 * time.Second)
		if _, ok := s.Promise(me, nameOf(one, "")); !ok {
			t.Fatal("the archive has expired too early")
		}
		time.Sleep(50 * time.Second)
		synctest.Wait()
		if s.Find("me", nameOf(one, "")) == nil {
			t.Error("the archive has expired in spite of the promise")
		}
		if s.Find("me", nameOf(two, "")) != nil || stored(t, dir) != 1 {
			t.Error("the other archive has not expired")
		}
		time.Sleep(50 * time.Second)
		synctest.Wait()
		if stored(t, dir) != 0 {
			t.Error("the archive has not expired")
		}
	})
}

// The next process deletes what a killed one has left, and nothing else.
func TestLeftovers(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"upload-123", "precious"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s, err := uploads.Open(&uploads.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if stored(t, dir) != 0 {
		t.Error("the leftover is still there")
	}
	if _, err := os.Stat(filepath.Join(dir, "precious")); err != nil {
		t.Error(err)
	}
	if other, err := uploads.Open(&uploads.Options{Dir: dir}); err == nil {
		other.Close()
		t.Error("two spools use one directory")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := uploads.Open(&uploads.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	again.Close()
}

func TestTemporaryDirectory(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	s, err := uploads.Open(nil)
	if err != nil {
		t.Fatal(err)
	}
	archive := archiveOf(t, "contents")
	if err := receive(s, "me", nameOf(archive, ""), archive); err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if entries, err := os.ReadDir(os.Getenv("TMPDIR")); err != nil || len(entries) != 0 {
		t.Errorf("%v are left, error %v", entries, err)
	}
	if err := receive(s, "me", nameOf(archive, ""), archive); !errors.Is(err, uploads.ErrClosed) {
		t.Errorf("after Close: got %v", err)
	}
}

// A client that goes away while its archive waits for a decoder does not keep the wait.
func TestCancelled(t *testing.T) {
	s, dir := open(t, uploads.Options{Decoders: 1, Quota: 2 << 20})
	archive := archiveOf(t, "contents")
	name := nameOf(archive, "")
	if err := receive(s, "me", name, archive); err != nil {
		t.Fatal(err)
	}
	busy, err := s.Open(t.Context(), s.Find("me", name))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	other := archiveOf(t, "other")
	body := iotest.DataErrReader(bytes.NewReader(other))
	ended := make(chan error)
	go func() { ended <- s.Receive(ctx, me, nameOf(other, ""), -1, body) }()
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	busy.Close()
	s.Done(s.Find("me", name))
	checkEmpty(t, s, dir, nameOf(other, ""))
}

// A system may delete a temporary directory that was not used for some days. The next upload creates it again.
func TestDeletedTemporaryDirectory(t *testing.T) {
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	s, err := uploads.Open(nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		names, err := filepath.Glob(filepath.Join(temp, "*"))
		if err != nil || len(names) != 1 {
			t.Fatalf("the temporary directory has %q, error %v", names, err)
		}
		if err := os.RemoveAll(names[0]); err != nil {
			t.Fatal(err)
		}
		file := archiveOf(t, strings.Repeat("contents", i+1))
		if err := receive(s, "", nameOf(file, ""), file); err != nil {
			t.Error(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}
