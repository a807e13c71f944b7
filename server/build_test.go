package server_test

import (
	"context"
	"strings"
	"testing"

	"pix/derivation"
	"pix/nixhash"
	"pix/protocol"
	"pix/server"
	"pix/store"
	"pix/store/memstore"
	"pix/storepath"
)

// newFixed returns a derivation with a fixed output, whose contents are "x".
func newFixed(t testing.TB) *derivation.Derivation {
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

// builders returns a store that builds such derivations and counts the builds.
func builders(built *int) *memstore.Store {
	return memstore.New(&memstore.Options{Build: func(ctx context.Context, s *memstore.Store, _ storepath.Path, d *derivation.Derivation) error {
		*built++
		_, err := s.AddToStore(ctx, d.Name, storepath.Flat, nixhash.SHA256, nil, strings.NewReader("x"), nil)
		return err
	}})
}

// A client up to Nix 2.34 gets the built outputs with the hash of the derivation. Its
// build-remote registers them with that hash.
func TestBuiltOutputsHaveTheirHash(t *testing.T) {
	var built int
	s := builders(&built)
	d := newFixed(t)
	path, err := store.AddText(t.Context(), s, "fixed.drv", d.String(), nil)
	if err != nil {
		t.Fatal(err)
	}
	want, err := s.DrvHash(t.Context(), path)
	if err != nil || want.IsZero() {
		t.Fatal(want, err)
	}
	c := dial(t, s, &server.Options{Trusted: true, NoFeatures: true})
	one := must[*protocol.BuildDerivationReply](c, &protocol.BuildDerivationRequest{Path: path, Derivation: d}, nil)
	if one.Result.DrvHash != want || len(one.Result.Outputs) != 1 {
		t.Errorf("BuildDerivation: %+v", one.Result)
	}
	all := derivation.Built{Drv: derivation.Opaque{Path: path}, Outputs: derivation.AllOutputs()}
	many := must[*protocol.BuildPathsWithResultsReply](c, &protocol.BuildPathsWithResultsRequest{Paths: []derivation.DerivedPath{all, derivation.Opaque{Path: path}}}, nil)
	if r := many.Results; len(r) != 2 || r[0].DrvHash != want || !r[1].DrvHash.IsZero() {
		t.Errorf("BuildPathsWithResults: %+v", r)
	}
}

// An untrusted user cannot repair a path.
func TestUntrustedRepairOfDerivation(t *testing.T) {
	var built int
	c := dial(t, builders(&built), nil)
	path, err := newFixed(t).Path()
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.ask(&protocol.BuildDerivationRequest{Path: path, Derivation: newFixed(t), Mode: store.BuildRepair}, nil)
	if err == nil || !strings.Contains(err.Error(), "repairing is not allowed because you are not in 'trusted-users'") || built != 0 {
		t.Errorf("%v, %d builds", err, built)
	}
	must[*protocol.BuildDerivationReply](c, &protocol.BuildDerivationRequest{Path: path, Derivation: newFixed(t)}, nil)
}
