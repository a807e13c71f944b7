package builder

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pix/derivation"
	"pix/localstore"
	"pix/nixhash"
	"pix/signature"
	"pix/store"
	"pix/storepath"
)

func floating(names ...string) map[string]derivation.Output {
	outputs := make(map[string]derivation.Output)
	for _, name := range names {
		outputs[name] = derivation.FloatingOutput(storepath.NAR, nixhash.SHA256)
	}
	return outputs
}

// Nix 2.34.8 has built these outputs under these scratch paths, and has given them these paths. Later versions hash the positions of
// self-references, too.
func TestFloatingGolden(t *testing.T) {
	for _, rules := range []store.Rules{store.Rules234, store.Rules236} {
		s := openStore(t, localstore.Options{Root: t.TempDir(), Rules: rules})
		f := newFixture(t, s, newDerivation(t, "caf", nil, floating("out", "dev")))
		f.output("out").scratch = "/nix/store/qxg4cn253i2q5ag323b48zsv0b8sh42f-caf"
		f.output("dev").scratch = "/nix/store/pf7ifqvf8yk2724s1p8mqqmywak5d290-caf-dev"
		f.write("out", fmt.Sprintf("self %[1]s %[1]s\n", f.output("out").scratch))
		f.write("dev", string(f.output("out").scratch)+"\n")
		outputs := f.finish()
		out, dev := outputs["out"].OutPath, outputs["dev"].OutPath
		if rules == store.Rules234 && (out != "/nix/store/s2r6xy113b5azjn1f4js3jn1i45axlm6-caf" || dev != "/nix/store/nh3k63blkh2p9f5mzqbqwyzqfrx0xv7k-caf-dev") ||
			rules == store.Rules236 && !strings.HasPrefix(string(out), "/nix/store/vxm5df") {
			t.Errorf("rules %v: %s and %s", rules, out, dev)
		}
		if got, want := f.contents(out), fmt.Sprintf("self %[1]s %[1]s\n", out); got != want {
			t.Errorf("out is %q", got)
		}
		if info := f.info(dev); !slices.Equal(info.References, []storepath.Path{out}) || !info.IsContentAddressed() || f.contents(dev) != string(out)+"\n" {
			t.Errorf("%+v", info)
		}
		if info := f.info(out); !slices.Equal(info.References, []storepath.Path{out}) || !info.IsContentAddressed() {
			t.Errorf("%+v", info)
		}
		for name, path := range map[string]storepath.Path{"out": out, "dev": dev} {
			r, err := s.QueryRealisation(t.Context(), store.DrvOutput{Path: f.req.Path, Output: name})
			if err != nil || r.OutPath != path {
				t.Errorf("the realisation of %s is %v, %v", name, r, err)
			}
		}
	}
}

// Two derivations that make the same contents have one path. The signatures of the first stay.
func TestFloatingTwice(t *testing.T) {
	s := newStore(t)
	var path storepath.Path
	for i, name := range []string{"k1", "k2"} {
		key, err := signature.GenerateKey(name)
		if err != nil {
			t.Fatal(err)
		}
		f := newFixture(t, s, newDerivation(t, "same", map[string]string{"n": name}, floating("out")))
		f.opts = &Options{SecretKeys: []signature.SecretKey{key}}
		f.write("out", "same")
		outputs := f.finish()
		if i > 0 && outputs["out"].OutPath != path {
			t.Errorf("%s and %s", outputs["out"].OutPath, path)
		}
		path = outputs["out"].OutPath
		if info := f.info(path); len(info.Signatures) != i+1 {
			t.Errorf("after %d builds: %q", i+1, info.Signatures)
		}
		r := outputs["out"]
		if len(r.Signatures) != 1 {
			t.Fatalf("the realisation has the signatures %q", r.Signatures)
		}
		hash, err := s.DrvHash(t.Context(), f.req.Path)
		if err != nil {
			t.Fatal(err)
		}
		text, err := signature.OldRealisationFingerprint(hash, "out", path)
		if err != nil {
			t.Fatal(err)
		}
		sig, err := signature.Parse(r.Signatures[0])
		if err != nil {
			t.Fatal(err)
		}
		if good, err := signature.NewKeySet(key.Public()).Verify(text, sig); len(good) != 1 || err != nil {
			t.Errorf("the signature of the realisation is wrong: %v", err)
		}
	}
}

// Impure outputs get a path by their contents, and no realisation.
func TestImpure(t *testing.T) {
	s := newStore(t)
	f := newFixture(t, s, newDerivation(t, "imp", nil, map[string]derivation.Output{"out": derivation.ImpureOutput(storepath.NAR, nixhash.SHA256), "dev": derivation.ImpureOutput(storepath.NAR, nixhash.SHA256)}))
	f.write("out", string(f.output("dev").scratch))
	f.write("dev", string(f.output("dev").scratch))
	outputs := f.finish()
	if f.contents(outputs["out"].OutPath) != string(outputs["dev"].OutPath) || f.contents(outputs["dev"].OutPath) != string(outputs["dev"].OutPath) {
		t.Errorf("%v", outputs)
	}
	if r, err := s.QueryRealisation(t.Context(), store.DrvOutput{Path: f.req.Path, Output: "out"}); err == nil {
		t.Errorf("there is a realisation: %v", r)
	}
}
