package store_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"pix/nar"
	"pix/nixhash"
	"pix/store"
	"pix/store/memstore"
	"pix/storepath"
	"pix/wire"
)

// exported returns the export of paths.
func exported(t testing.TB, s store.Store, paths ...storepath.Path) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := store.ExportPaths(t.Context(), &b, s, paths); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

var unsigned = &store.AddOptions{NoSignatures: true}

// An export can be imported: with derivers, self-references, and objects that are not kept in
// memory.
func TestExport(t *testing.T) {
	src := memstore.New(nil)
	paths := append(chain(t, src, 5, 100), chain(t, src, 2, 3<<20)...)
	own := addOwn(t, src, paths[0])
	stream := exported(t, src, append(paths, own, own)...)
	dst := memstore.New(nil)
	got, err := store.ImportPaths(t.Context(), dst, iotest.HalfReader(bytes.NewReader(stream)), unsigned)
	if err != nil || len(got) != len(paths)+1 {
		t.Fatalf("%q, %v", got, err)
	}
	for _, p := range got {
		want, err := src.QueryPathInfo(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		info, err := dst.QueryPathInfo(t.Context(), p)
		if err != nil || info.NARHash != want.NARHash || info.NARSize != want.NARSize || info.Deriver != want.Deriver || !slices.Equal(info.References, want.References) {
			t.Errorf("%+v is imported as %+v, %v", want, info, err)
		}
	}
	if again := exported(t, dst, got...); !bytes.Equal(again, stream) {
		t.Error("the second export differs")
	}
	if b := exported(t, src); len(b) != 8 || b[0] != 0 {
		t.Errorf("an export of no paths is %q", b)
	}
}

// addOwn adds an object with a deriver that refers to itself and to another.
func addOwn(t *testing.T, s *memstore.Store, ref storepath.Path) storepath.Path {
	t.Helper()
	archive, info := fileNAR(t, "own")
	info.Path, info.Deriver = "/nix/store/g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-own", "/nix/store/h1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-own.drv"
	info.References = []storepath.Path{ref, info.Path}
	slices.Sort(info.References)
	if err := s.AddToStoreNAR(t.Context(), info, bytes.NewReader(archive), unsigned); err != nil {
		t.Fatal(err)
	}
	return info.Path
}

// fileNAR returns the archive of a regular file, and its info.
func fileNAR(t testing.TB, contents string) ([]byte, *store.PathInfo) {
	t.Helper()
	var b bytes.Buffer
	w := nar.NewWriter(&b)
	if err := w.WriteEntry(nar.Entry{Kind: nar.Regular, Size: uint64(len(contents))}); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(w, contents); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	h := nar.NewHasher(nixhash.SHA256)
	h.Write(b.Bytes())
	return b.Bytes(), &store.PathInfo{NARHash: h.Hash(), NARSize: h.Size()}
}

// The error about an invalid export has its offset. Like Nix, an import ignores the data of old
// versions after the deriver.
func TestImportMalformed(t *testing.T) {
	src := memstore.New(nil)
	paths := chain(t, src, 2, 1)
	stream := exported(t, src, paths...)
	for n := range stream {
		if _, err := store.ImportPaths(t.Context(), memstore.New(nil), bytes.NewReader(stream[:n]), unsigned); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("%d bytes: %v", n, err)
		}
	}
	magic := bytes.Index(stream, binary.LittleEndian.AppendUint64(nil, 0x4558494e))
	with := func(at int, b ...byte) []byte {
		return append(append(slices.Clone(stream[:at]), b...), stream[at+len(b):]...)
	}
	path := magic + 8
	list := path + 8 + len(wire.AppendString(nil, paths[0])) - 8
	for name, c := range map[string]struct {
		stream []byte
		want   string
	}{
		"no export":           {[]byte("\x0d\x00\x00\x00\x00\x00\x00\x00nix-archive-1"), "offset 0: it is not the output of nix-store --export"},
		"no archive":          {with(16, 'x'), "nix-archive-1"},
		"no magic":            {with(magic, 0), fmt.Sprintf("offset %d: no path follows the archive", magic)},
		"a foreign path":      {with(path+8, []byte("/gnu/store")...), fmt.Sprintf("offset %d: a store path", path)},
		"a long path":         {with(path, 0xff, 0xff, 0xff), "more than the limit"},
		"too many references": {with(list, 0xff, 0xff, 0xff, 0xff), "the number of references"},
	} {
		t.Run(name, func(t *testing.T) {
			paths, err := store.ImportPaths(t.Context(), memstore.New(nil), bytes.NewReader(c.stream), unsigned)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%q, %v", paths, err)
			}
		})
	}

	one := exported(t, src, paths[0])
	signed := append(slices.Clone(one[:len(one)-16]), 1, 0, 0, 0, 0, 0, 0, 0)
	signed = wire.AppendUint64(wire.AppendString(signed, "a signature"), 0)
	if got, err := store.ImportPaths(t.Context(), memstore.New(nil), bytes.NewReader(signed), unsigned); err != nil || len(got) != 1 {
		t.Errorf("signed: %q, %v", got, err)
	}
}

// All exports of a concatenation are imported, also empty ones. Other bytes after an export are an error.
func TestImportConcatenated(t *testing.T) {
	src := memstore.New(nil)
	first := chain(t, src, 1, 1)[0]
	second := addOwn(t, src, first)
	empty := make([]byte, 8)
	both := slices.Concat(exported(t, src, first), empty, exported(t, src, second), empty)
	got, err := store.ImportPaths(t.Context(), memstore.New(nil), iotest.OneByteReader(bytes.NewReader(both)), unsigned)
	if want := []storepath.Path{first, second}; !slices.Equal(got, want) || err != nil {
		t.Errorf("ImportPaths: %q, %v, want %q", got, err, want)
	}
	for name, rest := range map[string][]byte{"other bytes": []byte("8 bytes!"), "a part of a word": {0, 0}, "a part of an export": both[:100]} {
		dst := memstore.New(nil)
		if got, err := store.ImportPaths(t.Context(), dst, bytes.NewReader(slices.Concat(both, rest)), unsigned); err == nil || len(got) != 2 {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

// An export of an untrusted importer is refused. Objects before an error stay.
func TestImportUntrusted(t *testing.T) {
	src := memstore.New(nil)
	first := chain(t, src, 1, 1)[0]
	own := addOwn(t, src, first)
	dst := memstore.New(nil)
	stream := exported(t, src, first, own)
	if paths, err := store.ImportPaths(t.Context(), dst, bytes.NewReader(stream), nil); err == nil || len(paths) != 0 {
		t.Errorf("%q, %v", paths, err)
	}
}

// An object that has changed since its registration is not exported without an error.
func TestExportDamaged(t *testing.T) {
	src := memstore.New(nil)
	paths := chain(t, src, 3, 1)
	d := &distant{Store: src, damaged: paths[1]}
	if err := store.ExportPaths(t.Context(), io.Discard, d, paths); !errors.Is(err, errDamaged) {
		t.Errorf("%v", err)
	}
	if err := store.ExportPaths(t.Context(), io.Discard, src, []storepath.Path{absent}); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := store.ExportPaths(ctx, io.Discard, &distant{Store: src}, paths); err == nil {
		t.Error("a cancelled export succeeds")
	}
}

func FuzzImport(f *testing.F) {
	src := memstore.New(nil)
	f.Add(exported(f, src, chain(f, src, 3, 5)...))
	f.Fuzz(func(t *testing.T, stream []byte) {
		dst := memstore.New(nil)
		paths, err := store.ImportPaths(t.Context(), dst, bytes.NewReader(stream), unsigned)
		if err != nil {
			return
		}
		// An export is written in only one way, except for the order and ignored data.
		if again := exported(t, dst, paths...); len(again) > len(stream) {
			t.Errorf("%d bytes were read, but %d written", len(stream), len(again))
		}
	})
}

func ExampleExportPaths() {
	ctx := context.Background()
	here, there := memstore.New(nil), memstore.New(nil)
	path, err := here.AddTextToStore(ctx, "hello.txt", "hello world", nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	var stream bytes.Buffer
	if err := store.ExportPaths(ctx, &stream, here, []storepath.Path{path}); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(store.ImportPaths(ctx, there, &stream, &store.AddOptions{NoSignatures: true}))
	// Output: [/nix/store/m6wswa7yn6x5gi6gdq7x1fqlwmlhfja9-hello.txt] <nil>
}
