package compression_test

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"

	"pix/internal/compression"
)

// filterFiles returns the files in testdata that xz and lz4 have written, by their names, and their contents.
func filterFiles(t testing.TB) (files map[string][]byte, plain string) {
	t.Helper()
	entries, err := os.ReadDir("testdata/filters")
	if err != nil {
		t.Fatal(err)
	}
	files = make(map[string][]byte)
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join("testdata/filters", e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if e.Name() == "plain" {
			plain = string(b)
		} else {
			files[e.Name()] = b
		}
	}
	return files, plain
}

// Streams of other programs are decoded: filters for machine code, the old format of lzma, frames of lz4. Decode goes by
// their first bytes, whatever method it is given.
func TestFilters(t *testing.T) {
	files, plain := filterFiles(t)
	for name, b := range files {
		ext := filepath.Ext(name)
		for _, method := range []string{strings.TrimPrefix(ext, "."), "gzip"} {
			for _, src := range []io.Reader{bytes.NewReader(b), iotest.OneByteReader(bytes.NewReader(b))} {
				if got, err := decode(method, src, len(plain)); err != nil || got != plain {
					t.Errorf("%s as %s: %d bytes, %v", name, method, len(got), err)
				}
			}
		}
		r, err := compression.ByExtension(ext, bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(r); err != nil || string(got) != plain {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
		if got, err := io.ReadAll(compression.NewReader(bytes.NewReader(b), "no such beginning")); err != nil || string(got) != plain {
			t.Errorf("%s, recognised: %d bytes, %v", name, len(got), err)
		}
		for n := 0; n < len(b); n += 1 + len(b)/40 {
			if got, err := decode(strings.TrimPrefix(ext, "."), bytes.NewReader(b[:n]), len(plain)); err == nil && got == plain && n < len(b)-20 {
				t.Errorf("%s: %d of %d bytes are accepted as a complete stream", name, n, len(b))
			} else if err == nil && got != plain {
				t.Errorf("%s: %d bytes decode to %d without an error", name, n, len(got))
			}
		}
	}
	two := append(bytes.Clone(files["default.lz4"]), files["linked.lz4"]...)
	if got, err := decode("lz4", bytes.NewReader(two), 2*len(plain)); err != nil || got != plain+plain {
		t.Errorf("two frames: %d bytes, %v", len(got), err)
	}
}

// A header that asks for gigabytes gets no larger window than the contents need.
func TestLzmaWindow(t *testing.T) {
	files, plain := filterFiles(t)
	b := bytes.Clone(files["alone.lzma"])
	copy(b[1:], "\xff\xff\xff\xff")
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	got, err := decode("lzma", bytes.NewReader(b), len(plain))
	runtime.ReadMemStats(&after)
	if err != nil || got != plain {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if n := after.TotalAlloc - before.TotalAlloc; n > 4<<20 {
		t.Errorf("%d bytes were allocated", n)
	}
	if _, err := decode("lzma", bytes.NewReader(b), 1<<30); err == nil {
		t.Error("a window of 1 GiB is accepted")
	}
}

// No input makes a decoder crash, or take much memory.
func FuzzDecodeFiltered(f *testing.F) {
	files, plain := filterFiles(f)
	for name, b := range files {
		f.Add(strings.TrimPrefix(filepath.Ext(name), "."), b)
	}
	f.Fuzz(func(t *testing.T, method string, b []byte) {
		r, err := compression.Decode(method, bytes.NewReader(b), uint64(len(plain)))
		if err != nil {
			return
		}
		io.Copy(io.Discard, io.LimitReader(r, 1<<20))
	})
}
