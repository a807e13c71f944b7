package nar_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"pix/internal/testenv"
	"pix/nar"
)

func ExampleListing() {
	listing, err := nar.ReadListing(bytes.NewReader(sample))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(listing.Lookup("bin/hello").Size)
	ls, _ := listing.Lookup("bin/hello").MarshalJSON()
	fmt.Printf("%s\n", ls)
	// Output:
	// 21
	// {"executable":true,"narOffset":400,"size":21,"type":"regular"}
}

func ExampleLister() {
	// Keep a stream, list it and compute its size in one pass.
	var kept bytes.Buffer
	lister := nar.NewLister()
	n, _ := io.Copy(io.MultiWriter(&kept, lister), bytes.NewReader(sample))
	listing, err := lister.Listing()
	fmt.Println(n, len(listing.Entries), err)
	// Output: 2640 5 <nil>
}

// ReadListing, Index and a Lister return the same listing.
func TestListings(t *testing.T) {
	for _, b := range [][]byte{sample, archive(nar.Magic, file("x")), archive(nar.Magic, link("x")), archive(nar.Magic, dir()), depth(63)} {
		want, err := nar.ReadListing(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := nar.Index(bytes.NewReader(b), int64(len(b))); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("Index: %+v, %v, want %+v", got, err, want)
		}
		for size := 1; size < 100; size++ {
			if got, err := listByWriting(b, size); err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("Lister, %d bytes at a time: %+v, %v, want %+v", size, got, err, want)
			}
		}
	}
}

// Index does not read contents.
func TestIndexSkipsContents(t *testing.T) {
	b := archive(nar.Magic, in2("a", "b"))
	large := archive(nar.Magic, dir(in("large", file(strings.Repeat("x", 10<<20))...)))
	for _, c := range []struct {
		bytes []byte
		most  int
	}{{b, len(b)}, {large, 40 << 10}} {
		src := &countingReaderAt{ReaderAt: bytes.NewReader(c.bytes)}
		if _, err := nar.Index(src, int64(len(c.bytes))); err != nil || src.n > c.most {
			t.Errorf("%d of %d bytes were read, %v", src.n, len(c.bytes), err)
		}
	}
}

type countingReaderAt struct {
	io.ReaderAt
	n int
}

func (c *countingReaderAt) ReadAt(p []byte, off int64) (int, error) {
	n, err := c.ReaderAt.ReadAt(p, off)
	c.n += n
	return n, err
}

func TestListersRejectTrailingBytes(t *testing.T) {
	b := append(bytes.Clone(sample), 0)
	_, err := nar.Index(bytes.NewReader(b), int64(len(b)))
	checkError(t, "Index", err, int64(len(sample)), "after the end")
	_, err = listByWriting(b, 100)
	checkError(t, "Lister", err, int64(len(sample)), "after the end")
	l := nar.NewLister()
	_, err = l.Listing()
	checkError(t, "a Lister without input", err, 0, "too early")
}

func TestListingLookup(t *testing.T) {
	l, err := nar.ReadListing(bytes.NewReader(sample))
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{"": "", ".": "", "bin": "bin", "/bin/": "bin", "bin//hello": "hello", "bin/\xff\xfe": "\xff\xfe"} {
		if got := l.Lookup(path); got == nil || got.Name != want {
			t.Errorf("Lookup(%q) = %+v, want %q", path, got, want)
		}
	}
	for _, path := range []string{"x", "bin/x", "bin/hello/x", "bin/hello2/x", "..", "bin/.."} {
		if got := l.Lookup(path); got != nil {
			t.Errorf("Lookup(%q) = %+v, want nothing", path, got)
		}
	}
	var all []string
	for path, node := range l.All() {
		if all = append(all, path); node.Kind == nar.Symlink {
			break
		}
	}
	if want := ",bin,bin/hello,bin/hello2"; strings.Join(all, ",") != want {
		t.Errorf("All visited %q, want %q", all, want)
	}
}

// Nix 2.34's `nix nar ls --json -R` prints the same bytes for the same archive.
func TestListingJSON(t *testing.T) {
	b := archive(nar.Magic, dir(
		in("\x01\x1f\x7f\b\f\n\r\t\"\\<>&\u2028", file("")...),
		in("d", dir(in("e", dir()...), in("l", link("\"<")...), in("p", program("x")...))...),
	))
	l, err := nar.ReadListing(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	const name = `"\u0001\u001f` + "\x7f" + `\b\f\n\r\t\"\\<>&` + "\u2028" + `"`
	const deep = `{"entries":{` + name + `:{"narOffset":240,"size":0,"type":"regular"},"d":{"entries":{"e":{"entries":{},"type":"directory"},"l":{"target":"\"<","type":"symlink"},"p":{"executable":true,"narOffset":952,"size":1,"type":"regular"}},"type":"directory"}},"type":"directory"}`
	got, err := l.MarshalJSON()
	if err != nil || string(got) != deep {
		t.Errorf("got  %s, %v\nwant %s", got, err, deep)
	}
	shallow, err := l.MarshalShallowJSON()
	if want := `{"entries":{` + name + `:{},"d":{}},"type":"directory"}`; err != nil || string(shallow) != want {
		t.Errorf("got  %s, %v\nwant %s", shallow, err, want)
	}
	var again nar.Listing
	if err := json.Unmarshal(got, &again); err != nil || !reflect.DeepEqual(&again, l) {
		t.Errorf("parsed again: %+v, %v, want %+v", again, err, l)
	}
	ls, err := nar.MarshalLS(l)
	if want := `{"root":` + deep + `,"version":1}`; err != nil || string(ls) != want {
		t.Errorf("got  %s, %v\nwant %s", ls, err, want)
	}
	if again, err := nar.ParseLS(ls); err != nil || !reflect.DeepEqual(again, l) {
		t.Errorf("parsed again: %+v, %v, want %+v", again, err, l)
	}
	if _, err := (&nar.Listing{Name: "\xff"}).MarshalJSON(); err == nil {
		t.Error("a listing without a kind was printed")
	}
	notUTF8, _ := nar.ReadListing(bytes.NewReader(sample))
	if _, err := notUTF8.MarshalJSON(); err == nil || !strings.Contains(err.Error(), `\xff\xfe`) {
		t.Errorf("a name that is not UTF-8: %v", err)
	}
}

func TestListingRejectsInvalidJSON(t *testing.T) {
	deep := `{"type":"regular","size":1}`
	for range nar.MaxDepth {
		deep = `{"type":"directory","entries":{"d":` + deep + `}}`
	}
	for _, s := range []string{
		``, `{`, `[]`, `"x"`, `{}`, `{"type":"socket"}`, `{"type":1}`,
		`{"type":"regular"}`, `{"type":"regular","size":-1}`, `{"type":"regular","size":1.5}`, `{"type":"regular","size":"1"}`,
		`{"type":"regular","size":1,"narOffset":-1}`, `{"type":"regular","size":9223372036854775807,"narOffset":1}`,
		`{"type":"regular","size":18446744073709551616}`, `{"type":"regular","size":1,"target":"x"}`,
		`{"type":"symlink"}`, `{"type":"symlink","target":""}`, `{"type":"symlink","target":"a\u0000b"}`,
		`{"type":"directory"}`, `{"type":"directory","entries":[]}`, `{"type":"directory","entries":{"x":null}}`, `{"type":"directory","entries":{"x":{}}}`,
		`{"type":"directory","entries":{"..":{"type":"regular","size":1}}}`, `{"type":"directory","entries":{"a/b":{"type":"regular","size":1}}}`,
		`{"type":"directory","entries":{"":{"type":"regular","size":1}}}`, "{\"type\":\"symlink\",\"target\":\"\xff\"}",
		deep, strings.Repeat(`{"type":"directory","entries":{"x":`, 100_000),
		// Keys are case-sensitive and must not occur twice.
		`{"Type":"regular","size":1}`, `{"type":"regular","Size":1}`, `{"type":"regular","SIZE":1}`, `{"type":"symlink","Target":"x"}`, `{"type":"directory","Entries":{}}`,
		`{"type":"regular","size":1,"size":1}`, `{"type":"regular","size":1,"type":"regular"}`, `{"type":"regular","size":1,"\u0073ize":2}`,
		`{"type":"directory","entries":{},"entries":{}}`, `{"type":"directory","entries":{"a":{"type":"regular","size":1},"a":{"type":"regular","size":2}}}`,
		`{"type":"regular","size":null}`, `{"type":"regular","size":1,"executable":null}`,
	} {
		var l nar.Listing
		if err := json.Unmarshal([]byte(s), &l); err == nil {
			t.Errorf("%.80s was parsed as %+v", s, l)
		} else if len(err.Error()) > 1000 {
			t.Errorf("%.80s: the error has %d bytes", s, len(err.Error()))
		}
		if _, err := nar.ParseLS([]byte(`{"version":1,"root":` + s + `}`)); err == nil {
			t.Errorf("%.80s was parsed as a root", s)
		}
	}
	for _, s := range []string{`{}`, `{"version":1}`, `{"root":{"type":"regular","size":1}}`, `{"version":2,"root":{"type":"regular","size":1}}`, `{"version":1,"root":null}`,
		`{"Version":1,"root":{"type":"regular","size":1}}`, `{"version":1,"Root":{"type":"regular","size":1}}`, `{"version":1,"version":1,"root":{"type":"regular","size":1}}`,
		`{"version":1,"root":{"type":"regular","size":1},"root":{"type":"regular","size":2}}`} {
		if l, err := nar.ParseLS([]byte(s)); err == nil {
			t.Errorf("%s was parsed as %+v", s, l)
		}
	}
}

// Nix's own listings are parsed and print as the same JSON, except for "executable":false,
// which Nix 2.34 does not print.
func TestGoldenListings(t *testing.T) {
	folder := testenv.NixData(t, "util/nar-listing")
	files, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		b, err := os.ReadFile(filepath.Join(folder, f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		want := strings.ReplaceAll(strings.Join(strings.Fields(string(b)), ""), `"executable":false,`, "")
		deep, err := os.ReadFile(filepath.Join(folder, "deep.json"))
		if err != nil {
			t.Fatal(err)
		}
		var l nar.Listing
		if err := json.Unmarshal(deep, &l); err != nil {
			t.Fatal(err)
		}
		var got []byte
		switch f.Name() {
		case "deep.json":
			got, err = l.MarshalJSON()
		case "shallow.json": // of the same directory
			got, err = l.MarshalShallowJSON()
		default:
			t.Errorf("unknown file %s", f.Name())
			continue
		}
		if err != nil || string(got) != want {
			t.Errorf("%s: got %s, %v, want %s", f.Name(), got, err, want)
		}
	}
}
