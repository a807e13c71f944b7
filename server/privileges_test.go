package server_test

import (
	"bytes"
	"context"
	"io"
	"strings"
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

var trusted = &server.Options{Trusted: true}

// A client of a proxy is not trusted if the upstream daemon does not trust the proxy.
type distrusted struct{ store.Store }

func (distrusted) Trust() protocol.Trust { return protocol.NotTrusted }

func TestTrustOfTheStore(t *testing.T) {
	s, text, _ := newStore(t)
	c := dial(t, distrusted{s}, trusted)
	if c.greet.Trust != protocol.NotTrusted {
		t.Errorf("%s", c.greet.Trust)
	}
	c.send(&protocol.AddPermRootRequest{Path: text, Link: "/x"})
	c.refused("you are not privileged to create perm roots")
}

func TestUntrustedIsRefusedBeforeWork(t *testing.T) {
	s, text, _ := newStore(t)
	paths := []derivation.DerivedPath{derivation.Opaque{Path: text}}
	for _, req := range []protocol.Request{
		&protocol.BuildPathsRequest{Paths: paths, Mode: store.BuildRepair},
		&protocol.BuildPathsWithResultsRequest{Paths: paths, Mode: store.BuildRepair},
	} {
		c := dial(t, s, nil)
		c.send(req)
		c.refused("repairing is not allowed because you are not in 'trusted-users'")
	}
	c := dial(t, s, nil)
	c.send(&protocol.AddPermRootRequest{Path: text, Link: "/x"})
	c.refused("you are not privileged to create perm roots")
}

// A forbidden request of an untrusted client is an error, and the connection stays in step.
func TestUntrustedIsRefusedDuringWork(t *testing.T) {
	w := newWorld(t)
	object, archive := importOf(t, "unsigned")
	object.Ultimate = true
	for _, minor := range []uint8{22, 38} {
		c := dial(t, w.s, &server.Options{Version: protocol.MakeVersion(minor)})
		for _, q := range []question{
			{req: &protocol.AddToStoreNarRequest{Info: *object, DontCheckSigs: true}, body: archive, fails: "lacks a signature by a trusted key"},
			{req: &protocol.AddMultipleToStoreRequest{DontCheckSigs: true}, body: multiple(t, c.params, object, archive), fails: "lacks a signature by a trusted key"},
			{req: &protocol.AddBuildLogRequest{Path: w.drv}, body: make([]byte, 1<<20), fails: "you are not privileged to add logs"},
			{req: &protocol.BuildDerivationRequest{Path: w.drv, Derivation: w.derivation}, fails: "you are not privileged to build input-addressed derivations"},
			{req: &protocol.VerifyStoreRequest{Repair: true}, fails: "you are not privileged to repair paths"},
			{req: &protocol.RegisterDrvOutputRequest{Realisation: store.KeyedRealisation{
				ID:          store.DrvOutput{Path: w.drv, Output: "out"},
				Realisation: store.Realisation{OutPath: w.text},
			}}, fails: "you are not a trusted user"},
		} {
			if c.params.Check(q.req.Op()) != nil {
				continue
			}
			if _, err := c.ask(q.req, q.body); err == nil || !strings.Contains(err.Error(), q.fails) {
				t.Errorf("%s in %s: %v, want %q", q.req.Op(), c.params.Version, err, q.fails)
			}
			if !must[*protocol.IsValidPathReply](c, &protocol.IsValidPathRequest{Path: w.text}, nil).Valid {
				t.Fatalf("after %s the connection is out of step", q.req.Op())
			}
		}
		if must[*protocol.IsValidPathReply](c, &protocol.IsValidPathRequest{Path: object.Path}, nil).Valid {
			t.Error("an unsigned object was accepted")
		}
	}
}

func TestUntrustedMayAddSignedObjects(t *testing.T) {
	key, err := signature.GenerateKey("test-1")
	if err != nil {
		t.Fatal(err)
	}
	s := memstore.New(&memstore.Options{TrustedKeys: signature.NewKeySet(key.Public())})
	c := dial(t, s, nil)
	object, archive := importOf(t, "signed")
	object.Ultimate = true
	if err := object.Sign(key); err != nil {
		t.Fatal(err)
	}
	must[*protocol.None](c, &protocol.AddToStoreNarRequest{Info: *object}, archive)
	info, err := s.QueryPathInfo(t.Context(), object.Path)
	if err != nil || info.Ultimate {
		t.Errorf("%+v, %v: an untrusted client has set Ultimate", info, err)
	}
}

// An object with a weak content address and without a signature is accepted only from a trusted
// client.
func TestWeakContentAddress(t *testing.T) {
	src := memstore.New(nil)
	path, err := storepath.DefaultDir.MakePath("output:out", nixhash.Sum(nixhash.SHA256, nil), "self")
	if err != nil {
		t.Fatal(err)
	}
	archive := fileNAR("I am " + string(path))
	self := &store.PathInfo{
		Path: path, NARHash: nixhash.Sum(nixhash.SHA256, archive), NARSize: uint64(len(archive)), References: []storepath.Path{path},
	}
	if err := src.AddToStoreNAR(t.Context(), self, bytes.NewReader(archive), &store.AddOptions{NoSignatures: true}); err != nil {
		t.Fatal(err)
	}
	made, err := store.MakeContentAddressed(t.Context(), src, src, []storepath.Path{path}, store.Rules234)
	if err != nil {
		t.Fatal(err)
	}
	object, err := src.QueryPathInfo(t.Context(), made[path])
	if err != nil {
		t.Fatal(err)
	}
	r, err := src.NARFromPath(t.Context(), object.Path)
	if err != nil {
		t.Fatal(err)
	}
	if archive, err = io.ReadAll(r); err != nil {
		t.Fatal(err)
	}
	for _, trusted := range []bool{false, true} {
		c := dial(t, memstore.New(nil), &server.Options{Trusted: trusted})
		_, err := c.ask(&protocol.AddToStoreNarRequest{Info: *object}, archive)
		if taken := err == nil; taken != trusted {
			t.Errorf("trusted: %v, accepted: %v (%v)", trusted, taken, err)
		}
	}
}

// The keys that a trusted client sets apply to its uploads instead of the keys of the store.
func TestKeysOfTrustedClient(t *testing.T) {
	key, err := signature.GenerateKey("test-1")
	if err != nil {
		t.Fatal(err)
	}
	other, err := signature.GenerateKey("other-1")
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		trusted, sets bool
		keys          signature.KeySet
		sign          signature.SecretKey
		taken         bool
	}{
		"its key":                   {true, true, signature.NewKeySet(other.Public()), other, true},
		"its key, nothing set":      {true, false, signature.NewKeySet(other.Public()), other, false},
		"the store's":               {true, true, signature.NewKeySet(other.Public()), key, false},
		"no keys":                   {true, true, signature.KeySet{}, key, false},
		"none of its own":           {true, true, nil, key, true},
		"a client without trust":    {false, true, signature.NewKeySet(other.Public()), other, false},
		"the store's without trust": {false, true, signature.NewKeySet(other.Public()), key, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := memstore.New(&memstore.Options{TrustedKeys: signature.NewKeySet(key.Public())})
			conn := dial(t, s, &server.Options{Trusted: c.trusted, TrustedKeys: func(set *protocol.SetOptionsRequest) (signature.KeySet, error) {
				return c.keys, nil
			}})
			if c.sets {
				must[*protocol.None](conn, &protocol.SetOptionsRequest{Overrides: map[string]string{"trusted-public-keys": "…"}}, nil)
			}
			object, archive := importOf(t, "signed")
			if err := object.Sign(c.sign); err != nil {
				t.Fatal(err)
			}
			_, err := conn.ask(&protocol.AddToStoreNarRequest{Info: *object}, archive)
			if taken := err == nil; taken != c.taken {
				t.Errorf("accepted: %v (%v)", taken, err)
			}
		})
	}
}

func TestUntrustedBuildOfFixedOutput(t *testing.T) {
	var built storepath.Path
	s := memstore.New(&memstore.Options{Build: func(ctx context.Context, s *memstore.Store, path storepath.Path, d *derivation.Derivation) error {
		built = path
		_, err := s.AddToStore(ctx, d.Name, storepath.Flat, nixhash.SHA256, nil, strings.NewReader("x"), nil)
		return err
	}})
	d := newFixed(t)
	own, err := d.Path()
	if err != nil {
		t.Fatal(err)
	}
	c := dial(t, s, nil)
	claimed := storepath.Path("/nix/store/g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-fixed.drv")
	reply := must[*protocol.BuildDerivationReply](c, &protocol.BuildDerivationRequest{Path: claimed, Derivation: d}, nil)
	if reply.Result.Status != store.Built || built != own {
		t.Errorf("%+v, built as %s, want %s", reply.Result, built, own)
	}
	if out := reply.Result.Outputs["out"].OutPath; out == "" {
		t.Error("the reply does not have the output")
	}
}
