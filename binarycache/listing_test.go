package binarycache_test

import (
	"errors"
	"io/fs"
	"net/http"
	"strings"
	"testing"

	"pix/binarycache"
	"pix/nar"
	"pix/store"
	"pix/storepath"
)

// listing is the listing of an object with one file.
const listing = `{"root":{"entries":{"file":{"narOffset":240,"size":5,"type":"regular"}},"type":"directory"},"version":1}`

func TestListing(t *testing.T) {
	f := newFake()
	n := f.put(t, "object", "none", 1000)
	c := f.open(t, binarycache.HTTPOptions{})
	ls := n.Path.HashPart() + ".ls"
	if _, err := c.Listing(t.Context(), n.Path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without a listing: %v", err)
	}
	f.files[ls] = listing
	l, err := c.Listing(t.Context(), n.Path)
	if err != nil || l.Lookup("file").Size != 5 {
		t.Errorf("%v, %v", l, err)
	}
	other, err := storepath.DefaultDir.Parse("/nix/store/" + n.Path.HashPart() + "-other")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Listing(t.Context(), other); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("another path: %v", err)
	}
	if f.requests("nar/") > 0 {
		t.Error("the archive was fetched")
	}
}

// An invalid listing is an error, which comes soon and costs little memory.
func TestHostileListings(t *testing.T) {
	nested := func(depth int) string {
		const before, after = `{"entries":{"d":`, `},"type":"directory"}`
		return `{"root":` + strings.Repeat(before, depth) + `{"entries":{},"type":"directory"}` + strings.Repeat(after, depth) + `,"version":1}`
	}
	named := func(name string) string { return strings.Replace(listing, "file", name, 1) }
	for what, text := range map[string]string{
		"nothing":           "",
		"no object":         "null",
		"no root":           `{"version":1}`,
		"another version":   strings.Replace(listing, `"version":1`, `"version":2`, 1),
		"deeper than any":   nested(nar.MaxDepth),
		"deeper than JSON":  nested(20_000),
		"half":              listing[:50],
		"more":              listing + "x",
		"parent":            named(".."),
		"slash":             named("a/b"),
		"NUL":               named(`\u0000`),
		"no name":           named(""),
		"long name":         named(strings.Repeat("n", 256)),
		"negative size":     strings.Replace(listing, "5", "-5", 1),
		"beyond all files":  strings.Replace(listing, "240", "9223372036854775807", 1),
		"longer than it is": listing + strings.Repeat(" ", 2<<20),
	} {
		f := newFake()
		n := f.put(t, "object", "none", 1<<20)
		f.files[n.Path.HashPart()+".ls"] = text
		if l, err := f.open(t, binarycache.HTTPOptions{}).Listing(t.Context(), n.Path); err == nil {
			t.Errorf("%s: parsed as %+v", what, l)
		}
	}
}

// A listing must not be longer than the archive, even if it is small when compressed.
func TestListingBomb(t *testing.T) {
	f := newFake()
	n := f.put(t, "object", "none", 1000)
	n.NARSize = 1 << 40 // as declared by the cache
	f.putNarInfo(t, n)
	bomb := gzipZeros(1 << 10)
	f.hook = func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, ".ls") {
			return false
		}
		encoded(w, "gzip", bomb)
		return true
	}
	c := f.open(t, binarycache.HTTPOptions{})
	before := allocated()
	_, err := c.Listing(t.Context(), n.Path)
	if err == nil || !strings.Contains(err.Error(), "too long") {
		t.Errorf("%v", err)
	}
	if took := allocated() - before; took > 128<<20 {
		t.Errorf("%d bytes were allocated", took)
	}
}
