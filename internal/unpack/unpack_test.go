package unpack

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pix/internal/compression"
)

// An entry is a member of an archive that a test writes.
type entry struct {
	name string
	mode fs.FileMode // with the type
	text string      // the contents, or the target of a symlink
	hard bool        // a hard link to text
}

func tarOf(t *testing.T, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		h := &tar.Header{Name: e.name, Mode: int64(e.mode.Perm()), Size: int64(len(e.text)), Typeflag: tar.TypeReg}
		switch {
		case e.hard:
			h.Typeflag = tar.TypeLink
		case e.mode.IsDir():
			h.Typeflag = tar.TypeDir
		case e.mode&fs.ModeSymlink != 0:
			h.Typeflag = tar.TypeSymlink
		case e.mode&fs.ModeNamedPipe != 0:
			h.Typeflag = tar.TypeFifo
		case e.mode&fs.ModeDevice != 0:
			h.Typeflag = tar.TypeBlock
		}
		if h.Typeflag != tar.TypeReg {
			h.Linkname, h.Size = e.text, 0
		}
		must(t, w.WriteHeader(h))
		if h.Size > 0 {
			_, err := io.WriteString(w, e.text)
			must(t, err)
		}
	}
	must(t, w.Close())
	return b.Bytes()
}

func zipOf(t *testing.T, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, e := range entries {
		h := &zip.FileHeader{Name: e.name, Method: zip.Deflate}
		h.SetMode(e.mode)
		if e.mode.IsDir() {
			h.Name += "/"
		}
		member, err := w.CreateHeader(h)
		must(t, err)
		if !e.mode.IsDir() {
			_, err = io.WriteString(member, e.text)
			must(t, err)
		}
	}
	must(t, w.Close())
	return b.Bytes()
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// unpackBytes unpacks an archive below a directory that also has a canary, and returns the files as lines.
func unpackBytes(ctx context.Context, t *testing.T, archive []byte, limits Limits) ([]string, error) {
	t.Helper()
	tmp := t.TempDir()
	must(t, os.WriteFile(tmp+"/archive", archive, 0o600))
	must(t, os.WriteFile(tmp+"/canary", []byte("untouched"), 0o600))
	must(t, os.Mkdir(tmp+"/out", 0o700))
	root, err := os.OpenRoot(tmp + "/out")
	must(t, err)
	defer root.Close()
	file, err := os.Open(tmp + "/archive")
	must(t, err)
	defer file.Close()
	err = File(ctx, root, file, limits)
	if text, _ := os.ReadFile(tmp + "/canary"); string(text) != "untouched" {
		t.Errorf("the canary is %q", text)
	}
	if entries, _ := os.ReadDir(tmp); len(entries) != 3 {
		t.Errorf("files were made outside: %v", entries)
	}
	return filesIn(t, tmp+"/out"), err
}

// filesIn returns a line for each file: "name", "name*" if it is executable, or "name/", with its contents or target.
func filesIn(t *testing.T, dir string) (lines []string) {
	t.Helper()
	must(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		line := strings.TrimPrefix(path, dir+"/")
		switch {
		case d.IsDir():
			line += "/"
		case info.Mode()&fs.ModeSymlink != 0:
			target, err := os.Readlink(path)
			must(t, err)
			line += " -> " + target
		default:
			text, err := os.ReadFile(path)
			must(t, err)
			if info.Mode()&0o100 != 0 {
				line += "*"
			}
			line += " " + string(text)
		}
		lines = append(lines, line)
		return nil
	}))
	return lines
}

// Archives of each format and compression have the same files.
func TestFormats(t *testing.T) {
	entries := []entry{
		{name: "top", mode: fs.ModeDir | 0o500}, {name: "top/file", mode: 0o600, text: "text"}, {name: "top/program", mode: 0o755, text: "run"},
		{name: "top/link", mode: fs.ModeSymlink | 0o777, text: "/etc/passwd"}, {name: "top/sub/deep/file", mode: 0o444, text: "deep"},
		{name: "top/" + strings.Repeat("long", 40), mode: 0o644, text: "long"},
	}
	want := []string{
		"top/", "top/file text", "top/link -> /etc/passwd", "top/" + strings.Repeat("long", 40) + " long", "top/program* run",
		"top/sub/", "top/sub/deep/", "top/sub/deep/file deep",
	}
	archives := map[string][]byte{"zip": zipOf(t, entries...), "tar": tarOf(t, entries...)}
	for _, method := range []string{"gzip", "xz", "zstd"} {
		var b bytes.Buffer
		w, err := compression.Encode(method, &b, 0, 0)
		must(t, err)
		_, err = w.Write(archives["tar"])
		must(t, err)
		must(t, w.Close())
		archives[method] = b.Bytes()
	}
	for name, archive := range archives {
		got, err := unpackBytes(t.Context(), t, archive, Limits{})
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %v, files %q, want %q", name, err, got, want)
		}
		for _, n := range []int{len(archive) / 2, len(archive) - 600} { // truncated
			if n > 0 && n < len(archive)-1024 {
				if _, err := unpackBytes(t.Context(), t, archive[:n], Limits{}); err == nil {
					t.Errorf("%s: the first %d of %d bytes are accepted", name, n, len(archive))
				}
			}
		}
	}
	hard := tarOf(t, entry{name: "./", mode: fs.ModeDir | 0o755}, entry{name: "a", mode: 0o755, text: "x"}, entry{name: "b", text: "a", hard: true})
	if got, err := unpackBytes(t.Context(), t, hard, Limits{}); err != nil || !slices.Equal(got, []string{"a* x", "b* x"}) {
		t.Errorf("a hard link: %v, files %q", err, got)
	}
	for _, text := range []string{"", "<html>not found</html>", strings.Repeat("text ", 1000), "\x1f\x8b\x08", "PK\x03\x04", "PK\x05\x06"} {
		_, err := unpackBytes(t.Context(), t, []byte(text), Limits{})
		if (err == nil) != (text == "") {
			t.Errorf("%.20q: %v", text, err)
		}
	}
}

// No member is made outside of the root, and no link is followed.
func TestEscapes(t *testing.T) {
	link := func(name, target string) entry { return entry{name: name, mode: fs.ModeSymlink | 0o777, text: target} }
	text := func(name string) entry { return entry{name: name, mode: 0o644, text: "evil"} }
	for name, test := range map[string]struct {
		entries []entry
		err     string
	}{
		"dots":          {[]entry{text("../canary")}, "contains '..'"},
		"dots inside":   {[]entry{text("a/../../canary")}, "contains '..'"},
		"absolute":      {[]entry{text("/canary")}, ""},
		"link":          {[]entry{link("l", ".."), text("l/canary")}, "through a symlink"},
		"absolute link": {[]entry{link("l", "/tmp"), text("l/pix-canary")}, "through a symlink"},
		"deep link":     {[]entry{link("a/l", "../.."), text("a/l/b/c")}, "through a symlink"},
		"replaced link": {[]entry{link("l", "../canary"), text("l")}, ""},
		"pipe":          {[]entry{{name: "p", mode: fs.ModeNamedPipe | 0o644}}, "not supported"},
		"device":        {[]entry{{name: "d", mode: fs.ModeDevice | 0o644}}, "not supported"},
	} {
		for format, archive := range map[string][]byte{"tar": tarOf(t, test.entries...), "zip": zipOf(t, test.entries...)} {
			_, err := unpackBytes(t.Context(), t, archive, Limits{})
			want := test.err
			if format == "zip" && want == "not supported" {
				want = "" // a file
			}
			if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
				t.Errorf("%s, %s: %v, want %q", name, format, err, want)
			}
		}
	}
	for _, target := range []string{"../canary", "l/canary"} {
		archive := tarOf(t, link("l", ".."), entry{name: "hard", text: target, hard: true})
		if _, err := unpackBytes(t.Context(), t, archive, Limits{}); err == nil {
			t.Errorf("a hard link to %s is made", target)
		}
	}
}

// Each limit is exact, and ends an archive whose contents are much longer than itself.
func TestLimits(t *testing.T) {
	isLimit := func(err error, what string) bool {
		limit, ok := errors.AsType[*LimitError](err)
		return ok && limit.What == what
	}
	entries := []entry{{name: "a/b/c", mode: 0o644, text: "12345"}, {name: "d", mode: 0o644, text: "67890"}}
	for format, archive := range map[string][]byte{"tar": tarOf(t, entries...), "zip": zipOf(t, entries...)} {
		if _, err := unpackBytes(t.Context(), t, archive, Limits{Size: 10, Entries: 4, Depth: 2}); err != nil {
			t.Errorf("%s: %v", format, err)
		}
		if _, err := unpackBytes(t.Context(), t, archive, Limits{Size: 9}); !isLimit(err, "bytes") {
			t.Errorf("%s: 9 bytes: %v", format, err)
		}
		if _, err := unpackBytes(t.Context(), t, archive, Limits{Entries: 3}); !isLimit(err, "entries") {
			t.Errorf("%s: three entries: %v", format, err)
		}
		if _, err := unpackBytes(t.Context(), t, archive, Limits{Depth: 1}); !isLimit(err, "nested directories") {
			t.Errorf("%s: one directory: %v", format, err)
		}
	}

	// A compressed stream of headers that never end is no entry.
	var b bytes.Buffer
	w, err := compression.Encode("zstd", &b, 0, 0)
	must(t, err)
	header := make([]byte, 1024)
	copy(header, tarOf(t, entry{name: "x", mode: 0o644})[:512])
	copy(header[512:], header[:512])
	for range 8 << 10 {
		_, err := w.Write(header)
		must(t, err)
	}
	must(t, w.Close())
	if _, err := unpackBytes(t.Context(), t, b.Bytes(), Limits{Size: 1, Entries: 1000}); !isLimit(err, "entries") {
		t.Errorf("endless headers: %v", err)
	}
	u := &unpacker{limits: Limits{Entries: 1}}
	if err := u.zip(endless{}, 1<<40); err == nil {
		t.Error("an endless list of files is accepted")
	}
}

// An endless is a file of 1 TiB that consists of the end of a zip archive with many files.
type endless struct{}

func (endless) ReadAt(p []byte, off int64) (int, error) {
	end := "PK\x05\x06\x00\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00\x00\x00"
	for i := range p {
		p[i] = "PK\x01\x02"[(off+int64(i))%4]
	}
	if tail := int64(1)<<40 - int64(len(end)); off+int64(len(p)) > tail {
		copy(p[max(0, tail-off):], end)
	}
	return len(p), nil
}

// The unpacked size is limited by the size of the archive, too.
func TestRatio(t *testing.T) {
	for size, want := range map[int64]int64{0: 256 << 20, 1 << 20: 256<<20 + 500<<20, 1 << 40: 64 << 30, math.MaxInt64: 64 << 30} {
		if got := (Limits{}).forArchive(size).Size; got != want {
			t.Errorf("the limit for an archive of %d bytes is %d, want %d", size, got, want)
		}
	}
	if got := (Limits{Size: 10, Ratio: 2}).forArchive(5).Size; got != 10 {
		t.Errorf("the limit is %d, want 10", got)
	}
}

// A cancelled context ends the work.
func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for format, archive := range map[string][]byte{"tar": tarOf(t, entry{name: "a", mode: 0o644}), "zip": zipOf(t, entry{name: "a", mode: 0o644})} {
		if _, err := unpackBytes(ctx, t, archive, Limits{}); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", format, err)
		}
	}
}

// No archive makes the package panic, or make files outside.
func FuzzFile(f *testing.F) {
	f.Add([]byte("PK\x05\x06"))
	f.Fuzz(func(t *testing.T, archive []byte) {
		unpackBytes(t.Context(), t, archive, Limits{Size: 1 << 20, Entries: 100})
	})
}
