package nar_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"

	"pix/internal/testenv"
	"pix/nar"
	"pix/wire"
)

func ExampleReader() {
	r := nar.NewReader(bytes.NewReader(sample))
	for entry, err := range r.All() {
		if err != nil {
			fmt.Println(err)
			return
		}
		if entry.Kind == nar.Regular && entry.Executable {
			contents, _ := io.ReadAll(r)
			fmt.Printf("%s: %q\n", r.Path(), contents)
		}
	}
	// Output: bin/hello: "#!/bin/sh\necho hello\n"
}

func TestReader(t *testing.T) {
	var got []string
	r := nar.NewReader(bytes.NewReader(sample))
	for e, err := range r.All() {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprintf("%d %s %q %v %d %q", e.Depth, e.Kind, r.Path(), e.Executable, e.Size, e.Target))
		if e.Kind == nar.Regular && e.Size > 0 && e.Depth == 1 {
			contents, err := io.ReadAll(r)
			if err != nil || !bytes.Equal(contents, sample[e.Offset:e.Offset+int64(e.Size)]) {
				t.Errorf("the contents of %q, at %d, are %.40q, %v", e.Name, e.Offset, contents, err)
			}
		}
	}
	want := []string{
		`0 directory "" false 0 ""`,
		`1 directory "bin" false 0 ""`,
		`2 regular "bin/hello" true 21 ""`,
		`2 symlink "bin/hello2" false 0 "hello"`,
		`2 regular "bin/\xff\xfe" false 23 ""`,
		`1 regular "bin.txt" false 1000 ""`,
		`1 regular "empty" false 0 ""`,
		`1 directory "none" false 0 ""`,
		`1 regular "with\nnewline" false 8 ""`,
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if r.Offset() != int64(len(sample)) {
		t.Errorf("the offset is %d, want %d", r.Offset(), len(sample))
	}
	if _, err := r.Next(); err != io.EOF {
		t.Errorf("after the end: %v, want io.EOF", err)
	}
	if n, err := r.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("reading after the end: %d, %v, want io.EOF", n, err)
	}
}

// The root may be a file or a symlink.
func TestReaderRoots(t *testing.T) {
	for _, root := range [][]any{file(""), file("x"), program("12345678"), link("x"), dir()} {
		b := archive(nar.Magic, root)
		if err := readAll(bytes.NewReader(b)); err != nil {
			t.Errorf("%v: %v", root, err)
		}
	}
}

// A Reader consumes nothing after the archive from a wire.Reader.
func TestReaderStopsAtTheEnd(t *testing.T) {
	for name, read := range map[string]func(io.Reader) error{"with contents": readAll, "without": skim, "copying": func(src io.Reader) error {
		_, err := nar.Copy(io.Discard, src)
		return err
	}} {
		stream := wire.AppendUint64(append(wire.AppendUint64(nil, 1), sample...), 2)
		src := wire.NewReader(iotest.HalfReader(bytes.NewReader(stream)), 0)
		before, err1 := src.Uint64()
		err2 := read(src)
		after, err3 := src.Uint64()
		if err := errors.Join(err1, err2, err3); err != nil || before != 1 || after != 2 {
			t.Errorf("%s: %v, the numbers around the archive are %d and %d, want 1 and 2", name, err, before, after)
		}
	}
	// Offsets are relative to the start of the archive.
	src := wire.NewReader(bytes.NewReader(append(make([]byte, 8), archive(nar.Magic, "[")...)), 0)
	src.Uint64()
	checkError(t, "an archive within a stream", skim(src), 24, "expected '('")
}

// A Reader does not wait for bytes after the archive.
func TestReaderNeedsNoMore(t *testing.T) {
	src, w := io.Pipe()
	defer src.Close()
	go w.Write(sample)
	if err := readAll(src); err != nil {
		t.Error(err)
	}
}

func TestReaderAfterBreak(t *testing.T) {
	testenv.NoLeak(t)
	r := nar.NewReader(bytes.NewReader(sample))
	for e := range r.All() {
		if e.Name == "hello" {
			r.Read(make([]byte, 3))
			break
		}
	}
	var rest []string
	for e, err := range r.All() {
		if err != nil {
			t.Fatal(err)
		}
		rest = append(rest, e.Name)
	}
	if len(rest) != 6 || rest[0] != "hello2" {
		t.Errorf("the second loop continues with %q", rest)
	}
}

// invalidArchives are archives with one error each.
var invalidArchives = []struct {
	what   string
	bytes  []byte
	offset int64
	reason string
}{
	{"something else", []byte(strings.Repeat("hello, world ", 9)), 0, "not a Nix archive"},
	{"another version", archive("nix-archive-2"), 0, "not a Nix archive"},
	{"no parenthesis", archive(nar.Magic, "type"), 24, `expected '(', got "type"`},
	{"no type", archive(nar.Magic, "(", "typo"), 40, `expected 'type', got "typo"`},
	{"an unknown type", archive(nar.Magic, "(", "type", "socket"), 56, `got "socket"`},
	{"a long tag", archive(nar.Magic, "(", "type", strings.Repeat("x", 33)), 56, "limit of 32"},
	{"an executable with a value", archive(nar.Magic, "(", "type", "regular", "executable", "1"), 96, "executable marker"},
	{"executable twice", archive(nar.Magic, "(", "type", "regular", "executable", "", "executable", ""), 104, "expected 'contents'"},
	{"bytes after a file", archive(nar.Magic, "(", "type", "regular", "contents", "x", "x"), 104, `expected ')', got "x"`},
	{"a file without contents", archive(nar.Magic, "(", "type", "regular", ")"), 72, "expected 'contents' or 'executable'"},
	{"no target", archive(nar.Magic, "(", "type", "symlink", ")"), 72, "expected 'target'"},
	{"an empty target", archive(nar.Magic, link("")), 88, "is empty"},
	{"a target of 4096 bytes", archive(nar.Magic, link(strings.Repeat("x", 4096))), 88, "limit of 4095"},
	{"NUL in a target", archive(nar.Magic, link("a\x00b")), 88, "NUL"},
	{"no entry", archive(nar.Magic, "(", "type", "directory", "node"), 80, "expected 'entry' or ')'"},
	{"no node", archive(nar.Magic, "(", "type", "directory", "entry", "(", "name", "x", "type"), 144, "expected 'node'"},
	{"an empty name", archive(nar.Magic, dir(in("", file("")...))), 128, "is empty"},
	{"a dot", archive(nar.Magic, dir(in(".", file("")...))), 128, "not allowed"},
	{"two dots", archive(nar.Magic, dir(in("..", file("")...))), 128, "not allowed"},
	{"a slash", archive(nar.Magic, dir(in("a/b", file("")...))), 128, "slash"},
	{"an absolute name", archive(nar.Magic, dir(in("/etc", file("")...))), 128, "slash"},
	{"NUL in a name", archive(nar.Magic, dir(in("a\x00", file("")...))), 128, "NUL"},
	{"a name of 256 bytes", archive(nar.Magic, dir(in(strings.Repeat("x", 256), file("")...))), 128, "limit of 255"},
	{"a name twice", archive(nar.Magic, dir(in("x", link("y")...), in("x", file("")...))), 320, "twice"},
	{"names not in order", archive(nar.Magic, dir(in("x", link("y")...), in("a", file("")...))), 320, "not sorted"},
	{"order by characters", archive(nar.Magic, dir(in("\xff", link("y")...), in("z", file("")...))), 320, "not sorted"},
	{"too deep", depth(64), -1, "nested more than 64"},
}

func TestReaderRejectsInvalid(t *testing.T) {
	for _, c := range invalidArchives {
		checkError(t, c.what, readAll(bytes.NewReader(c.bytes)), c.offset, c.reason)
		if _, err := listByWriting(c.bytes, 7); err == nil {
			t.Errorf("%s: the Lister accepts it", c.what)
		} else if readErr := skim(bytes.NewReader(c.bytes)); !sameError(err, readErr) {
			t.Errorf("%s: the Lister returns %v, the Reader %v", c.what, err, readErr)
		}
		if _, ok := parse(c.bytes); ok {
			t.Errorf("%s: the naive parser accepts it", c.what)
		}
	}
}

func TestLimits(t *testing.T) {
	for what, b := range map[string][]byte{
		"64 nodes deep":                   depth(63),
		"a name of 255 bytes":             archive(nar.Magic, dir(in(strings.Repeat("x", 255), file("")...))),
		"a target of 4095 bytes":          archive(nar.Magic, link(strings.Repeat("x", 4095))),
		"names that only look suspicious": archive(nar.Magic, dir(in(" ", file("")...), in("...", file("")...), in("\\", file("")...))),
	} {
		if err := readAll(bytes.NewReader(b)); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// A truncated archive is an error, at whichever byte it ends.
func TestTruncated(t *testing.T) {
	for n := range sample {
		short := sample[:n]
		for what, err := range map[string]error{
			"reading":  readAll(bytes.NewReader(short)),
			"skimming": skim(iotest.OneByteReader(bytes.NewReader(short))),
			"listing":  second(listByWriting(short, 100)),
			"indexing": second(nar.Index(bytes.NewReader(short), int64(n))),
			"copying":  second(nar.Copy(io.Discard, bytes.NewReader(short))),
		} {
			if !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("%s %d of %d bytes: %v", what, n, len(sample), err)
			}
			if what != "indexing" { // which skips contents, so it finds the end later
				checkError(t, what, err, int64(n), "too early")
			}
		}
	}
}

func second[T any](_ T, err error) error { return err }

// An announced length is not allocated before the bytes arrive.
func TestLengthIsNotAllocated(t *testing.T) {
	b := archive(nar.Magic, "(", "type", "regular", "contents", uint64(1<<61), "short")
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for _, err := range []error{readAll(bytes.NewReader(b)), skim(bytes.NewReader(b)), second(listByWriting(b, 10)), second(nar.Index(bytes.NewReader(b), int64(len(b))))} {
		if !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%v, want an unexpected EOF", err)
		}
	}
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; got > 1<<20 {
		t.Errorf("%d bytes were allocated", got)
	}
}

func TestAbsurdSizes(t *testing.T) {
	for _, size := range []uint64{1 << 62, 1 << 63, ^uint64(0) - 7, ^uint64(0)} {
		for _, executable := range [][]any{{}, {"executable", ""}} {
			b := archive(nar.Magic, "(", "type", "regular", executable, "contents", size, ")")
			for what, err := range map[string]error{
				"reading":   readAll(bytes.NewReader(b)),
				"skimming":  skim(bytes.NewReader(b)),
				"listing":   second(listByWriting(b, 10)),
				"indexing":  second(nar.Index(bytes.NewReader(b), int64(len(b)))),
				"copying":   second(nar.Copy(io.Discard, bytes.NewReader(b))),
				"restoring": nar.Restore(t.Context(), openRoot(t, t.TempDir()), "x", bytes.NewReader(b), nil),
			} {
				if !errors.Is(err, io.ErrUnexpectedEOF) {
					t.Errorf("%s a size of %d: %v", what, size, err)
				}
			}
		}
	}
}

func TestReadErrorOfTheSource(t *testing.T) {
	boom := errors.New("boom")
	for n := 0; n < len(sample); n += 50 {
		err := readAll(io.MultiReader(bytes.NewReader(sample[:n]), iotest.ErrReader(boom)))
		if !errors.Is(err, boom) {
			t.Errorf("after %d bytes: %v, want %v", n, err, boom)
		}
		if strings.Contains(err.Error(), "bad archive") { // the source failed, not the archive
			t.Errorf("after %d bytes: %v", n, err)
		}
	}
}

// From a source that can seek, contents are skipped. The entries are the same as without.
func TestReaderSkips(t *testing.T) {
	b := archive(nar.Magic, dir(in("a", file(strings.Repeat("x", 100_000))...), in("b", link("a")...), in("c", file(strings.Repeat("y", 100_001))...)))
	path := filepath.Join(t.TempDir(), "nar")
	padded := append(append(make([]byte, 100), b...), "more"...)
	if err := os.WriteFile(path, padded, 0o666); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	section := &countingReaderAt{ReaderAt: bytes.NewReader(padded)}
	for what, src := range map[string]io.ReadSeeker{
		"a file": f, "bytes": bytes.NewReader(padded), "a string": strings.NewReader(string(padded)), "a section": io.NewSectionReader(section, 0, int64(len(padded))),
	} {
		src.Seek(100, io.SeekStart)
		r := nar.NewReader(src)
		var got []string
		for e, err := range r.All() {
			if err != nil {
				t.Errorf("%s: %v", what, err)
			}
			got = append(got, fmt.Sprint(e.Name, e.Size))
			if e.Name == "c" { // the rest is skipped after a part was read
				r.Read(make([]byte, 10))
			}
		}
		if want := []string{"0", "a100000", "b0", "c100001"}; strings.Join(got, " ") != strings.Join(want, " ") || r.Offset() != int64(len(b)) {
			t.Errorf("%s: %q up to %d, want %q up to %d", what, got, r.Offset(), want, len(b))
		}
	}
	if section.n > 40_000 {
		t.Errorf("%d bytes were read of an archive that consists mostly of contents", section.n)
	}
	for n := 1; n < len(b); n += 7919 { // cut off in the middle of contents
		for what, src := range map[string]io.Reader{"bytes": bytes.NewReader(b[:n]), "a string": strings.NewReader(string(b[:n]))} {
			if err := skim(src); !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("%s of %d bytes: %v", what, n, err)
			}
		}
	}
}

// A pipe is an *os.File that cannot seek.
func TestReaderOfPipe(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	go func() {
		w.Write(sample)
		w.Close()
	}()
	if err := skim(r); err != nil {
		t.Error(err)
	}
}

// A file may grow while it is read.
func TestReaderOfGrowingFile(t *testing.T) {
	b := archive(nar.Magic, file(strings.Repeat("x", 100_000)))
	path := filepath.Join(t.TempDir(), "nar")
	if err := os.WriteFile(path, b[:20_000], 0o666); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r := nar.NewReader(f)
	if _, err := r.Next(); err != nil {
		t.Fatal(err)
	}
	f.WriteAt(b[20_000:], 20_000)
	if _, err := r.Next(); err != io.EOF || r.Offset() != int64(len(b)) {
		t.Errorf("%v at %d, want io.EOF at %d", err, r.Offset(), len(b))
	}
}

// entries returns an archive of a directory of n empty files.
func entries(n int) io.Reader {
	r, w := io.Pipe()
	go func() {
		a := nar.NewWriter(w)
		a.WriteEntry(nar.Entry{Kind: nar.Directory})
		for i := range n {
			if a.WriteEntry(nar.Entry{Kind: nar.Regular, Depth: 1, Name: fmt.Sprintf("%08d", i)}) != nil {
				break
			}
		}
		w.CloseWithError(a.Close())
	}()
	return r
}

// The memory does not grow with the number of entries.
func TestMillionEntries(t *testing.T) {
	n := 1_000_000
	if testing.Short() {
		n = 50_000
	}
	r := nar.NewReader(entries(n))
	var peak runtime.MemStats
	count := -1
	for _, err := range r.All() {
		if err != nil {
			t.Fatal(err)
		}
		if count++; count%200_000 == 0 {
			runtime.GC()
			runtime.ReadMemStats(&peak)
			if peak.HeapAlloc > 20<<20 {
				t.Fatalf("%d bytes are in use after %d entries", peak.HeapAlloc, count)
			}
		}
	}
	if count != n {
		t.Errorf("%d entries, want %d", count, n)
	}
}

// Reading an entry allocates only its name.
func TestSkimmingAllocates(t *testing.T) {
	var b bytes.Buffer
	const files = 1000
	io.Copy(&b, entries(files))
	src := bytes.NewReader(nil)
	buffered := wire.NewReader(src, 64<<10)
	allocs := testing.AllocsPerRun(5, func() {
		src.Reset(b.Bytes())
		buffered.Reset(src)
		if err := skim(buffered); err != nil {
			t.Fatal(err)
		}
	})
	if allocs > files+10 {
		t.Errorf("%v allocations for %d files", allocs, files)
	}
}

// golden has the expected errors for the data of Nix's own test
// (src/libutil-tests/archive.cc); "" means valid.
var golden = map[string]string{
	"dot.nar":                               `the name "." is not allowed`,
	"dotdot.nar":                            `the name ".." is not allowed`,
	"empty.nar":                             `the name "" is empty`,
	"slash.nar":                             `the name "x/y" contains a slash`,
	"nul-character.nar":                     `contains a NUL`,
	"executable-after-contents.nar":         `expected ')', got "executable"`,
	"invalid-tag-instead-of-contents.nar":   `got "AAAAAAAA"`,
	"name-after-node.nar":                   `expected 'name'`,
	"regular-one-byte-non-zero-padding.nar": `padding byte`,
	"regular-truncated-large-contents.nar":  `too early`,
	"regular-truncated-padding.nar":         `too early`,
	"regular-one-byte-zero-padding.nar":     ``,
}

func TestGolden(t *testing.T) {
	folder := testenv.NixData(t, "util/nars")
	files, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < len(golden) {
		t.Errorf("%d files, want at least %d", len(files), len(golden))
	}
	for _, f := range files {
		reason, ok := golden[f.Name()]
		if !ok {
			t.Errorf("unknown file %s", f.Name())
			continue
		}
		b, err := os.ReadFile(filepath.Join(folder, f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		for what, err := range map[string]error{
			"reading":  readAll(bytes.NewReader(b)),
			"skimming": skim(bytes.NewReader(b)),
			"listing":  second(listByWriting(b, 3)),
			"copying":  second(nar.Copy(io.Discard, bytes.NewReader(b))),
		} {
			if reason == "" && err != nil {
				t.Errorf("%s %s: %v", what, f.Name(), err)
			} else if reason != "" {
				checkError(t, what+" "+f.Name(), err, -1, reason)
			}
		}
	}
}
