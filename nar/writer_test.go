package nar_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"pix/nar"
)

func ExampleWriter() {
	var b bytes.Buffer
	w := nar.NewWriter(&b)
	w.WriteEntry(nar.Entry{Kind: nar.Directory})
	w.WriteEntry(nar.Entry{Kind: nar.Regular, Depth: 1, Name: "hello", Size: 5})
	io.WriteString(w, "world")
	w.WriteEntry(nar.Entry{Kind: nar.Symlink, Depth: 1, Name: "link", Target: "hello"})
	err := w.Close()
	fmt.Println(b.Len(), err)
	// Output: 480 <nil>
}

func ExampleCopy() {
	// A proxy copies the bytes that it receives, and knows at the end whether they are valid.
	var passedOn bytes.Buffer
	_, err := nar.Copy(&passedOn, bytes.NewReader(sample[:1000]))
	fmt.Println(bytes.HasPrefix(sample, passedOn.Bytes()))
	fmt.Println(err)
	// Output:
	// true
	// bad archive: offset 1000, at "bin.txt": the archive ends too early: unexpected EOF
}

// Copy does not change an archive.
func TestCopy(t *testing.T) {
	for what, b := range map[string][]byte{
		"everything": sample,
		"a file":     archive(nar.Magic, file("hello")),
		"a symlink":  archive(nar.Magic, link("hello")),
		"a large":    archive(nar.Magic, program(strings.Repeat("0123456789abcdef!", 1<<16))),
		"empty":      archive(nar.Magic, dir()),
		"deep":       depth(63),
	} {
		for size, src := range map[string]io.Reader{"at once": bytes.NewReader(b), "byte by byte": iotest.OneByteReader(bytes.NewReader(b))} {
			var got bytes.Buffer
			n, err := nar.Copy(&got, src)
			if err != nil || n != int64(len(b)) {
				t.Errorf("%s, %s: %d, %v", what, size, n, err)
			}
			equal(t, what, got.Bytes(), b)
		}
	}
}

// After an error, the output is a prefix of the input.
func TestCopyRejectsInvalid(t *testing.T) {
	for _, c := range invalidArchives {
		var got bytes.Buffer
		_, err := nar.Copy(&got, bytes.NewReader(c.bytes))
		checkError(t, c.what, err, c.offset, c.reason)
		if !bytes.HasPrefix(c.bytes, got.Bytes()) {
			t.Errorf("%s: the output is not a prefix of the input", c.what)
		}
	}
}

func TestCopyToBrokenWriter(t *testing.T) {
	boom := errors.New("boom")
	for n := range len(sample) / 100 {
		_, err := nar.Copy(&limitedWriter{left: n * 100, err: boom}, iotest.HalfReader(bytes.NewReader(sample)))
		if !errors.Is(err, boom) {
			t.Errorf("after %d bytes: %v, want %v", n*100, err, boom)
		}
	}
}

// A limitedWriter fails after a number of bytes.
type limitedWriter struct {
	left int
	err  error
}

func (w *limitedWriter) Write(p []byte) (int, error) {
	if len(p) > w.left {
		return 0, w.err
	}
	w.left -= len(p)
	return len(p), nil
}

// A Writer rejects invalid entries immediately. All later calls fail too.
func TestWriterRejectsInvalid(t *testing.T) {
	root := nar.Entry{Kind: nar.Directory}
	at := func(depth int, name string) nar.Entry {
		return nar.Entry{Kind: nar.Regular, Depth: depth, Name: name}
	}
	sub := func(depth int, name string) nar.Entry {
		return nar.Entry{Kind: nar.Directory, Depth: depth, Name: name}
	}
	sized := nar.Entry{Kind: nar.Regular, Depth: 1, Name: "f", Size: 3}
	to := func(target string) nar.Entry {
		return nar.Entry{Kind: nar.Symlink, Depth: 1, Name: "l", Target: target}
	}
	tooDeep := []any{root}
	for d := 1; d <= nar.MaxDepth; d++ {
		tooDeep = append(tooDeep, sub(d, "d"))
	}
	for what, steps := range map[string][]any{
		"nothing at all":              {},
		"no root":                     {at(1, "x")},
		"a negative depth":            {root, at(-1, "x")},
		"a root with a name":          {at(0, "x")},
		"two roots":                   {root, root},
		"something in a file":         {at(0, ""), at(1, "x")},
		"something in a file, deeper": {root, at(1, "x"), at(2, "y")},
		"an entry in a closed folder": {root, sub(1, "a"), at(1, "b"), at(2, "c")},
		"a name twice":                {root, at(1, "x"), at(1, "x")},
		"names not in order":          {root, at(1, "x"), at(1, "a")},
		"not in order after a folder": {root, sub(1, "x"), at(2, "y"), at(1, "a")},
		"an empty name":               {root, at(1, "")},
		"a dot":                       {root, at(1, ".")},
		"two dots":                    {root, at(1, "..")},
		"a slash":                     {root, at(1, "a/b")},
		"NUL":                         {root, at(1, "a\x00")},
		"a long name":                 {root, at(1, strings.Repeat("x", 256))},
		"an empty target":             {root, to("")},
		"a long target":               {root, to(strings.Repeat("x", 4096))},
		"NUL in a target":             {root, to("\x00")},
		"no kind":                     {nar.Entry{}},
		"an unknown kind":             {nar.Entry{Kind: 9}},
		"an executable folder":        {nar.Entry{Kind: nar.Directory, Executable: true}},
		"a symlink with a size":       {nar.Entry{Kind: nar.Symlink, Target: "x", Size: 1}},
		"a file with a target":        {nar.Entry{Kind: nar.Regular, Target: "x"}},
		"too few bytes":               {root, sized, "ab"},
		"too few bytes, then more":    {root, sized, "ab", at(1, "g")},
		"too many bytes":              {root, sized, "abcd"},
		"too many bytes, in pieces":   {root, sized, "ab", "cd"},
		"bytes for a directory":       {root, "x"},
		"bytes before anything":       {"x"},
		"too deep":                    tooDeep,
	} {
		var b bytes.Buffer
		w := nar.NewWriter(&b)
		var first error
		for i, s := range steps {
			var err error
			switch s := s.(type) {
			case nar.Entry:
				err = w.WriteEntry(s)
			case string:
				_, err = io.WriteString(w, s)
			}
			if first == nil && err != nil && i < len(steps)-1 {
				t.Errorf("%s: step %d: %v", what, i, err)
			}
			first = err
		}
		err := w.Close()
		checkError(t, what, err, -1, "")
		if first != nil && first != err {
			t.Errorf("%s: %v, but Close returns %v", what, first, err)
		}
		if readAll(&b) == nil {
			t.Errorf("%s: the output is a valid archive", what)
		}
	}
}

func TestWriterAfterClose(t *testing.T) {
	var b bytes.Buffer
	w := nar.NewWriter(&b)
	if err := errors.Join(w.WriteEntry(nar.Entry{Kind: nar.Directory}), w.Close(), w.Close()); err != nil {
		t.Fatal(err)
	}
	size := b.Len()
	if w.WriteEntry(nar.Entry{Kind: nar.Regular, Depth: 1, Name: "x"}) == nil {
		t.Error("an entry was accepted after Close")
	}
	if _, err := w.Write([]byte("x")); err == nil {
		t.Error("contents were accepted after Close")
	}
	if b.Len() != size {
		t.Error("bytes were written after Close")
	}
}
