package nar_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"reflect"
	"testing"
	"testing/iotest"

	"pix/nar"
	"pix/wire"
)

// All ways to read the same bytes agree on whether they are an archive, and on the contents.
// Writing the entries again results in the same bytes.
func FuzzReader(f *testing.F) {
	f.Add(sample)
	f.Add(depth(3))
	for _, c := range invalidArchives {
		if len(c.bytes) < 2000 {
			f.Add(c.bytes)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		end, ok := parse(b)

		var copied bytes.Buffer
		n, err := nar.Copy(&copied, bytes.NewReader(b))
		if (err == nil) != ok || ok && n != int64(end) {
			t.Fatalf("Copy: %d, %v; the naive parser: %d, %v", n, err, end, ok)
		}
		if !bytes.HasPrefix(b, copied.Bytes()) || ok && copied.Len() != end {
			t.Fatalf("the copy differs from the input:\n%q\n%q", copied.Bytes(), b)
		}
		var bad *nar.Error
		if err != nil && (!errors.As(err, &bad) || bad.Offset < 0 || bad.Offset > int64(len(b))) {
			t.Fatalf("%v has no offset within %d bytes", err, len(b))
		}
		for what, other := range map[string]error{
			"in memory":    readAll(bytes.NewReader(b)),
			"byte by byte": readAll(iotest.OneByteReader(bytes.NewReader(b))),
			"small buffer": readAll(wire.NewReader(bytes.NewReader(b), 0)),
		} {
			if !sameError(other, err) {
				t.Fatalf("%s: %v, but: %v", what, other, err)
			}
		}
		raw, other := io.ReadAll(nar.NewRawReader(bytes.NewReader(b)))
		if !sameError(other, err) || !bytes.HasPrefix(b, raw) || ok && len(raw) != end {
			t.Fatalf("raw: %d bytes, %v, but: %v", len(raw), other, err)
		}
		if other := skim(bytes.NewReader(b)); (other == nil) != ok {
			t.Fatalf("skimming: %v, but: %v", other, err)
		}
		fuzzListings(t, b, end, ok)
	})
}

func fuzzListings(t *testing.T, b []byte, end int, ok bool) {
	if ok {
		b = b[:end]
	}
	want, err := nar.ReadListing(bytes.NewReader(b))
	written, errWritten := listByWriting(b, 13)
	indexed, errIndexed := nar.Index(bytes.NewReader(b), int64(len(b)))
	if (err == nil) != ok || (errWritten == nil) != ok || (errIndexed == nil) != ok {
		t.Fatalf("listings: %v, %v, %v, want %v", err, errWritten, errIndexed, ok)
	}
	if !reflect.DeepEqual(want, written) || !reflect.DeepEqual(want, indexed) {
		t.Fatalf("listings differ: %+v, %+v, %+v", want, written, indexed)
	}
	if !ok {
		return
	}
	r := nar.NewReader(bytes.NewReader(b))
	fsys := nar.NewFS(bytes.NewReader(b), want)
	for e, err := range r.All() {
		if err != nil {
			t.Fatal(err)
		}
		if e.Kind != nar.Regular {
			continue
		}
		streamed, err1 := io.ReadAll(r)
		random, err2 := io.ReadAll(fsys.Contents(want.Lookup(r.Path())))
		if err := errors.Join(err1, err2); err != nil || !bytes.Equal(streamed, random) {
			t.Fatalf("%q: %q and %q, %v", r.Path(), streamed, random, err)
		}
	}
}

// Reading a printed listing again results in the same listing.
func FuzzListing(f *testing.F) {
	for _, s := range []string{
		`{"root":{"type":"regular","size":1,"narOffset":8,"executable":true},"version":1}`,
		`{"version":1,"root":{"type":"directory","entries":{"a":{"type":"symlink","target":"\u0001/\\"},"b":{"type":"directory","entries":{}}}}}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := nar.ParseLS(b)
		if err != nil {
			return
		}
		printed, err := nar.MarshalLS(l)
		if err != nil || !json.Valid(printed) {
			t.Fatalf("%q prints as %q, %v", b, printed, err)
		}
		again, err := nar.ParseLS(printed)
		if err != nil || !reflect.DeepEqual(again, l) {
			t.Fatalf("%q prints as %q, which parses as %+v, %v", b, printed, again, err)
		}
	})
}
