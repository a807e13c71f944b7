package daemontest_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"pix/daemon"
	"pix/daemontest"
	"pix/derivation"
	"pix/nar"
	"pix/nixhash"
	"pix/protocol"
	"pix/signature"
	"pix/store"
	"pix/store/memstore"
	"pix/storepath"
)

// A diary records the answers of a store, so that two stores can be compared.
type diary struct {
	lines []string
}

func (d *diary) note(what string, answer any, err error) {
	switch {
	case errors.Is(err, errors.ErrUnsupported), err != nil && strings.Contains(err.Error(), "not supported by"):
		answer = "unsupported"
	case err != nil: // the daemon's error, without the client's prefix
		answer = "error: " + lastWords(err)
	}
	d.lines = append(d.lines, fmt.Sprintf("%s: %+v", what, answer))
}

// lastWords returns the innermost error.
func lastWords(err error) string {
	var notFound *store.NotFoundError
	var failed *store.BuildError
	switch {
	case errors.As(err, &notFound):
		return "not valid"
	case errors.As(err, &failed):
		return "build failed"
	case strings.HasSuffix(err.Error(), "is not valid"):
		return "not valid"
	}
	return err.Error()
}

// everything calls all operations of a store twice, and records the answers. The store must be
// empty.
func everything(t testing.TB, s store.Store) map[string]string {
	ctx := t.Context()
	d := new(diary)
	key, err := signature.ParseSecretKey(signingKey)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		text, err := store.AddText(ctx, s, "text", "a text", nil)
		d.note("AddText", text, err)
		refers, err := store.AddText(ctx, s, "refers", "see", []storepath.Path{text})
		d.note("AddText with a reference", refers, err)
		_, err = store.AddText(ctx, s, "refers", "see", []storepath.Path{somePath})
		d.note("AddText with a bad reference", nil, err)
		d.add(ctx, s, text)
		d.ask(ctx, s, text, refers)
		d.build(ctx, t, s, text)

		signer, _ := store.As[store.Signer](s)
		d.note("AddSignatures", nil, signer.AddSignatures(ctx, text, []string{key.Sign([]byte("x")).String()}))
		info, err := s.QueryPathInfo(ctx, text)
		d.note("signatures", signaturesOf(info), err)
		d.keep(ctx, s, text, refers)
	}
	answers := make(map[string]string)
	for i, line := range d.lines {
		answers[fmt.Sprintf("%03d", i)] = line
	}
	return answers
}

func signaturesOf(info *store.PathInfo) []string {
	if info == nil {
		return nil
	}
	return info.Signatures
}

// fileNAR returns the archive of a regular file.
func fileNAR(contents string) []byte {
	var b bytes.Buffer
	w := nar.NewWriter(&b)
	w.WriteEntry(nar.Entry{Kind: nar.Regular, Size: uint64(len(contents))})
	io.WriteString(w, contents)
	w.Close()
	return b.Bytes()
}

// add adds objects in all ways.
func (d *diary) add(ctx context.Context, s store.Store, text storepath.Path) {
	adder, _ := store.As[store.Adder](s)
	for _, c := range []struct {
		m        storepath.Method
		a        nixhash.Algorithm
		contents string
	}{
		{storepath.NAR, nixhash.SHA256, string(fileNAR("source"))},
		{storepath.NAR, nixhash.SHA512, string(fileNAR("source"))},
		{storepath.Flat, nixhash.MD5, "flat"},
	} {
		info, err := adder.AddToStore(ctx, "source", c.m, c.a, nil, strings.NewReader(c.contents), nil)
		if err != nil {
			d.note("AddToStore", nil, errors.New("refused"))
			continue
		}
		d.note("AddToStore", info.Path, nil)
	}
	multiple, _ := store.As[store.MultipleAdder](s)
	first, archive := object("object", text)
	second, secondArchive := object("second", first.Path)
	opts := &store.AddOptions{NoSignatures: true}
	d.note("AddToStoreNAR unsigned", nil, store.AddNAR(ctx, s, first, bytes.NewReader(archive), nil))
	d.note("AddToStoreNAR", nil, store.AddNAR(ctx, s, first, bytes.NewReader(archive), opts))
	wrong := *second
	wrong.NARHash = nixhash.Sum(nixhash.SHA256, nil)
	err := store.AddNAR(ctx, s, &wrong, bytes.NewReader(secondArchive), opts)
	d.note("AddToStoreNAR of a wrong hash", nil, err)
	err = multiple.AddMultipleToStore(ctx, 2, imports(first, archive, second, secondArchive), opts)
	d.note("AddMultipleToStore", nil, err)
	r, err := store.ReadNAR(ctx, s, first.Path)
	var got []byte
	if err == nil {
		got, err = io.ReadAll(r)
		r.Close()
	}
	d.note("NARFromPath", string(got), err)
	_, err = store.ReadNAR(ctx, s, somePath)
	d.note("NARFromPath of nothing", nil, err)
}

func object(name string, references ...storepath.Path) (*store.PathInfo, []byte) {
	archive := fileNAR(name)
	path, err := storepath.DefaultDir.MakePath("output:out", nixhash.Sum(nixhash.SHA256, []byte(name)), name)
	if err != nil {
		panic(err)
	}
	return &store.PathInfo{
		Path: path, NARHash: nixhash.Sum(nixhash.SHA256, archive), NARSize: uint64(len(archive)), References: references,
		RegistrationTime: time.Unix(1, 0).UTC(),
	}, archive
}

func imports(objects ...any) iter.Seq2[store.Import, error] {
	return func(yield func(store.Import, error) bool) {
		for i := 0; i < len(objects); i += 2 {
			if !yield(store.Import{Info: objects[i].(*store.PathInfo), NAR: bytes.NewReader(objects[i+1].([]byte))}, nil) {
				return
			}
		}
	}
}

// ask makes all queries.
func (d *diary) ask(ctx context.Context, s store.Store, text, refers storepath.Path) {
	valid, err := s.IsValidPath(ctx, text)
	d.note("IsValidPath", valid, err)
	valid, err = s.IsValidPath(ctx, somePath)
	d.note("IsValidPath of nothing", valid, err)
	paths, err := s.QueryValidPaths(ctx, []storepath.Path{somePath, refers, text}, false)
	d.note("QueryValidPaths", paths, err)
	for _, p := range []storepath.Path{text, refers, somePath} {
		info, err := s.QueryPathInfo(ctx, p)
		if err == nil {
			info.RegistrationTime = time.Time{}
		}
		d.note("QueryPathInfo", info, err)
		q, _ := store.As[store.ReferrerQuerier](s)
		referrers, err := q.QueryReferrers(ctx, p)
		d.note("QueryReferrers", referrers, err)
	}
	all, _ := store.As[store.AllPathsQuerier](s)
	paths, err = all.QueryAllValidPaths(ctx)
	d.note("QueryAllValidPaths", paths, err)
	parts, _ := store.As[store.HashPartQuerier](s)
	for _, part := range []string{text.HashPart(), somePath.HashPart()} {
		path, err := parts.QueryPathFromHashPart(ctx, part)
		if errors.Is(err, store.ErrNotFound) {
			err = errors.New("none")
		}
		d.note("QueryPathFromHashPart", path, err)
	}
	closure := make([]storepath.Path, 0)
	for info, err := range store.Closure(ctx, s, refers) {
		if err != nil {
			d.note("Closure", nil, err)
			break
		}
		closure = append(closure, info.Path)
	}
	d.note("Closure", closure, nil)
}

// build builds a path that cannot be built, and an existing one.
func (d *diary) build(ctx context.Context, t testing.TB, s store.Store, text storepath.Path) {
	drv := &derivation.Derivation{
		Name: "drv", Dir: s.Dir(), Platform: "x", Builder: "/b", InputSources: derivation.SetOf(text),
		Outputs: derivation.MapOf(derivation.Entry[string, derivation.Output]{Key: "out", Value: derivation.DeferredOutput()}),
		Env:     derivation.MapOf(derivation.Entry[string, string]{Key: "out"}),
	}
	if err := drv.FillOutputPaths(nil, nil); err != nil {
		t.Fatal(err)
	}
	path, err := store.AddText(ctx, s, "drv.drv", string(drv.AppendATerm(nil)), drv.References().Slice())
	d.note("AddText of a derivation", path, err)
	outputs, err := store.OutputMap(ctx, s, path)
	d.note("OutputMap", outputs, err)
	_, err = store.OutputMap(ctx, s, somePath+".drv")
	d.note("OutputMap of nothing", nil, err)
	derivers, _ := store.As[store.DeriverQuerier](s)
	paths, err := derivers.QueryValidDerivers(ctx, outputs["out"])
	d.note("QueryValidDerivers", paths, err)
	all := derivation.Built{Drv: derivation.Opaque{Path: path}, Outputs: derivation.AllOutputs()}
	missing, _ := store.As[store.MissingQuerier](s)
	m, err := missing.QueryMissing(ctx, []derivation.DerivedPath{all, derivation.Opaque{Path: somePath}})
	d.note("QueryMissing", m, err)
	d.note("BuildPaths", nil, store.BuildPaths(ctx, s, []derivation.DerivedPath{derivation.Opaque{Path: text}}, store.BuildNormal))
	d.note("BuildPaths in vain", nil, store.BuildPaths(ctx, s, []derivation.DerivedPath{all}, store.BuildNormal))
	results, _ := store.As[store.ResultBuilder](s)
	rs, err := results.BuildPathsWithResults(ctx, []derivation.DerivedPath{all}, store.BuildNormal)
	d.note("BuildPathsWithResults", len(rs) == 1 && rs[0].Status == store.MiscFailure, err)
	ensurer, _ := store.As[store.Ensurer](s)
	d.note("EnsurePath", nil, ensurer.EnsurePath(ctx, text))
	d.note("EnsurePath of nothing", nil, ensurer.EnsurePath(ctx, somePath))
	builder, _ := store.As[store.DerivationBuilder](s)
	r, err := builder.BuildDerivation(ctx, path, drv, store.BuildNormal)
	d.note("BuildDerivation", r != nil && r.Status == store.MiscFailure, err)
	logs, _ := store.As[store.LogAdder](s)
	d.note("AddBuildLog", nil, logs.AddBuildLog(ctx, path, strings.NewReader("a log")))
}

// keep creates roots and collects garbage.
func (d *diary) keep(ctx context.Context, s store.Store, text, refers storepath.Path) {
	temp, _ := store.As[store.TempRooter](s)
	d.note("AddTempRoot", nil, temp.AddTempRoot(ctx, text))
	roots, _ := store.As[store.Rooter](s)
	d.note("AddIndirectRoot", nil, roots.AddIndirectRoot(ctx, "/home/me/result"))
	found, err := roots.FindRoots(ctx)
	d.note("FindRoots", slices.ContainsFunc(found, func(r store.Root) bool { return r.Path == text }), err)
	gc, _ := store.As[store.Collector](s)
	live, err := gc.CollectGarbage(ctx, store.GCOptions{Action: store.GCReturnLive, MaxFreed: math.MaxUint64})
	d.note("CollectGarbage", live != nil && slices.Contains(live.Paths, string(text)), err)
	_, err = gc.CollectGarbage(ctx, store.GCOptions{Action: store.GCDeleteSpecific, Paths: []storepath.Path{refers}, MaxFreed: math.MaxUint64})
	d.note("CollectGarbage of what is needed", nil, err)
	optimiser, _ := store.As[store.Optimiser](s)
	d.note("OptimiseStore", nil, optimiser.OptimiseStore(ctx))
	verifier, _ := store.As[store.Verifier](s)
	remain, err := verifier.VerifyStore(ctx, true, false)
	d.note("VerifyStore", remain, err)
}

// Through our client and our server a store gives the same answers as without them, in every
// version: all operations, twice on one connection, with errors in between.
func TestNothingIsLost(t *testing.T) {
	want := everything(t, memstore.New(&memstore.Options{Now: func() time.Time { return time.Unix(1, 0) }}))
	for minor := uint8(18); minor <= 38; minor++ {
		t.Run(fmt.Sprintf("1.%d", minor), func(t *testing.T) {
			t.Parallel()
			d := daemontest.New(t, &daemontest.Options{Version: protocol.MakeVersion(minor), NoFeatures: minor%2 == 0})
			conn := mustClient(t, d)
			compare(t, everything(t, conn), want)
			if err := conn.Err(); err != nil {
				t.Error(err)
			}
		})
	}
	// Test a pool, and a daemon that is the client of another.
	d := daemontest.New(t, nil)
	pool, err := daemon.Open(t.Context(), d, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	outer := daemontest.New(t, &daemontest.Options{Store: pool})
	conn := mustClient(t, outer)
	compare(t, everything(t, conn), want)
	conn.Close()
	outer.Close()
	if errs := append(outer.Errors(), d.Errors()...); len(errs) > 0 {
		t.Errorf("%v", errs)
	}
}

func compare(t *testing.T, got, want map[string]string) {
	t.Helper()
	if len(got) < 50 {
		t.Errorf("only %d answers", len(got))
	}
	different := 0
	for _, i := range slices.Sorted(maps.Keys(want)) {
		if got[i] != want[i] && !strings.HasSuffix(got[i], ": unsupported") {
			if different++; different < 5 {
				t.Errorf("answer %s\n%s\nwant\n%s", i, got[i], want[i])
			}
		}
	}
}

// Events of a daemon reach the client through a second daemon.
func TestCopyBetweenDaemons(t *testing.T) {
	from, to := daemontest.New(t, nil), daemontest.New(t, nil)
	var last storepath.Path
	for i := range 200 {
		var refs []storepath.Path
		if last != "" {
			refs = []storepath.Path{last}
		}
		var err error
		if last, err = store.AddText(t.Context(), from.Store, fmt.Sprint("text-", i), strings.Repeat("x", i*100), refs); err != nil {
			t.Fatal(err)
		}
	}
	open := func(d *daemontest.Daemon) *daemon.Pool {
		p, err := daemon.Open(t.Context(), d, nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { p.Close() })
		return p
	}
	added, err := store.Copy(t.Context(), open(to), open(from), []storepath.Path{last}, nil)
	if err != nil || len(added) != 200 {
		t.Fatalf("%d objects were copied, %v", len(added), err)
	}
	a, _ := from.Memory().QueryAllValidPaths(t.Context())
	b, _ := to.Memory().QueryAllValidPaths(t.Context())
	if !slices.Equal(a, b) {
		t.Errorf("%d and %d paths are valid", len(a), len(b))
	}
}
