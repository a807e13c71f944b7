package server_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"pix/activity"
	"pix/derivation"
	"pix/protocol"
	"pix/store"
	"pix/store/memstore"
	"pix/storepath"
)

// A bare store has only the required methods of a store.
type bare struct{ s store.Store }

func (b bare) Dir() storepath.Dir { return b.s.Dir() }

func (b bare) IsValidPath(ctx context.Context, p storepath.Path) (bool, error) {
	return b.s.IsValidPath(ctx, p)
}

func (b bare) QueryValidPaths(ctx context.Context, p []storepath.Path, substitute bool) ([]storepath.Path, error) {
	return b.s.QueryValidPaths(ctx, p, substitute)
}

func (b bare) QueryPathInfo(ctx context.Context, p storepath.Path) (*store.PathInfo, error) {
	return b.s.QueryPathInfo(ctx, p)
}

func (b bare) Close() error { return nil }

// For an operation that the store does not have, the client gets an error of the work, or the
// reply of such a store.
func TestBareStore(t *testing.T) {
	w := newWorld(t)
	w.s = bare{w.s}
	c := dial(t, w.s, trusted)
	answered := make(map[protocol.Op]bool)
	for _, q := range w.questions(t, c.params) {
		if c.params.Check(q.req.Op()) != nil {
			continue // the server does not offer the feature
		}
		_, err := c.ask(q.req, q.body)
		var said *activity.Error
		if err != nil && !errors.As(err, &said) {
			t.Fatalf("%s: %v", q.req.Op(), err)
		}
		if err == nil {
			answered[q.req.Op()] = true
		}
		if !must[*protocol.IsValidPathReply](c, &protocol.IsValidPathRequest{Path: w.text}, nil).Valid {
			t.Fatalf("after %s the connection is out of step", q.req.Op())
		}
	}
	for _, op := range []protocol.Op{
		protocol.IsValidPath, protocol.QueryPathInfo, protocol.QueryValidPaths, protocol.QueryDeriver, protocol.QueryValidDerivers,
		protocol.QuerySubstitutablePaths, protocol.QuerySubstitutablePathInfo, protocol.QuerySubstitutablePathInfos, protocol.QueryRealisation,
		protocol.QueryPathInfos, protocol.EnsurePath, protocol.BuildPaths, protocol.AddTempRoot, protocol.AddTempRoots, protocol.SyncWithGC, protocol.OptimiseStore, protocol.VerifyStore, protocol.SetOptions,
	} {
		if !answered[op] {
			t.Errorf("%s got an error", op)
		}
		delete(answered, op)
	}
	if len(answered) > 0 {
		t.Errorf("a bare store has answered %v", answered)
	}
}

// A damaged store returns archives that end with an error.
type damaged struct{ *memstore.Store }

func (d damaged) Session(context.Context) (store.Store, error) { return d, nil }

func (d damaged) NARFromPath(ctx context.Context, path storepath.Path) (io.ReadCloser, error) {
	archive, err := d.Store.NARFromPath(ctx, path)
	return struct {
		io.Reader
		io.Closer
	}{io.MultiReader(archive, failing{}), archive}, err
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errors.New("the disk is damaged") }

// A damaged archive is never sent completely.
func TestDamagedArchive(t *testing.T) {
	s := memstore.New(nil)
	for _, size := range []int{10, 64 << 10, 1 << 20} {
		path, err := s.AddTextToStore(t.Context(), "x", strings.Repeat("x", size), nil)
		if err != nil {
			t.Fatal(err)
		}
		c := dial(t, damaged{s}, trusted)
		must[*protocol.None](c, &protocol.NarFromPathRequest{Path: path}, nil)
		all, err := io.ReadAll(c.in)
		if err != nil {
			t.Fatal(err)
		}
		whole := fileNAR(strings.Repeat("x", size))
		if bytes.Contains(all, whole) || !bytes.Contains(all, []byte("the disk is damaged")) {
			t.Errorf("got %d of %d bytes", len(all), len(whole))
		}
	}
}

// A builtStore has derivations, but does not build. It reports outputs that exist already.
type builtStore struct {
	store.Store
	outputs map[string]storepath.Path
}

func (b builtStore) QueryDerivationOutputMap(context.Context, storepath.Path) (map[string]storepath.Path, error) {
	return b.outputs, nil
}

func TestAlreadyBuilt(t *testing.T) {
	w := newWorld(t)
	s := builtStore{bare{w.s}, map[string]storepath.Path{"out": w.text, "dev": absent, "doc": ""}}
	c := dial(t, s, nil)
	opaque := func(p storepath.Path) derivation.DerivedPath { return derivation.Opaque{Path: p} }
	built := func(p storepath.Path, names ...string) derivation.DerivedPath {
		outputs := derivation.AllOutputs()
		if len(names) > 0 {
			outputs = derivation.NamedOutputs(names...)
		}
		return derivation.Built{Drv: derivation.Opaque{Path: p}, Outputs: outputs}
	}
	for _, q := range []struct {
		path   derivation.DerivedPath
		status store.BuildStatus
		fails  string
	}{
		{opaque(w.text), store.AlreadyValid, ""},
		{opaque(absent), store.NoSubstituters, "path '" + string(absent) + "' is required, but there is no substituter that can build it"},
		{built(w.drv, "out"), store.AlreadyValid, ""},
		{built(w.drv, "dev"), store.MiscFailure, "this store does not build, and its output 'dev' is not valid"},
		{built(w.drv, "doc"), store.MiscFailure, "this store does not build, and its output 'doc' is not valid"},
		{built(w.drv), store.MiscFailure, "this store does not build"},
		{built(absent, "out"), store.NoSubstituters, "is required"},
	} {
		_, err := c.ask(&protocol.BuildPathsRequest{Paths: []derivation.DerivedPath{q.path}}, nil)
		if (q.fails == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), q.fails) {
			t.Errorf("%s: %v, want %q", q.path, err, q.fails)
		}
		results := must[*protocol.BuildPathsWithResultsReply](c, &protocol.BuildPathsWithResultsRequest{Paths: []derivation.DerivedPath{q.path}}, nil).Results
		if len(results) != 1 || results[0].Status != q.status || !strings.Contains(results[0].Message, q.fails) {
			t.Errorf("%s: %+v, want %s", q.path, results, q.status)
		}
	}
	// An output that the derivation does not have is an error, not a result.
	none := []derivation.DerivedPath{opaque(w.text), built(w.drv, "bin")}
	for _, req := range []protocol.Request{&protocol.BuildPathsRequest{Paths: none}, &protocol.BuildPathsWithResultsRequest{Paths: none}} {
		if _, err := c.ask(req, nil); err == nil || !strings.Contains(err.Error(), "does not have output 'bin'") {
			t.Errorf("%v: %v", req.Op(), err)
		}
	}
}
