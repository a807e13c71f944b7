package nar_test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"pix/nar"
	"pix/nixhash"
)

// smallFiles returns an archive of 2,000 files, 8.6 MB.
func smallFiles(b *testing.B) []byte {
	var buf bytes.Buffer
	w := nar.NewWriter(&buf)
	w.WriteEntry(nar.Entry{Kind: nar.Directory})
	for i := range 2000 {
		w.WriteEntry(nar.Entry{Kind: nar.Regular, Depth: 1, Name: fmt.Sprintf("%04d", i), Size: 4000})
		w.Write(make([]byte, 4000))
	}
	if err := w.Close(); err != nil {
		b.Fatal(err)
	}
	return buf.Bytes()
}

// BenchmarkSkim reads entries without contents: from memory, where they are skipped, and from
// a stream, where they must be read.
func BenchmarkSkim(b *testing.B) {
	archive := smallFiles(b)
	for name, wrap := range map[string]func(*bytes.Reader) io.Reader{
		"memory": func(r *bytes.Reader) io.Reader { return r },
		"stream": func(r *bytes.Reader) io.Reader { return struct{ io.Reader }{r} },
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(archive)))
			b.ReportAllocs()
			for b.Loop() {
				if err := skim(wrap(bytes.NewReader(archive))); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkIndex(b *testing.B) {
	archive := smallFiles(b)
	b.SetBytes(int64(len(archive)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := nar.Index(bytes.NewReader(archive), int64(len(archive))); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCopy(b *testing.B) {
	archive := smallFiles(b)
	b.SetBytes(int64(len(archive)))
	for b.Loop() {
		if _, err := nar.Copy(io.Discard, bytes.NewReader(archive)); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkLister(b *testing.B) {
	archive := smallFiles(b)
	b.SetBytes(int64(len(archive)))
	for b.Loop() {
		if _, err := listByWriting(archive, 64<<10); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkHashPath(b *testing.B) {
	dir := b.TempDir()
	for i := range 2000 {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprint(i)), make([]byte, 16_000), 0o666); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		_, size, err := nar.HashPath(b.Context(), dir, nixhash.SHA256, nil)
		if err != nil {
			b.Fatal(err)
		}
		b.SetBytes(int64(size))
	}
}
