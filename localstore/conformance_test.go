package localstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"pix/derivation"
	"pix/nar"
	"pix/nixhash"
	"pix/signature"
	"pix/store"
	"pix/store/memstore"
	"pix/storepath"
)

// A transcript contains the answers of a store.
type transcript struct {
	t     *testing.T
	s     store.Store
	lines []string
}

// record records an answer. Of an error it records only the kind, because the text may differ.
func (r *transcript) record(what string, answer any, err error) {
	var cycle *store.ReferenceCycleError
	var mismatch *store.MismatchError
	switch {
	case err == nil:
	case errors.Is(err, store.ErrNotFound):
		answer = "not found"
	case errors.As(err, &mismatch):
		answer = "mismatch of the " + mismatch.What
	case errors.As(err, &cycle):
		answer = "cycle"
	default:
		answer = "error"
	}
	if info, ok := answer.(*store.PathInfo); ok && info != nil {
		if time.Since(info.RegistrationTime) > time.Hour {
			r.t.Errorf("%s: registered at %v", what, info.RegistrationTime)
		}
		clone := *info
		clone.RegistrationTime = time.Time{}
		answer = fmt.Sprintf("%+v", clone)
	}
	r.lines = append(r.lines, fmt.Sprintf("%s: %v", what, answer))
}

// A store in a directory gives the same answers as a store in memory.
func TestConformance(t *testing.T) {
	key, err := signature.GenerateKey("key-1")
	if err != nil {
		t.Fatal(err)
	}
	trusted := signature.NewKeySet(key.Public())
	local := open(t, Options{Root: t.TempDir(), TrustedKeys: trusted})
	want := &transcript{t: t, s: memstore.New(&memstore.Options{TrustedKeys: trusted})}
	got := &transcript{t: t, s: local}
	for _, r := range []*transcript{want, got} {
		r.adding(key)
		r.derivations()
		r.asking()
	}
	for i := range max(len(want.lines), len(got.lines)) {
		if i >= len(want.lines) || i >= len(got.lines) || want.lines[i] != got.lines[i] {
			t.Fatalf("answer %d of %d and %d\nin memory:      %s\nin a directory: %s", i, len(want.lines), len(got.lines),
				strings.Join(want.lines[min(i, len(want.lines)):min(i+1, len(want.lines))], ""), strings.Join(got.lines[min(i, len(got.lines)):min(i+1, len(got.lines))], ""))
		}
	}
	if len(want.lines) < 100 {
		t.Errorf("only %d answers", len(want.lines))
	}
}

func (r *transcript) adding(key signature.SecretKey) {
	ctx := r.t.Context()
	dep, err := store.AddText(ctx, r.s, "dep", "dep", nil)
	r.record("text", dep, err)
	for _, m := range []storepath.Method{storepath.Text, storepath.Flat, storepath.NAR} {
		for _, a := range []nixhash.Algorithm{nixhash.MD5, nixhash.SHA1, nixhash.SHA256, nixhash.SHA512, nixhash.BLAKE3} {
			for _, refs := range [][]storepath.Path{nil, {dep}, {dep, dep}, {absent}} {
				for _, contents := range []string{"", "x", string(treeNAR()), string(treeNAR())[:100], string(fileNAR("x"))} {
					info, err := store.Add(ctx, r.s, "x", m, a, refs, strings.NewReader(contents), nil)
					r.record(fmt.Sprint("add ", m, a, refs, len(contents)), info, err)
				}
			}
		}
	}
	for _, name := range []string{"", ".", "..", "a b", "a/b", strings.Repeat("x", 212), strings.Repeat("x", 211), "ä", "x.drv", "x.lock"} {
		p, err := store.AddText(ctx, r.s, name, "x", nil)
		r.record("name "+name, p, err)
	}
	for i, change := range []func(*store.PathInfo){
		func(*store.PathInfo) {},
		func(i *store.PathInfo) { i.Sign(key) },
		func(i *store.PathInfo) { i.Sign(key); i.NARSize++ },
		func(i *store.PathInfo) { i.NARSize--; i.Sign(key) },
		func(i *store.PathInfo) { i.NARHash = nixhash.Sum(nixhash.SHA256, nil); i.Sign(key) },
		func(i *store.PathInfo) { i.References = []storepath.Path{absent}; i.Sign(key) },
		func(i *store.PathInfo) { i.References = []storepath.Path{i.Path, dep, i.Path}; i.Sign(key) },
		func(i *store.PathInfo) { i.Deriver = absent + ".drv"; i.Ultimate = true; i.Sign(key) },
		func(i *store.PathInfo) { i.Signatures = []string{"nonsense"} },
		func(i *store.PathInfo) { i.Path += ".drv"; i.Sign(key) },
	} {
		for _, repair := range []bool{false, true} {
			info, archive := object(r.t, fmt.Sprint("object", i))
			change(info)
			info.Signatures = slices.Clone(info.Signatures)
			r.record("NAR", "", store.AddNAR(ctx, r.s, info, bytes.NewReader(archive), &store.AddOptions{Repair: repair}))
			known, err := r.s.QueryPathInfo(ctx, info.Path)
			if err == nil {
				known.Signatures = nil // the key differs in each run
			}
			r.record("its info", known, err)
		}
	}
	sig := "another-1:" + strings.Repeat("A", 86) + "=="
	for _, c := range []struct {
		path storepath.Path
		sigs []string
	}{{dep, []string{sig, sig}}, {dep, []string{sig}}, {dep, []string{"nonsense"}}, {dep, nil}, {absent, []string{sig}}} {
		r.record("sign", "", store.AddSignatures(ctx, r.s, c.path, c.sigs))
		info, err := r.s.QueryPathInfo(ctx, dep)
		r.record("signed", info, err)
	}
}

// addDerivation adds a derivation with one output, and records the answer.
func (r *transcript) addDerivation(d *derivation.Derivation) storepath.Path {
	ctx := r.t.Context()
	d.Dir, d.Platform, d.Builder = r.s.Dir(), "x", "/b"
	closure, err := derivation.LoadClosure(ctx, store.Derivations(r.s), slices.Collect(d.InputDerivations.Keys()), nil)
	if err != nil {
		r.t.Fatal(err)
	}
	inputs, err := closure.InputHashes(ctx)
	if err == nil {
		err = d.FillOutputPaths(inputs, nil)
	}
	if err != nil {
		r.t.Fatal(err)
	}
	p, err := store.AddText(ctx, r.s, d.Name+".drv", string(d.AppendATerm(nil)), d.References().Slice())
	r.record("derivation "+d.Name, p, err)
	return p
}

func (r *transcript) derivations() {
	ctx := r.t.Context()
	one := func(o derivation.Output) derivation.Map[string, derivation.Output] {
		return derivation.MapOf(derivation.Entry[string, derivation.Output]{Key: "out", Value: o})
	}
	env := func(out string) derivation.Map[string, string] {
		return derivation.MapOf(derivation.Entry[string, string]{Key: "out", Value: out})
	}
	inputs := func(paths ...storepath.Path) (m derivation.Map[storepath.Path, derivation.InputOutputs]) {
		for _, p := range paths {
			m.Set(p, derivation.OutputsOf("out"))
		}
		return m
	}
	first := r.addDerivation(&derivation.Derivation{Name: "first", Outputs: one(derivation.DeferredOutput()), Env: env("")})
	second := r.addDerivation(&derivation.Derivation{Name: "second", Outputs: one(derivation.DeferredOutput()), Env: env(""), InputDerivations: inputs(first)})
	floating := r.addDerivation(&derivation.Derivation{Name: "floating", Outputs: one(derivation.FloatingOutput(storepath.NAR, nixhash.SHA256)), Env: env(string(storepath.OwnPlaceholder("out")))})
	deferred := r.addDerivation(&derivation.Derivation{Name: "deferred", Outputs: one(derivation.DeferredOutput()), Env: env(""), InputDerivations: inputs(floating, second)})
	out, err := store.AddText(ctx, r.s, "realised", "x", nil)
	r.record("text", out, err)
	realisations, _ := store.As[store.RealisationStore](r.s)
	for _, c := range []store.KeyedRealisation{
		{ID: store.DrvOutput{Path: floating, Output: "out"}, Realisation: store.Realisation{OutPath: absent}},
		{ID: store.DrvOutput{Path: floating, Output: "out"}, Realisation: store.Realisation{OutPath: out}},
		{ID: store.DrvOutput{Path: floating, Output: "out"}, Realisation: store.Realisation{OutPath: out}},
		{ID: store.DrvOutput{Path: floating, Output: "out"}, Realisation: store.Realisation{OutPath: first}},
		{ID: store.DrvOutput{Hash: nixhash.Sum(nixhash.SHA256, nil), Output: "dev"}, Realisation: store.Realisation{OutPath: out}},
	} {
		r.record("realise", "", realisations.RegisterDrvOutput(ctx, c))
		known, err := realisations.QueryRealisation(ctx, c.ID)
		r.record("realised", known, err)
	}
	for _, drv := range []storepath.Path{first, second, floating, deferred} {
		outputs, err := store.OutputMap(ctx, r.s, drv)
		r.record("outputs", outputs, err)
		for _, p := range outputs {
			derivers, err := store.ValidDerivers(ctx, r.s, p)
			r.record("derivers", derivers, err)
		}
		missing, err := store.QueryMissing(ctx, r.s, []derivation.DerivedPath{
			derivation.Built{Drv: derivation.Opaque{Path: drv}, Outputs: derivation.AllOutputs()}, derivation.Opaque{Path: drv}, derivation.Opaque{Path: absent},
		})
		r.record("missing", fmt.Sprintf("%+v", missing), err)
	}
	wrong := strings.ReplaceAll(`Derive([("out","PATH","","")],[],[],"x","/b",[],[("out","PATH")])`, "PATH", string(absent))
	p, err := store.AddText(ctx, r.s, "wrong.drv", wrong, nil)
	r.record("wrong derivation", p, err)
}

func (r *transcript) asking() {
	ctx := r.t.Context()
	all, err := store.AllValidPaths(ctx, r.s)
	r.record("all", all, err)
	for _, p := range append(all, absent) {
		info, err := r.s.QueryPathInfo(ctx, p)
		if err == nil {
			info.Signatures = nil
		}
		r.record("info", info, err)
		valid, err := r.s.IsValidPath(ctx, p)
		r.record("valid", valid, err)
		referrers, err := store.Referrers(ctx, r.s, p)
		r.record("referrers", referrers, err)
		byHash, _ := store.As[store.HashPartQuerier](r.s)
		found, err := byHash.QueryPathFromHashPart(ctx, p.HashPart())
		r.record("by hash part", found, err)
		r.record("archive", r.archive(ctx, p), nil)
	}
	valid, err := r.s.QueryValidPaths(ctx, append(slices.Clone(all), absent, all[0]), false)
	r.record("valid", valid, err)
	infos, err := store.PathInfos(ctx, r.s, all)
	r.record("infos", len(infos), err)
	_, err = store.PathInfos(ctx, r.s, []storepath.Path{all[0], absent})
	r.record("infos", "", err)
}

// archive returns the hash of an archive, or the error.
func (r *transcript) archive(ctx context.Context, p storepath.Path) string {
	archive, err := store.ReadNAR(ctx, r.s, p)
	if errors.Is(err, store.ErrNotFound) {
		return "not found"
	}
	if err != nil {
		return err.Error()
	}
	defer archive.Close()
	h := nar.NewHasher(nixhash.SHA256)
	if _, err := io.Copy(h, archive); err != nil {
		return err.Error()
	}
	return h.Hash().String()
}
