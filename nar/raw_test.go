package nar_test

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"pix/nar"
	"pix/wire"
)

// A RawReader returns the bytes of the archive and leaves the bytes after it in the stream.
func TestRawReader(t *testing.T) {
	const after = "what follows"
	large := archive(nar.Magic, dir(
		in("a", file(strings.Repeat("x", 15))...),
		in("b", program(strings.Repeat("0123456789", 100_001))...), // with padding
		in("c", file(strings.Repeat("y", 64<<10))...),
		in("d", link("a")...),
	))
	for _, b := range [][]byte{sample, large, depth(60), archive(nar.Magic, file("")), archive(nar.Magic, link("x"))} {
		for _, way := range []func(io.Reader) io.Reader{
			func(r io.Reader) io.Reader { return r }, iotest.OneByteReader, iotest.HalfReader,
		} {
			src := wire.NewReader(strings.NewReader(string(b)+after), 1<<10)
			got, err := io.ReadAll(way(nar.NewRawReader(src)))
			if err != nil || !bytes.Equal(got, b) {
				t.Fatalf("%d bytes of %d, %v", len(got), len(b), err)
			}
			if rest, err := io.ReadAll(src); err != nil || string(rest) != after {
				t.Fatalf("%q follows, %v", rest, err)
			}
		}
	}
}

// A RawReader returns the same errors as a Reader, after the bytes that precede the error.
func TestRawReaderRejectsInvalid(t *testing.T) {
	for _, c := range invalidArchives {
		got, err := io.ReadAll(nar.NewRawReader(bytes.NewReader(c.bytes)))
		if want := readAll(bytes.NewReader(c.bytes)); !sameError(err, want) || !bytes.HasPrefix(c.bytes, got) {
			t.Errorf("%s: %v, want %v", c.what, err, want)
		}
	}
	for n := range len(sample) {
		got, err := io.ReadAll(nar.NewRawReader(bytes.NewReader(sample[:n])))
		if err == nil || !bytes.HasPrefix(sample, got) {
			t.Fatalf("the first %d bytes: %q, %v", n, got, err)
		}
	}
}
