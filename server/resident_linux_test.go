package server_test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"pix/derivation"
	"pix/internal/testenv"
	"pix/localstore"
	"pix/nar"
	"pix/nixhash"
	"pix/protocol"
	"pix/store"
	"pix/store/memstore"
	"pix/storepath"
	"pix/wire"
)

// maxResident is the largest memory in megabytes of a server with default options.
const maxResident = 150

// Environment variables that turn the test binary into a process with a server.
const (
	residentStore  = "PIX_TEST_RESIDENT_STORE"  // the store to serve
	residentSocket = "PIX_TEST_RESIDENT_SOCKET" // the path of the socket
	residentTrust  = "PIX_TEST_RESIDENT_TRUST"  // whether all clients are trusted
)

// manyReferrers is the number of paths that refer to base, and the number of references of
// base.
const manyReferrers = 20_000

// residentStores create the stores for these processes.
var residentStores = map[string]func(*testing.T) store.Store{
	"empty": func(*testing.T) store.Store { return memstore.New(nil) },
	"memory": func(t *testing.T) store.Store {
		s := memstore.New(nil)
		base, err := store.AddText(t.Context(), s, "base", "x", nil)
		if err != nil {
			t.Fatal(err)
		}
		all := make([]storepath.Path, manyReferrers)
		for i := range all {
			if all[i], err = store.AddText(t.Context(), s, fmt.Sprint("some-package-", i), "x", []storepath.Path{base}); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := store.AddText(t.Context(), s, "top", "x", all); err != nil {
			t.Fatal(err)
		}
		return s
	},
	"disk": func(t *testing.T) store.Store {
		root := t.TempDir()
		testenv.RemoveStore(t, root)
		s, err := localstore.Open(t.Context(), &localstore.Options{Root: root, NoSync: true})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		for name, archive := range map[string][]byte{"tree": treeNAR(2000, 10<<10), "file": fileNAR(strings.Repeat("x", 64<<20))} {
			if _, err := s.AddToStore(t.Context(), name, storepath.NAR, nixhash.SHA256, nil, bytes.NewReader(archive), nil); err != nil {
				t.Fatal(err)
			}
		}
		return s
	},
}

// treeNAR returns the archive of a directory of files.
func treeNAR(files, size int) []byte {
	b := new(sink)
	w := nar.NewWriter(b)
	w.WriteEntry(nar.Entry{Kind: nar.Directory})
	for i := range files {
		w.WriteEntry(nar.Entry{Name: fmt.Sprintf("%06d", i), Depth: 1, Kind: nar.Regular, Size: uint64(size)})
		w.Write(make([]byte, size))
	}
	w.Close()
	return b.p
}

// textPath returns the path of the text "x" in residentStores.
func textPath(t *testing.T, name string, references ...storepath.Path) storepath.Path {
	t.Helper()
	path, err := storepath.DefaultDir.TextPath(name, nixhash.Sum(nixhash.SHA256, []byte("x")), references)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// archivePath returns the path of an archive in residentStores.
func archivePath(t *testing.T, name string, archive []byte) storepath.Path {
	t.Helper()
	ca, err := storepath.NewContentAddress(storepath.NAR, nixhash.Sum(nixhash.SHA256, archive))
	if err != nil {
		t.Fatal(err)
	}
	path, err := storepath.DefaultDir.FixedOutputPath(name, ca, storepath.References{})
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// bothTrusts runs a test for untrusted clients and, with PIX_LONG=1, for trusted ones.
func bothTrusts(t *testing.T, run func(t *testing.T, trust bool)) {
	for _, trust := range []bool{false, true} {
		if trust && os.Getenv("PIX_LONG") != "1" {
			return
		}
		t.Run(fmt.Sprint("trusted=", trust), func(t *testing.T) {
			t.Parallel()
			run(t, trust)
		})
	}
}

// 64 clients announce large requests, send as much of them as the server reads, and stop.
func TestResidentStalledRequests(t *testing.T) {
	for name, lie := range lies() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bothTrusts(t, func(t *testing.T, trust bool) {
				r := startResident(t, "empty", trust)
				var crowd sync.WaitGroup
				zeros := make([]byte, 64<<10)
				for range 64 {
					c := r.dial()
					crowd.Go(func() {
						c.nc.SetDeadline(time.Now().Add(500 * time.Millisecond))
						io.Copy(c.nc, io.MultiReader(bytes.NewReader(lie), io.LimitReader(endless{zeros}, 4<<20)))
					})
				}
				crowd.Wait()
				r.check()
			})
		})
	}
}

// endless returns the same bytes forever.
type endless struct{ b []byte }

func (e endless) Read(p []byte) (int, error) { return copy(p, e.b), nil }

// lies are bytes that hostile clients send after the handshake. They continue with zeros or
// other bytes as long as the server reads.
func lies() map[string][]byte {
	op := func(o protocol.Op) []byte { return wire.AppendUint64(nil, uint64(o)) }
	number := func(b []byte, n uint64) []byte { return wire.AppendUint64(b, n) }
	setOptions := op(protocol.SetOptions)
	for range 12 {
		setOptions = number(setOptions, 0)
	}
	return map[string][]byte{
		"an endless string":      number(op(protocol.IsValidPath), 1<<62),
		"a string of the limit":  number(op(protocol.IsValidPath), 64<<10),
		"an endless list":        number(op(protocol.QueryValidPaths), 1<<62),
		"a list of the limit":    number(op(protocol.QueryValidPaths), 1<<26),
		"a long text":            number(wire.AppendString(op(protocol.AddTextToStore), "name"), 60<<20),
		"a map of nothing":       number(setOptions, 1<<26),
		"signatures of nothing":  number(wire.AppendString(op(protocol.AddSignatures), absent), 1<<26),
		"a build of everything":  number(op(protocol.BuildPaths), 1<<26),
		"an unfinished archive":  append(number(addFlat(), 1000), make([]byte, 100)...),
		"an endless environment": number(wire.AppendString(op(protocol.BuildDerivation), string(absent)+".drv"), 1<<26),
		"half of many paths":     append(number(op(protocol.QueryValidPaths), 1<<20), spelled(30_000, "")...),
		"half of many builds":    append(number(op(protocol.BuildPaths), 1<<20), spelled(30_000, ".drv!a,b,c,d,e,f")...),
		"half of nested builds":  append(number(op(protocol.BuildPaths), 1<<20), spelled(20_000, ".drv"+strings.Repeat("!a", 15)+"!b")...),
	}
}

// spelled returns n encoded strings of invalid paths, followed by end.
func spelled(n int, end string) (b []byte) {
	for i := range n {
		b = wire.AppendString(b, fmt.Sprintf("/nix/store/%032d-x%s", i, end))
	}
	return b
}

// 200 clients request large replies and do not read them.
func TestResidentUnreadReplies(t *testing.T) {
	p := protocol.Params{Version: protocol.MaxVersion, Features: protocol.AllFeatures, Dir: storepath.DefaultDir}
	base := textPath(t, "base")
	all := make([]storepath.Path, manyReferrers)
	var wanted []derivation.DerivedPath
	for i := range all {
		all[i] = textPath(t, fmt.Sprint("some-package-", i), base)
		wanted = append(wanted, derivation.Opaque{Path: all[i]})
	}
	noise := make(map[string]string)
	for i := range 3000 { // the reply to each has a log line
		noise[fmt.Sprint("a-restricted-setting-", i)] = "x"
	}
	top := &protocol.QueryPathInfoRequest{Path: textPath(t, "top", all...)}
	for name, c := range map[string]struct {
		store string
		ask   []protocol.Request
	}{
		"referrers":             {"memory", []protocol.Request{&protocol.QueryReferrersRequest{Path: base}}},
		"all paths":             {"memory", []protocol.Request{&protocol.QueryAllValidPathsRequest{}}},
		"a large info":          {"memory", []protocol.Request{top}},
		"a large info, often":   {"memory", []protocol.Request{top, top, top, top}},
		"missing":               {"memory", []protocol.Request{&protocol.QueryMissingRequest{Paths: wanted}}},
		"valid":                 {"memory", []protocol.Request{&protocol.QueryValidPathsRequest{Paths: all}}},
		"builds":                {"memory", []protocol.Request{&protocol.BuildPathsWithResultsRequest{Paths: wanted}}},
		"roots":                 {"memory", []protocol.Request{&protocol.FindRootsRequest{}}},
		"warnings":              {"memory", []protocol.Request{&protocol.SetOptionsRequest{Overrides: noise}}},
		"small ones, pipelined": {"memory", many(2000, &protocol.QueryPathInfoRequest{Path: base})},
		"a tree":                {"disk", []protocol.Request{&protocol.NarFromPathRequest{Path: archivePath(t, "tree", treeNAR(2000, 10<<10))}}},
		"a file":                {"disk", []protocol.Request{&protocol.NarFromPathRequest{Path: archivePath(t, "file", fileNAR(strings.Repeat("x", 64<<20)))}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var asked []byte
			for _, req := range c.ask {
				var err error
				if asked, err = p.AppendRequest(asked, req); err != nil {
					t.Fatal(err)
				}
			}
			bothTrusts(t, func(t *testing.T, trust bool) {
				r := startResident(t, c.store, trust)
				var crowd sync.WaitGroup
				for range 200 {
					c := r.dial()
					crowd.Go(func() {
						c.nc.SetDeadline(time.Now().Add(500 * time.Millisecond))
						c.nc.Write(asked)
					})
				}
				crowd.Wait()
				time.Sleep(time.Second)
				r.check()
			})
		})
	}
}

func many(n int, req protocol.Request) (all []protocol.Request) {
	for range n {
		all = append(all, req)
	}
	return all
}

// 2,000 clients are idle. Some of them have sent a long request before.
func TestResidentIdle(t *testing.T) {
	for name, req := range map[string]protocol.Request{
		"nothing":       nil,
		"an info":       &protocol.QueryPathInfoRequest{Path: absent},
		"a long string": &protocol.SetOptionsRequest{Overrides: map[string]string{"x": strings.Repeat("x", 900<<10)}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := startResident(t, "empty", false)
			for range 2000 {
				c := r.dial()
				if req != nil {
					if _, err := c.ask(req, nil); err != nil {
						t.Fatal(err)
					}
				}
			}
			r.check()
		})
	}
}
