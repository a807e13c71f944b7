package server_test

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pix/activity"
	"pix/derivation"
	"pix/nixhash"
	"pix/protocol"
	"pix/server"
	"pix/signature"
	"pix/store"
	"pix/storepath"
	"pix/wire"
)

// A question is a request and a check of its reply.
type question struct {
	req   protocol.Request
	body  []byte
	judge func(protocol.Reply) error
	fails string // part of the error, if the request must fail
}

// want returns a check for equality.
func want(reply protocol.Reply) func(protocol.Reply) error {
	return func(got protocol.Reply) error {
		if !reflect.DeepEqual(got, reply) {
			return fmt.Errorf("%+v, want %+v", got, reply)
		}
		return nil
	}
}

// Call every operation twice on one connection, with an error after each, in every version.
func TestEveryOperation(t *testing.T) {
	for minor := uint8(18); minor <= 38; minor++ {
		for _, plain := range []bool{false, true} {
			if plain && minor < 38 {
				continue // older versions have no features
			}
			t.Run(fmt.Sprintf("1.%d,plain=%v", minor, plain), func(t *testing.T) {
				t.Parallel()
				everyOperation(t, &server.Options{Trusted: true, Version: protocol.MakeVersion(minor), NoFeatures: plain})
			})
		}
	}
}

func everyOperation(t *testing.T, opts *server.Options) {
	w := newWorld(t)
	askEverything(t, w, dial(t, w.s, opts), protocol.Params{Version: protocol.MaxVersion, Features: protocol.AllFeatures, Dir: storepath.DefaultDir})
}

// askEverything calls all operations of a server in front of a daemon with the parameters
// behind. If that daemon does not support a request, the server uses other requests, or refuses
// it with the error of an old Nix.
func askEverything(t *testing.T, w *world, c *client, behind protocol.Params) {
	t.Helper()
	asked := make(map[protocol.Op]int)
	failed := 0
	for _, q := range w.questions(t, c.params) {
		if c.params.Check(q.req.Op()) != nil {
			continue
		}
		for range 2 {
			asked[q.req.Op()]++
			reply, err := c.ask(q.req, q.body)
			if isTooOld(behind, q.req) && refusedAsOld(q.req, reply, err) {
			} else if q.fails != "" {
				var said *activity.Error
				if failed++; !errors.As(err, &said) || said.Message != q.fails {
					t.Errorf("%s: %v, want the error %q", q.req.Op(), err, q.fails)
				}
			} else if err != nil {
				t.Fatalf("%s: %v", q.req.Op(), err)
			} else if err := q.judge(reply); err != nil {
				t.Errorf("%s: %v", q.req.Op(), err)
			}
			if q.req.Op() == protocol.NarFromPath && err == nil {
				if got := c.archive(); string(got) != string(fileNAR("a text")) {
					t.Errorf("got another archive: %q", got)
				}
			}
			if valid := must[*protocol.IsValidPathReply](c, &protocol.IsValidPathRequest{Path: w.text}, nil); !valid.Valid {
				t.Fatalf("after %s the stream is out of step", q.req.Op())
			}
		}
	}
	for _, row := range protocol.Operations() {
		if c.params.Check(row.Op) == nil && asked[row.Op] < 2 {
			t.Errorf("%s was not called", row.Name)
		}
	}
	if failed == 0 {
		t.Error("nothing failed")
	}
	if err := c.hangUp(); err != nil {
		t.Errorf("Serve: %v", err)
	}
}

// isTooOld reports whether a request cannot be forwarded to a daemon.
func isTooOld(behind protocol.Params, req protocol.Request) bool {
	if add, ok := req.(*protocol.AddToStoreRequest); ok && add.Method == storepath.Git && behind.Version < protocol.MakeVersion(37) {
		return true
	}
	_, err := behind.AppendRequest(nil, req)
	return errors.Is(err, errors.ErrUnsupported)
}

// refusedAsOld reports whether a request got the reply of a Nix in front of a daemon that is
// too old for it.
func refusedAsOld(req protocol.Request, reply protocol.Reply, err error) bool {
	var said *activity.Error
	switch {
	case errors.As(err, &said):
		return said.Message == fmt.Sprintf("invalid operation %d", req.Op()) || strings.HasPrefix(said.Message, "cannot add by method git")
	case req.Op() == protocol.QueryRealisation:
		return reply.(*protocol.QueryRealisationReply).Realisation == nil
	}
	return false
}

// questions returns the questions in the order in which they are asked.
func (w *world) questions(t testing.TB, p protocol.Params) []question {
	ack, none := want(new(protocol.Ack)), want(new(protocol.None))
	invalid := fmt.Sprintf("path '%s' is not valid", absent)
	info := *w.info(t, w.text)
	unkeyed := info
	unkeyed.Path = ""
	object, archive := importOf(t, "imported", w.text)
	second, secondArchive := importOf(t, "imported-second", object.Path)
	bad := *object
	bad.NARSize, bad.Path = 7, second.Path
	sizeMismatch := fmt.Sprintf("size mismatch importing path '%s';\n  specified: 7\n  got:       %d", bad.Path, len(archive))
	all := []derivation.DerivedPath{derivation.Built{Drv: derivation.Opaque{Path: w.drv}, Outputs: derivation.AllOutputs()}}
	notBuilt := fmt.Sprintf("cannot build '%s': a store in memory does not build", w.drv)

	qs := []question{
		{req: &protocol.SetOptionsRequest{Verbosity: activity.LevelVomit, Overrides: map[string]string{"cores": "1"}}, judge: none},
		{req: &protocol.IsValidPathRequest{Path: absent}, judge: want(&protocol.IsValidPathReply{})},
		{req: &protocol.QueryValidPathsRequest{Paths: []storepath.Path{absent, w.text}}, judge: want(&protocol.PathsReply{Paths: []storepath.Path{w.text}})},
		{req: &protocol.QueryAllValidPathsRequest{}, judge: want(&protocol.PathsReply{Paths: w.all})},
		{req: &protocol.QueryPathInfoRequest{Path: w.text}, judge: want(&protocol.QueryPathInfoReply{Info: &unkeyed})},
		{req: &protocol.QueryPathInfoRequest{Path: absent}, judge: want(new(protocol.QueryPathInfoReply))},
		{req: &protocol.QueryPathInfosRequest{Paths: []storepath.Path{absent, w.text}}, judge: want(&protocol.QueryPathInfosReply{Infos: []store.PathInfo{info}})},
		{req: &protocol.QueryPathInfosRequest{Paths: []storepath.Path{absent}}, judge: want(new(protocol.QueryPathInfosReply))},
		{req: &protocol.QueryPathInfosRequest{}, judge: want(new(protocol.QueryPathInfosReply))},
		{req: &protocol.QueryDeriverRequest{Path: w.text}, judge: want(new(protocol.OptionalPathReply))},
		{req: &protocol.QueryDeriverRequest{Path: absent}, fails: invalid},
		{req: &protocol.QueryReferrersRequest{Path: w.text}, judge: want(&protocol.PathsReply{Paths: sorted(w.referrer, w.drv)})},
		{req: &protocol.QueryValidDeriversRequest{Path: w.out}, judge: want(&protocol.PathsReply{Paths: []storepath.Path{w.drv}})},
		{req: &protocol.QueryPathFromHashPartRequest{HashPart: w.text.HashPart()}, judge: want(&protocol.OptionalPathReply{Path: w.text})},
		{req: &protocol.QueryPathFromHashPartRequest{HashPart: absent.HashPart()}, judge: want(new(protocol.OptionalPathReply))},
		{req: &protocol.QueryPathFromHashPartRequest{HashPart: "short"}, fails: "invalid hash part"},
		{req: &protocol.QueryDerivationOutputMapRequest{Path: w.drv}, judge: want(&protocol.QueryDerivationOutputMapReply{Outputs: map[string]storepath.Path{"out": w.out}})},
		{req: &protocol.QueryDerivationOutputMapRequest{Path: absent}, fails: invalid},
		{req: &protocol.QueryDerivationOutputsRequest{Path: w.drv}, judge: want(&protocol.PathsReply{Paths: []storepath.Path{w.out}})},
		{req: &protocol.QueryDerivationOutputNamesRequest{Path: w.drv}, judge: want(&protocol.QueryDerivationOutputNamesReply{Names: []string{"out"}})},
		{req: &protocol.QuerySubstitutablePathsRequest{Paths: []storepath.Path{absent}}, judge: want(new(protocol.PathsReply))},
		{req: &protocol.QuerySubstitutablePathInfoRequest{Path: absent}, judge: want(new(protocol.QuerySubstitutablePathInfoReply))},
		{req: &protocol.QuerySubstitutablePathInfosRequest{Paths: map[storepath.Path]storepath.ContentAddress{absent: {}}}, judge: want(new(protocol.QuerySubstitutablePathInfosReply))},
		{req: &protocol.QueryMissingRequest{Paths: append(slices.Clone(all), derivation.Opaque{Path: absent})}, judge: want(&protocol.QueryMissingReply{Missing: store.Missing{WillBuild: []storepath.Path{w.drv}, Unknown: []storepath.Path{absent}}})},

		{req: &protocol.AddTextToStoreRequest{Name: "text", Contents: "a text"}, judge: want(&protocol.PathReply{Path: w.text})},
		{req: &protocol.AddTextToStoreRequest{Name: "text", References: []storepath.Path{absent}}, fails: invalid},
		{req: &protocol.AddTextToStoreRequest{Name: ".", Contents: "x"}, fails: storepath.CheckName(".").Error()},
		{req: &protocol.AddToStoreNarRequest{Info: *object, DontCheckSigs: true}, body: archive, judge: none},
		{req: &protocol.AddToStoreNarRequest{Info: bad, DontCheckSigs: true}, body: archive, fails: sizeMismatch},
		{req: &protocol.AddToStoreNarRequest{Info: bad}, body: archive, fails: fmt.Sprintf("cannot add path '%s' because it lacks a signature by a trusted key", bad.Path)},
		{req: &protocol.AddMultipleToStoreRequest{DontCheckSigs: true}, body: multiple(t, p, object, archive, second, secondArchive), judge: none},
		{req: &protocol.AddMultipleToStoreRequest{DontCheckSigs: true, Repair: true}, body: multiple(t, p, object, archive, &bad, archive), fails: sizeMismatch},
		{req: &protocol.AddSignaturesRequest{Path: w.text, Signatures: []string{w.signature}}, judge: ack},
		{req: &protocol.AddSignaturesRequest{Path: absent, Signatures: []string{w.signature}}, fails: invalid},
		{req: &protocol.AddBuildLogRequest{Path: w.drv}, body: []byte("log\n"), judge: ack},
		{req: &protocol.NarFromPathRequest{Path: w.text}, judge: none},
		{req: &protocol.NarFromPathRequest{Path: absent}, fails: invalid},

		{req: &protocol.EnsurePathRequest{Path: w.text}, judge: ack},
		{req: &protocol.EnsurePathRequest{Path: absent}, fails: fmt.Sprintf("path '%s' does not exist and cannot be created", absent)},
		{req: &protocol.BuildPathsRequest{Paths: []derivation.DerivedPath{derivation.Opaque{Path: w.text}}}, judge: ack},
		{req: &protocol.BuildPathsRequest{Paths: all}, fails: notBuilt},
		{req: &protocol.BuildPathsWithResultsRequest{Paths: all}, judge: func(r protocol.Reply) error {
			got := r.(*protocol.BuildPathsWithResultsReply).Results
			if len(got) != 1 || got[0].Status != store.MiscFailure || got[0].Message != notBuilt {
				return fmt.Errorf("%+v", got)
			}
			return nil
		}},
		{req: &protocol.BuildDerivationRequest{Path: w.drv, Derivation: w.derivation}, judge: func(r protocol.Reply) error {
			if got := r.(*protocol.BuildDerivationReply).Result; got.Status != store.MiscFailure || got.Message != notBuilt {
				return fmt.Errorf("%+v", got)
			}
			return nil
		}},

		{req: &protocol.AddTempRootRequest{Path: w.text}, judge: ack},
		{req: &protocol.AddTempRootsRequest{Paths: []storepath.Path{absent, w.text}}, judge: ack},
		{req: &protocol.AddTempRootsRequest{}, judge: ack},
		{req: new(protocol.QueryActiveBuildsRequest), judge: want(&protocol.QueryActiveBuildsReply{JSON: "[]"})},
		{req: &protocol.AddIndirectRootRequest{Link: "/home/me/result"}, judge: ack},
		{req: &protocol.AddIndirectRootRequest{Link: "result"}, fails: "the name of a root must be absolute, but 'result' is not"},
		{req: &protocol.AddPermRootRequest{Path: w.text, Link: "/roots/../roots/a"}, judge: want(&protocol.AddPermRootReply{Link: "/roots/a"})},
		{req: &protocol.FindRootsRequest{}, judge: func(r protocol.Reply) error {
			if roots := r.(*protocol.FindRootsReply).Roots; !slices.ContainsFunc(roots, func(r store.Root) bool { return r.Path == w.text }) {
				return fmt.Errorf("%v", roots)
			}
			return nil
		}},
		{req: &protocol.CollectGarbageRequest{GCOptions: store.GCOptions{Action: store.GCReturnDead, MaxFreed: 1}}, judge: func(r protocol.Reply) error {
			if dead := r.(*protocol.CollectGarbageReply).Paths; !slices.Contains(dead, string(w.referrer)) || slices.Contains(dead, string(w.text)) {
				return fmt.Errorf("%q", dead)
			}
			return nil
		}},
		{req: &protocol.CollectGarbageRequest{GCOptions: store.GCOptions{IgnoreLiveness: true}}, fails: "you are not allowed to ignore liveness"},
		{req: &protocol.SyncWithGCRequest{}, judge: ack},
		{req: &protocol.OptimiseStoreRequest{}, judge: ack},
		{req: &protocol.VerifyStoreRequest{CheckContents: true}, judge: want(new(protocol.VerifyStoreReply))},
	}
	return slices.Concat(qs, w.addQuestions(t, p), w.realisationQuestions(p))
}

// addQuestions returns the questions about AddToStore in the form of the version.
func (w *world) addQuestions(t testing.TB, p protocol.Params) []question {
	source := &protocol.AddToStoreRequest{Name: "source", Method: storepath.NAR, Algorithm: nixhash.SHA256}
	flat := &protocol.AddToStoreRequest{Name: "flat", Method: storepath.Flat, Algorithm: nixhash.SHA1}
	contents := []byte("flat")
	if p.Version < protocol.MakeVersion(25) {
		contents = fileNAR("flat")
	}
	path := func(m storepath.Method, name string, h nixhash.Hash) func(protocol.Reply) error {
		ca, err := storepath.NewContentAddress(m, h)
		if err != nil {
			t.Fatal(err)
		}
		path, err := storepath.DefaultDir.FixedOutputPath(name, ca, storepath.References{})
		if err != nil {
			t.Fatal(err)
		}
		return func(r protocol.Reply) error {
			if got := r.(*protocol.AddToStoreReply).Info.Path; got != path {
				return fmt.Errorf("%s, want %s", got, path)
			}
			return nil
		}
	}
	qs := []question{
		{req: source, body: fileNAR("source"), judge: path(storepath.NAR, "source", nixhash.Sum(nixhash.SHA256, fileNAR("source")))},
		{req: flat, body: contents, judge: path(storepath.Flat, "flat", nixhash.Sum(nixhash.SHA1, []byte("flat")))},
	}
	if p.Version >= protocol.MakeVersion(25) {
		refers := *flat
		refers.Method, refers.Algorithm, refers.References = storepath.Text, nixhash.SHA256, []storepath.Path{absent}
		git := *source
		git.Method = storepath.Git
		qs = append(qs,
			question{req: &refers, body: make([]byte, 100_000), fails: fmt.Sprintf("path '%s' is not valid", absent)},
			question{req: &git, body: make([]byte, 100_000), fails: "git hashing is not supported by a store in memory"})
	}
	return qs
}

func (w *world) realisationQuestions(p protocol.Params) []question {
	id := store.DrvOutput{Hash: nixhash.Sum(nixhash.SHA256, nil), Output: "out"}
	unknown := store.DrvOutput{Hash: id.Hash, Output: "dev"}
	reply := &store.KeyedRealisation{ID: id, Realisation: store.Realisation{OutPath: w.text}}
	if p.Features.Has(protocol.RealisationWithPath) {
		id, unknown = store.DrvOutput{Path: w.drv, Output: "out"}, store.DrvOutput{Path: w.drv, Output: "dev"}
		reply.ID = store.DrvOutput{}
	}
	return []question{
		{req: &protocol.RegisterDrvOutputRequest{Realisation: store.KeyedRealisation{ID: id, Realisation: store.Realisation{OutPath: w.text}}}, judge: want(new(protocol.None))},
		{req: &protocol.QueryRealisationRequest{ID: id}, judge: want(&protocol.QueryRealisationReply{Realisation: reply})},
		{req: &protocol.QueryRealisationRequest{ID: unknown}, judge: want(new(protocol.QueryRealisationReply))},
		{req: &protocol.RegisterDrvOutputRequest{Realisation: store.KeyedRealisation{ID: id, Realisation: store.Realisation{OutPath: absent}}}, fails: fmt.Sprintf("path '%s' is not valid", absent)},
	}
}

// multiple returns the stream of AddMultipleToStore.
func multiple(t testing.TB, p protocol.Params, objects ...any) []byte {
	b := wire.AppendUint64(nil, uint64(len(objects)/2))
	for i := 0; i < len(objects); i += 2 {
		var err error
		if b, err = p.AppendPathInfo(b, objects[i].(*store.PathInfo)); err != nil {
			t.Fatal(err)
		}
		b = append(b, objects[i+1].([]byte)...)
	}
	return b
}

// A world is a store with known objects.
type world struct {
	s              store.Store
	text, referrer storepath.Path
	drv, out       storepath.Path // out is not valid
	derivation     *derivation.Derivation
	all            []storepath.Path
	signature      string
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := new(world)
	s, text, referrer := newStore(t)
	w.s, w.text, w.referrer = s, text, referrer
	d := &derivation.Derivation{
		Name: "drv", Dir: storepath.DefaultDir, Platform: "x86_64-linux", Builder: "/bin/sh",
		Outputs:      derivation.MapOf(derivation.Entry[string, derivation.Output]{Key: "out", Value: derivation.DeferredOutput()}),
		Env:          derivation.MapOf(derivation.Entry[string, string]{Key: "out"}),
		InputSources: derivation.SetOf(text),
	}
	if err := d.FillOutputPaths(nil, nil); err != nil {
		t.Fatal(err)
	}
	o, _ := d.Outputs.Get("out")
	var err error
	if w.drv, err = s.AddTextToStore(t.Context(), "drv.drv", string(d.AppendATerm(nil)), d.References().Slice()); err != nil {
		t.Fatal(err)
	}
	w.derivation, w.out = d, o.Path()
	w.all = sorted(text, referrer, w.drv)
	key, err := signature.GenerateKey("test-1")
	if err != nil {
		t.Fatal(err)
	}
	w.signature = key.Sign([]byte("anything")).String()
	return w
}

func (w *world) info(t testing.TB, path storepath.Path) *store.PathInfo {
	t.Helper()
	info, err := w.s.QueryPathInfo(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	return info
}

func sorted(paths ...storepath.Path) []storepath.Path { return slices.Sorted(slices.Values(paths)) }
