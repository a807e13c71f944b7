package substitute_test

import (
	"bytes"
	"io"
	"slices"
	"strings"
	"testing"

	"pix/derivation"
	"pix/nar"
	"pix/nixhash"
	"pix/store"
	"pix/store/memstore"
	"pix/storepath"
	"pix/substitute"
)

// fixed adds a derivation with a fixed output to a store.
func fixed(t *testing.T, s store.Store, name string, ca storepath.ContentAddress) (drv, out storepath.Path) {
	t.Helper()
	d := &derivation.Derivation{Name: name, Dir: storepath.DefaultDir, Platform: "x", Builder: "/bin/sh"}
	d.Outputs.Set("out", derivation.FixedOutput(ca, ""))
	d.Env.Set("out", "")
	if err := d.FillOutputPaths(nil, nil); err != nil {
		t.Fatal(err)
	}
	drv, err := store.AddText(t.Context(), s, name+".drv", d.String(), nil)
	if err != nil {
		t.Fatal(err)
	}
	outputs, err := store.OutputMap(t.Context(), s, drv)
	if err != nil {
		t.Fatal(err)
	}
	return drv, outputs["out"]
}

// A substituter with another store directory provides objects that are content-addressed and have no
// references, and no others.
func TestOtherStoreDirectory(t *testing.T) {
	other := memstore.New(&memstore.Options{Dir: "/fnord/store"})
	plain, err := other.AddToStore(t.Context(), "plain", storepath.Flat, nixhash.SHA256, nil, strings.NewReader("contents"), nil)
	if err != nil {
		t.Fatal(err)
	}
	lib, err := other.AddTextToStore(t.Context(), "lib", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	referring, err := other.AddToStore(t.Context(), "referring", storepath.NAR, nixhash.SHA256, []storepath.Path{lib}, archiveOf(string(lib)), nil)
	if err != nil {
		t.Fatal(err)
	}
	s := local(t, &substitute.Settings{Substituters: []substitute.Substituter{{Store: other, URI: "test://other"}}})
	drv, out := fixed(t, s, "plain", plain.CA)
	missing, err := s.QueryMissing(t.Context(), []derivation.DerivedPath{outputsOf(drv)})
	if err != nil || !slices.Equal(missing.WillSubstitute, []storepath.Path{out}) || len(missing.WillBuild)+len(missing.Unknown) > 0 {
		t.Errorf("missing: %+v, %v", missing, err)
	}
	if results := build(t, t.Context(), s, outputsOf(drv)); results[0].Status != store.Substituted {
		t.Errorf("%+v", results)
	}
	checkValid(t, s, true, out)
	verifier, _ := store.As[store.Verifier](s)
	if bad, err := verifier.VerifyStore(t.Context(), true, false); bad || err != nil {
		t.Error(bad, err)
	}
	drv, out = fixed(t, s, "referring", referring.CA)
	if results := build(t, t.Context(), s, outputsOf(drv)); results[0].Status.Succeeded() {
		t.Errorf("%+v", results)
	}
	checkValid(t, s, false, out)
	here, err := storepath.DefaultDir.FixedOutputPath("plain", plain.CA, storepath.References{})
	if err != nil {
		t.Fatal(err)
	}
	for ca, want := range map[storepath.ContentAddress]int{plain.CA: 1, {}: 0} {
		infos, err := s.QuerySubstitutablePathInfos(t.Context(), map[storepath.Path]storepath.ContentAddress{here: ca})
		if err != nil || len(infos) != want || want > 0 && infos[0].Path != here {
			t.Errorf("%+v, %v", infos, err)
		}
	}
}

// archiveOf returns the archive of a file.
func archiveOf(contents string) io.Reader {
	var archive bytes.Buffer
	w := nar.NewWriter(&archive)
	w.WriteEntry(nar.Entry{Kind: nar.Regular, Size: uint64(len(contents))})
	io.WriteString(w, contents)
	w.Close()
	return &archive
}
