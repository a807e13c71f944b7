package server_test

import (
	"context"
	"fmt"
	"io"
	"iter"
	"strings"
	"sync"
	"testing"

	"pix/derivation"
	"pix/nixhash"
	"pix/protocol"
	"pix/server"
	"pix/signature"
	"pix/store"
	"pix/store/memstore"
	"pix/storepath"
)

// A recorder is a store that has every capability and does nothing. It records requests to
// change or repair something.
type recorder struct {
	store.Store // answers queries
	mu          sync.Mutex
	calls       []string
}

func (r *recorder) record(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls = append(r.calls, fmt.Sprintf(format, args...))
}

// taken returns the requests recorded since the last call.
func (r *recorder) taken() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	calls := r.calls
	r.calls = nil
	return calls
}

func options(o *store.AddOptions) string {
	if o == nil {
		o = new(store.AddOptions)
	}
	return fmt.Sprintf("repair=%v unsigned=%v", o.Repair, o.NoSignatures)
}

func settings(ctx context.Context) string {
	if s := server.SettingsOf(ctx); s != nil {
		return fmt.Sprint(s.Overrides)
	}
	return "none"
}

func (r *recorder) Unwrap() store.Store                          { return r.Store }
func (r *recorder) Session(context.Context) (store.Store, error) { return r, nil }
func (r *recorder) Close() error                                 { return nil }
func (r *recorder) AddTextToStore(_ context.Context, name, contents string, _ []storepath.Path) (storepath.Path, error) {
	r.record("AddTextToStore %s", name)
	return textOf(name, contents), nil
}
func (r *recorder) AddToStore(_ context.Context, name string, m storepath.Method, a nixhash.Algorithm, _ []storepath.Path, contents io.Reader, opts *store.AddOptions) (*store.PathInfo, error) {
	b, err := io.ReadAll(contents)
	r.record("AddToStore %s %d %s", name, len(b), options(opts))
	return &store.PathInfo{Path: absent, NARHash: nixhash.Sum(nixhash.SHA256, b), NARSize: 1}, err
}
func (r *recorder) AddToStoreScanning(_ context.Context, name string, _ storepath.Method, _ nixhash.Algorithm, contents io.Reader) (*store.PathInfo, error) {
	b, err := io.ReadAll(contents)
	r.record("AddToStoreScanning %s %d", name, len(b))
	return &store.PathInfo{Path: absent, NARHash: nixhash.Sum(nixhash.SHA256, b), NARSize: 1}, err
}
func (r *recorder) SubmitOutput(_ context.Context, path derivation.SingleDerivedPath, output string) error {
	r.record("SubmitOutput %s %s", path, output)
	return nil
}
func (r *recorder) AddToStoreNAR(_ context.Context, info *store.PathInfo, _ io.Reader, opts *store.AddOptions) error {
	r.record("AddToStoreNAR %s ultimate=%v %s", info.Path.Name(), info.Ultimate, options(opts))
	return nil
}
func (r *recorder) AddMultipleToStore(_ context.Context, _ int, objects iter.Seq2[store.Import, error], opts *store.AddOptions) error {
	for object, err := range objects {
		if err != nil {
			return err
		}
		r.record("AddMultipleToStore %s ultimate=%v %s", object.Info.Path.Name(), object.Info.Ultimate, options(opts))
	}
	return nil
}
func (r *recorder) AddSignatures(_ context.Context, _ storepath.Path, signatures []string) error {
	r.record("AddSignatures %d", len(signatures))
	return nil
}
func (r *recorder) TrustedKeys() signature.KeySet { return nil }
func (r *recorder) UpdateSignatures(ctx context.Context, path storepath.Path, update func(*store.PathInfo) []string) error {
	info, err := r.QueryPathInfo(ctx, path)
	if err == nil {
		r.record("UpdateSignatures %d", len(update(info)))
	}
	return err
}
func (r *recorder) AddBuildLog(context.Context, storepath.Path, io.Reader) error {
	r.record("AddBuildLog")
	return nil
}
func (r *recorder) RegisterDrvOutput(context.Context, store.KeyedRealisation) error {
	r.record("RegisterDrvOutput")
	return nil
}
func (r *recorder) QueryRealisation(context.Context, store.DrvOutput) (*store.Realisation, error) {
	return nil, &store.NotFoundError{}
}
func (r *recorder) BuildPaths(ctx context.Context, _ []derivation.DerivedPath, mode store.BuildMode) error {
	r.record("BuildPaths %s settings=%s", mode, settings(ctx))
	return nil
}
func (r *recorder) BuildPathsWithResults(_ context.Context, paths []derivation.DerivedPath, mode store.BuildMode) ([]store.KeyedBuildResult, error) {
	r.record("BuildPathsWithResults %s", mode)
	return []store.KeyedBuildResult{{Path: paths[0]}}, nil
}
func (r *recorder) BuildDerivation(_ context.Context, path storepath.Path, d *derivation.Derivation, mode store.BuildMode) (*store.BuildResult, error) {
	own, _ := d.Path()
	r.record("BuildDerivation own=%v %s", path == own, mode)
	return new(store.BuildResult), nil
}
func (r *recorder) EnsurePath(context.Context, storepath.Path) error {
	r.record("EnsurePath")
	return nil
}
func (r *recorder) AddTempRoot(context.Context, storepath.Path) error {
	r.record("AddTempRoot")
	return nil
}
func (r *recorder) AddIndirectRoot(_ context.Context, link string) error {
	r.record("AddIndirectRoot %s", link)
	return nil
}
func (r *recorder) AddPermRoot(_ context.Context, _ storepath.Path, link string) (string, error) {
	r.record("AddPermRoot")
	return link, nil
}
func (r *recorder) FindRoots(context.Context) ([]store.Root, error) {
	return []store.Root{{Link: "/proc/1/exe", Path: absent}, {Link: "{temp:1}", Path: absent}, {Link: "/home/me/result", Path: absent}}, nil
}
func (r *recorder) CollectGarbage(_ context.Context, o store.GCOptions) (*store.GCResult, error) {
	r.record("CollectGarbage %d ignore=%v", o.Action, o.IgnoreLiveness)
	return new(store.GCResult), nil
}
func (r *recorder) OptimiseStore(context.Context) error {
	r.record("OptimiseStore")
	return nil
}
func (r *recorder) VerifyStore(_ context.Context, contents, repair bool) (bool, error) {
	r.record("VerifyStore contents=%v repair=%v", contents, repair)
	return false, nil
}

// textOf returns the path of a text without references.
func textOf(name, contents string) storepath.Path {
	path, err := storepath.DefaultDir.TextPath(name, nixhash.Sum(nixhash.SHA256, []byte(contents)), nil)
	if err != nil {
		panic(err)
	}
	return path
}

// A reached is a request that asks for as much as possible, and the parts of it that reach the
// store.
type reached struct {
	req     protocol.Request
	body    []byte
	store   string // the expected records, separated by "; "
	trusted string // the expected records for a trusted client, if they differ
	fails   bool
}

func (w *world) reachable(t *testing.T, p protocol.Params) []reached {
	object, archive := importOf(t, "object")
	object.Ultimate = true
	fixed := fixedDerivation(t)
	drv := storepath.Path("/nix/store/g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-fixed.drv")
	paths := []derivation.DerivedPath{derivation.Opaque{Path: absent}}
	all := map[string]string{"builders": "ssh://x", "sandbox": "false", "timeout": "5", "trusted-public-keys": "x", "substituters": "file:///evil"}
	return []reached{
		{req: &protocol.SetOptionsRequest{Overrides: all}},
		{req: &protocol.IsValidPathRequest{Path: absent}},
		{req: &protocol.QueryReferrersRequest{Path: absent}},
		{req: &protocol.AddToStoreRequest{Name: "a", Method: storepath.Flat, Algorithm: nixhash.SHA256, Repair: true}, body: []byte("x"), store: "AddToStore a 1 repair=false unsigned=false", trusted: "AddToStore a 1 repair=true unsigned=false"},
		{req: &protocol.AddTextToStoreRequest{Name: "a"}, store: "AddTextToStore a"},
		{req: &protocol.BuildPathsRequest{Paths: paths, Mode: store.BuildRepair}, fails: true, trusted: "BuildPaths repair settings=" + fmt.Sprint(all)},
		{req: &protocol.BuildPathsRequest{Paths: paths, Mode: store.BuildCheck}, store: "BuildPaths check settings=map[substituters: timeout:5]", trusted: "BuildPaths check settings=" + fmt.Sprint(all)},
		{req: &protocol.BuildPathsWithResultsRequest{Paths: paths, Mode: store.BuildRepair}, fails: true, trusted: "BuildPathsWithResults repair"},
		{req: &protocol.BuildPathsWithResultsRequest{Paths: paths}, store: "BuildPathsWithResults normal"},
		{req: &protocol.BuildDerivationRequest{Path: drv, Derivation: fixed, Mode: store.BuildRepair}, fails: true, trusted: "BuildDerivation own=false repair"},
		{req: &protocol.BuildDerivationRequest{Path: drv, Derivation: fixed, Mode: store.BuildCheck}, store: "AddTextToStore fixed.drv; BuildDerivation own=true check", trusted: "BuildDerivation own=false check"},
		{req: &protocol.BuildDerivationRequest{Path: w.drv, Derivation: w.derivation}, fails: true, trusted: "BuildDerivation own=true normal"},
		{req: &protocol.EnsurePathRequest{Path: absent}, store: "EnsurePath"},
		{req: &protocol.AddTempRootRequest{Path: absent}, store: "AddTempRoot"},
		{req: &protocol.AddTempRootsRequest{Paths: []storepath.Path{absent}}, store: "AddTempRoot"},
		{req: &protocol.QueryPathInfosRequest{Paths: []storepath.Path{absent}}},
		{req: new(protocol.QueryActiveBuildsRequest)},
		{req: &protocol.AddIndirectRootRequest{Link: "/x/../y"}, store: "AddIndirectRoot /y"},
		{req: &protocol.SyncWithGCRequest{}},
		{req: &protocol.FindRootsRequest{}},
		{req: &protocol.QueryDeriverRequest{Path: w.text}},
		{req: &protocol.CollectGarbageRequest{GCOptions: store.GCOptions{Action: store.GCDeleteDead}}, store: "CollectGarbage 2 ignore=false"},
		{req: &protocol.QuerySubstitutablePathInfoRequest{Path: absent}},
		{req: &protocol.QueryDerivationOutputsRequest{Path: w.drv}},
		{req: &protocol.QueryAllValidPathsRequest{}},
		{req: &protocol.QueryPathInfoRequest{Path: absent}},
		{req: &protocol.QueryDerivationOutputNamesRequest{Path: w.drv}},
		{req: &protocol.QueryPathFromHashPartRequest{HashPart: absent.HashPart()}},
		{req: &protocol.QuerySubstitutablePathInfosRequest{Paths: map[storepath.Path]storepath.ContentAddress{absent: {}}}},
		{req: &protocol.QueryValidPathsRequest{Paths: []storepath.Path{absent}, Substitute: p.Version >= protocol.MakeVersion(27)}},
		{req: &protocol.QuerySubstitutablePathsRequest{Paths: []storepath.Path{absent}}},
		{req: &protocol.QueryValidDeriversRequest{Path: absent}},
		{req: &protocol.OptimiseStoreRequest{}, store: "OptimiseStore"},
		{req: &protocol.VerifyStoreRequest{CheckContents: true, Repair: true}, fails: true, trusted: "VerifyStore contents=true repair=true"},
		{req: &protocol.VerifyStoreRequest{CheckContents: true}, store: "VerifyStore contents=true repair=false"},
		{req: &protocol.AddSignaturesRequest{Path: w.text, Signatures: madeUp(60, "a")}, store: "UpdateSignatures 60", trusted: "AddSignatures 60"},
		{req: &protocol.NarFromPathRequest{Path: absent}, fails: true},
		{req: &protocol.AddToStoreNarRequest{Info: *object, Repair: true, DontCheckSigs: true}, body: archive, store: "AddToStoreNAR object ultimate=false repair=false unsigned=false", trusted: "AddToStoreNAR object ultimate=true repair=true unsigned=true"},
		{req: &protocol.QueryMissingRequest{Paths: paths}},
		{req: &protocol.QueryDerivationOutputMapRequest{Path: w.drv}},
		{req: &protocol.RegisterDrvOutputRequest{Realisation: store.KeyedRealisation{
			ID: store.DrvOutput{Path: drv, Hash: nixhash.Sum(nixhash.SHA256, nil), Output: "out"}, Realisation: store.Realisation{OutPath: absent},
		}}, fails: true, trusted: "RegisterDrvOutput"},
		{req: &protocol.QueryRealisationRequest{ID: store.DrvOutput{Path: drv, Hash: nixhash.Sum(nixhash.SHA256, nil), Output: "out"}}},
		{req: &protocol.AddMultipleToStoreRequest{Repair: true, DontCheckSigs: true}, body: multiple(t, p, object, archive), store: "AddMultipleToStore object ultimate=false repair=false unsigned=false", trusted: "AddMultipleToStore object ultimate=false repair=true unsigned=true"},
		{req: &protocol.AddBuildLogRequest{Path: drv}, body: []byte("x"), fails: true, trusted: "AddBuildLog"},
		{req: &protocol.AddPermRootRequest{Path: absent, Link: "/x"}, fails: true, trusted: "AddPermRoot"},
		{req: &protocol.SubmitOutputRequest{Path: derivation.Opaque{Path: absent}, Output: "out"}, store: "SubmitOutput " + string(absent) + " out"},
		{req: &protocol.AddToStoreScanningRequest{Name: "a", Method: storepath.Flat, Algorithm: nixhash.SHA256}, body: []byte("x"), store: "AddToStoreScanning a 1"},
	}
}

// fixedDerivation returns a derivation that untrusted users may build.
func fixedDerivation(t *testing.T) *derivation.Derivation {
	t.Helper()
	ca, err := storepath.NewContentAddress(storepath.Flat, nixhash.Sum(nixhash.SHA256, []byte("x")))
	if err != nil {
		t.Fatal(err)
	}
	d := &derivation.Derivation{
		Name: "fixed", Dir: storepath.DefaultDir, Platform: "x", Builder: "y",
		Outputs: derivation.MapOf(derivation.Entry[string, derivation.Output]{Key: "out", Value: derivation.FixedOutput(ca, "")}),
		Env:     derivation.MapOf(derivation.Entry[string, string]{Key: "out"}),
	}
	if err := d.FillOutputPaths(nil, nil); err != nil {
		t.Fatal(err)
	}
	return d
}

// Clients call all operations with all flags. Exactly the expected requests reach the store, in
// every version of the protocol.
func TestRequestsReachingStore(t *testing.T) {
	for _, version := range []uint8{18, 21, 22, 24, 29, 34, 38} {
		for _, trust := range []bool{false, true} {
			t.Run(fmt.Sprintf("1.%d,trusted=%v", version, trust), func(t *testing.T) {
				w := newWorld(t)
				r := &recorder{Store: w.s}
				opts := &server.Options{Trusted: trust, Version: protocol.MakeVersion(version), BuildFeatures: protocol.Scanning | protocol.OutputSubmission}
				asked := make(map[protocol.Op]bool)
				var params protocol.Params
				for _, q := range w.reachable(t, dialFeatures(t, r, opts).params) {
					c := dialFeatures(t, r, opts) // a refused request may end the connection
					if params = c.params; c.params.Check(q.req.Op()) != nil {
						continue
					}
					c.reach(t, r, q, trust)
					asked[q.req.Op()] = true
					c.hangUp()
				}
				for _, row := range protocol.Operations() {
					if params.Check(row.Op) == nil && !asked[row.Op] {
						t.Errorf("%s was not called", row.Name)
					}
				}
			})
		}
	}
}

// reach sends a request that asks for too much, and checks the requests that reach the store.
func (c *client) reach(t *testing.T, r *recorder, q reached, trust bool) {
	t.Helper()
	if _, build := q.req.(*protocol.BuildPathsRequest); build {
		all := map[string]string{"builders": "ssh://x", "sandbox": "false", "timeout": "5", "trusted-public-keys": "x", "substituters": "file:///evil"}
		must[*protocol.None](c, &protocol.SetOptionsRequest{Overrides: all}, nil)
	}
	if add, old := q.req.(*protocol.AddToStoreRequest); old && c.params.Version < protocol.MakeVersion(25) {
		plain := *add
		plain.Repair = false
		q.req, q.body = &plain, fileNAR(string(q.body))
		q.trusted = q.store
	}
	want, fails := q.store, q.fails
	if trust && q.trusted != "" {
		want, fails = q.trusted, false
	}
	_, err := c.ask(q.req, q.body)
	if got := strings.Join(r.taken(), "; "); got != want {
		t.Errorf("%s: %q reaches the store, want %q", q.req.Op(), got, want)
	}
	if (err != nil) != fails && q.req.Op() != protocol.QueryDeriver && q.req.Op() != protocol.QueryMissing {
		t.Errorf("%s: %v", q.req.Op(), err)
	}
}

func TestIgnoringLivenessIsRefused(t *testing.T) {
	r := &recorder{Store: memstore.New(nil)}
	for _, opts := range []*server.Options{nil, trusted} {
		c := dial(t, r, opts)
		if _, err := c.ask(&protocol.CollectGarbageRequest{GCOptions: store.GCOptions{IgnoreLiveness: true}}, nil); err == nil {
			t.Error("liveness was ignored")
		}
		if calls := r.taken(); len(calls) > 0 {
			t.Errorf("%q reaches the store", calls)
		}
	}
}
