package memstore

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"

	"pix/nar"
	"pix/nixhash"
	"pix/signature"
	"pix/store"
	"pix/storepath"
)

const absent = storepath.Path("/nix/store/g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-absent")

// text adds a text in a session of its own, so that it can be collected.
func text(t testing.TB, s *Store, name string, references ...storepath.Path) storepath.Path {
	t.Helper()
	session := s.newSession()
	defer session.Close()
	path, err := session.AddTextToStore(t.Context(), name, fmt.Sprint(name, references), references)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// newObject returns the info and the archive of an object that is not content-addressed.
func newObject(t testing.TB, name string, references ...storepath.Path) (*store.PathInfo, []byte) {
	t.Helper()
	archive := fileNAR([]byte(name))
	path, err := storepath.DefaultDir.MakePath("output:out", nixhash.Sum(nixhash.SHA256, []byte(name)), name)
	if err != nil {
		t.Fatal(err)
	}
	return &store.PathInfo{Path: path, NARHash: nixhash.Sum(nixhash.SHA256, archive), NARSize: uint64(len(archive)), References: references}, archive
}

func TestAddByContents(t *testing.T) {
	s := New(nil)
	for _, c := range []struct {
		m        storepath.Method
		a        nixhash.Algorithm
		contents string
		path     storepath.Path // from nix-store
	}{
		{storepath.Text, nixhash.SHA256, "hello world", "/nix/store/m6wswa7yn6x5gi6gdq7x1fqlwmlhfja9-hello.txt"},
		{storepath.Flat, nixhash.SHA1, "x", ""},
		{storepath.NAR, nixhash.SHA256, string(fileNAR([]byte("x"))), ""},
		{storepath.NAR, nixhash.SHA512, string(fileNAR([]byte("x"))), ""},
	} {
		info, err := s.AddToStore(t.Context(), "hello.txt", c.m, c.a, nil, strings.NewReader(c.contents), nil)
		if err != nil {
			t.Fatal(err)
		}
		if !info.IsContentAddressed() || c.path != "" && info.Path != c.path {
			t.Errorf("%s, %s: %+v", c.m, c.a, info)
		}
		// The object can be read, and added with its info to another store.
		var archive bytes.Buffer
		r, err := s.NARFromPath(t.Context(), info.Path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(&archive, r); err != nil {
			t.Error(err)
		}
		other := New(nil)
		if err := other.AddToStoreNAR(t.Context(), info, &archive, nil); err != nil {
			t.Errorf("%s, %s: %v", c.m, c.a, err)
		}
	}
	if _, err := s.AddToStore(t.Context(), "x", storepath.Git, nixhash.SHA1, nil, strings.NewReader(""), nil); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("git: %v", err)
	}
	if _, err := s.AddToStore(t.Context(), "x", storepath.NAR, nixhash.SHA256, nil, strings.NewReader("not an archive"), nil); err == nil {
		t.Error("an invalid archive was added")
	}
	if _, err := s.AddToStore(t.Context(), "a b", storepath.Flat, nixhash.SHA256, nil, strings.NewReader(""), nil); err == nil {
		t.Error("an invalid name was accepted")
	}
}

// An invalid object is refused with the message of Nix, and is not added.
func TestInvalidObjects(t *testing.T) {
	key, err := signature.GenerateKey("key-1")
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := signature.GenerateKey("stranger-1")
	if err != nil {
		t.Fatal(err)
	}
	s := New(&Options{TrustedKeys: signature.NewKeySet(key.Public())})
	all := &store.AddOptions{NoSignatures: true}
	wrongCA, err := storepath.NewContentAddress(storepath.Flat, nixhash.Sum(nixhash.SHA256, []byte("other")))
	if err != nil {
		t.Fatal(err)
	}
	fixed, err := s.Dir().FixedOutputPath("fixed", wrongCA, storepath.References{})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		change func(*store.PathInfo)
		opts   *store.AddOptions
		want   string
	}{
		{func(*store.PathInfo) {}, nil, "because it lacks a signature by a trusted key"},
		{func(i *store.PathInfo) { i.Sign(stranger) }, nil, "because it lacks a signature by a trusted key"},
		{func(i *store.PathInfo) { i.Sign(key); i.NARSize++ }, nil, "because it lacks a signature by a trusted key"},
		{func(i *store.PathInfo) { i.NARSize++ }, all, "size mismatch importing path"},
		{func(i *store.PathInfo) { i.NARHash = nixhash.Sum(nixhash.SHA256, nil) }, all, "hash mismatch importing path"},
		{func(i *store.PathInfo) { i.References = []storepath.Path{absent} }, all, "path '" + string(absent) + "' is not valid"},
		{func(i *store.PathInfo) { i.CA = wrongCA }, all, "ca hash mismatch importing path"},
		{func(i *store.PathInfo) { i.Path, i.CA = fixed, wrongCA }, nil, "ca hash mismatch importing path"},
		{func(i *store.PathInfo) { i.Path = "/gnu/store/g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-x" }, all, "/gnu/store"},
		{func(i *store.PathInfo) { i.Path = i.Path + ".drv" }, all, "error parsing derivation"},
	} {
		info, archive := newObject(t, "x")
		c.change(info)
		err := s.AddToStoreNAR(t.Context(), info, bytes.NewReader(archive), c.opts)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("AddToStoreNAR: %v, want %q", err, c.want)
		}
		if s.has(info.Path) {
			t.Errorf("the path is valid after the error %q", c.want)
		}
	}
	info, archive := newObject(t, "x")
	info.CA = storepath.ContentAddress{}
	info.Sign(key, stranger)
	if err := s.AddToStoreNAR(t.Context(), info, bytes.NewReader(archive), nil); err != nil {
		t.Errorf("a signed object was refused: %v", err)
	}
	if s.size != int64(len(archive)) {
		t.Errorf("the store counts %d bytes", s.size)
	}
}

// A false content address is an error, even if no signature is needed.
func TestFalseContentAddress(t *testing.T) {
	s := New(nil)
	info, archive := newObject(t, "x")
	ca, err := storepath.NewContentAddress(storepath.Flat, nixhash.Sum(nixhash.SHA256, []byte("x")))
	if err != nil {
		t.Fatal(err)
	}
	info.CA = ca
	err = s.AddToStoreNAR(t.Context(), info, bytes.NewReader(archive), &store.AddOptions{NoSignatures: true})
	if err == nil || !strings.Contains(err.Error(), "claims to be content-addressed but isn't") {
		t.Errorf("AddToStoreNAR: %v", err)
	}
}

// The path of an object that refers to itself follows from its contents with zeros for its hash part.
func TestSelfReference(t *testing.T) {
	s := New(nil)
	dummy := strings.Repeat("0", storepath.HashPartLen)
	archive := fileNAR([]byte("I am " + dummy))
	h, err := nar.NewModuloHasher(nixhash.SHA256, dummy)
	if err != nil {
		t.Fatal(err)
	}
	h.Write(archive)
	ca, err := storepath.NewContentAddress(storepath.NAR, h.Finish().WithOffsets)
	if err != nil {
		t.Fatal(err)
	}
	path, err := s.Dir().FixedOutputPath("self", ca, storepath.References{Self: true})
	if err != nil {
		t.Fatal(err)
	}
	archive = bytes.ReplaceAll(archive, []byte(dummy), []byte(path.HashPart()))
	info := &store.PathInfo{Path: path, CA: ca, NARSize: uint64(len(archive)), NARHash: nixhash.Sum(nixhash.SHA256, archive), References: []storepath.Path{path}}
	if err := s.AddToStoreNAR(t.Context(), info, bytes.NewReader(archive), nil); err != nil {
		t.Fatal(err)
	}
	referrers, err := s.QueryReferrers(t.Context(), path)
	if err != nil || !slices.Equal(referrers, []storepath.Path{path}) {
		t.Errorf("QueryReferrers: %v, %v", referrers, err)
	}
	s.Close()
	result, err := s.CollectGarbage(t.Context(), store.GCOptions{Action: store.GCDeleteDead, MaxFreed: math.MaxUint64})
	if err != nil || !slices.Equal(result.Paths, []string{string(path)}) || result.BytesFreed != uint64(len(archive)) || s.size != 0 {
		t.Errorf("CollectGarbage: %+v, %v", result, err)
	}
}

// The archive of a valid path is not read, except to repair the path.
func TestAddTwice(t *testing.T) {
	s := New(nil)
	info, archive := newObject(t, "x")
	opts := &store.AddOptions{NoSignatures: true}
	if err := s.AddToStoreNAR(t.Context(), info, bytes.NewReader(archive), opts); err != nil {
		t.Fatal(err)
	}
	if err := s.AddToStoreNAR(t.Context(), info, nil, opts); err != nil {
		t.Error(err)
	}
	s.objects[info.Path].nar[100]++
	if errs, err := s.VerifyStore(t.Context(), true, false); !errs || err != nil {
		t.Errorf("damage was not found: %v", err)
	}
	r, err := s.NARFromPath(t.Context(), info.Path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(r); err == nil || !strings.Contains(err.Error(), "was modified! expected hash") {
		t.Errorf("the reader did not report the damage: %v", err)
	}
	opts.Repair = true
	if err := s.AddToStoreNAR(t.Context(), info, bytes.NewReader(archive), opts); err != nil {
		t.Fatal(err)
	}
	if errs, err := s.VerifyStore(t.Context(), true, false); errs || err != nil || s.size != int64(len(archive)) {
		t.Errorf("after repair: %v, %v, %d bytes", errs, err, s.size)
	}
}

func TestSignatures(t *testing.T) {
	s := New(nil)
	path := text(t, s, "x")
	key, err := signature.GenerateKey("key-1")
	if err != nil {
		t.Fatal(err)
	}
	sig := key.Sign([]byte("x")).String()
	for range 2 {
		if err := s.AddSignatures(t.Context(), path, []string{sig}); err != nil {
			t.Fatal(err)
		}
	}
	info, err := s.QueryPathInfo(t.Context(), path)
	if err != nil || !slices.Equal(info.Signatures, []string{sig}) {
		t.Errorf("QueryPathInfo: %v, %v", info, err)
	}
	info.Signatures[0] = "changed by the caller"
	if info, _ := s.QueryPathInfo(t.Context(), path); info.Signatures[0] != sig {
		t.Error("a caller can change the store")
	}
	if err := s.AddSignatures(t.Context(), path, []string{"no signature"}); err == nil {
		t.Error("an invalid signature was accepted")
	}
}

func TestFull(t *testing.T) {
	s := New(&Options{MaxSize: 500})
	for _, size := range []int{10_000, 300} {
		_, err := s.AddTextToStore(t.Context(), fmt.Sprint(size), strings.Repeat("x", size), nil)
		if _, again := s.AddTextToStore(t.Context(), fmt.Sprint(size, "b"), strings.Repeat("x", size), nil); !errors.Is(again, ErrFull) {
			t.Errorf("%d: %v", size, again)
		}
		if size > 500 != errors.Is(err, ErrFull) && size == 10_000 {
			t.Errorf("%d: %v", size, err)
		}
	}
}

func TestTempRootLimit(t *testing.T) {
	s := New(nil)
	for i := range MaxTempRoots {
		s.temp.paths[absent+storepath.Path(fmt.Sprint(i))] = true
	}
	if err := s.AddTempRoot(t.Context(), absent); !errors.Is(err, ErrFull) {
		t.Errorf("AddTempRoot: %v", err)
	}
}

func TestLogs(t *testing.T) {
	s := New(nil)
	for _, log := range []string{"first", "second"} {
		if err := s.AddBuildLog(t.Context(), absent, strings.NewReader(log)); err != nil {
			t.Fatal(err)
		}
		r, err := store.BuildLog(t.Context(), s, absent)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(r); string(got) != log || err != nil {
			t.Errorf("BuildLog: %q, %v", got, err)
		}
	}
	if _, err := s.BuildLog(t.Context(), absent+"x"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("BuildLog: %v", err)
	}
}

func TestAddMultiple(t *testing.T) {
	s := New(nil)
	info, archive := newObject(t, "x")
	broken := errors.New("broken")
	objects := func(err error) iter.Seq2[store.Import, error] {
		return func(yield func(store.Import, error) bool) {
			if yield(store.Import{Info: info, NAR: bytes.NewReader(archive)}, nil) && err != nil {
				yield(store.Import{}, err)
			}
		}
	}
	opts := &store.AddOptions{NoSignatures: true}
	if err := s.AddMultipleToStore(t.Context(), 2, objects(broken), opts); err != broken {
		t.Errorf("AddMultipleToStore: %v", err)
	}
	if err := s.AddMultipleToStore(t.Context(), 2, objects(nil), opts); err == nil {
		t.Error("no error after too few objects")
	}
	if err := s.AddMultipleToStore(t.Context(), 1, objects(nil), opts); err != nil || !s.has(info.Path) {
		t.Errorf("AddMultipleToStore: %v", err)
	}
}

// Concurrent additions, queries and collections: paths that a session has added stay valid until it is closed.
func TestConcurrent(t *testing.T) {
	s := New(nil)
	var workers sync.WaitGroup
	for worker := range 8 {
		workers.Go(func() {
			for i := range 50 {
				session := s.newSession()
				path, err := session.AddTextToStore(t.Context(), fmt.Sprintf("%d-%d", worker, i%5), "x", nil)
				if err != nil {
					t.Error(err)
				}
				if i%5 == 0 {
					collect(t, s, store.GCOptions{Action: store.GCDeleteDead, MaxFreed: math.MaxUint64})
				}
				if valid, err := session.QueryValidPaths(t.Context(), []storepath.Path{path}, false); len(valid) != 1 || err != nil {
					t.Errorf("an added path is not valid: %v", err)
				}
				session.Close()
			}
		})
	}
	workers.Wait()
	collect(t, s, store.GCOptions{Action: store.GCDeleteDead, MaxFreed: math.MaxUint64})
	if s.size != 0 || len(s.objects)+len(s.byHashPart)+len(s.referrers)+len(s.derivers) != 0 {
		t.Errorf("%d bytes and %d objects are left", s.size, len(s.objects))
	}
}
