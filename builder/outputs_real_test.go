package builder

import (
	"fmt"
	"strings"
	"testing"

	"pix/derivation"
	"pix/internal/realnix"
	"pix/localstore"
	"pix/nixhash"
	"pix/store"
	"pix/storepath"
)

// realCases are derivations that a real Nix and this package build. Each is a script, and the kinds of its outputs.
func realCases(t *testing.T) map[string]struct {
	script string
	change func(d *derivation.Derivation)
} {
	type realCase = struct {
		script string
		change func(d *derivation.Derivation)
	}
	outputs := func(all map[string]derivation.Output) func(d *derivation.Derivation) {
		return func(d *derivation.Derivation) {
			for name, o := range all {
				d.Outputs.Set(name, o)
				if o.Kind() == derivation.Floating {
					d.Env.Set(name, string(storepath.OwnPlaceholder(name)))
				}
			}
		}
	}
	address := func(m storepath.Method, text string) derivation.Output {
		ca, err := storepath.NewContentAddress(m, nixhash.Sum(nixhash.SHA256, []byte(text)))
		if err != nil {
			t.Fatal(err)
		}
		return derivation.FixedOutput(ca, "")
	}
	const tree = "mkdir $out; echo a > $out/a; ln $out/a $out/b; ln -s nowhere $out/l; mkdir $out/d; echo x > $out/d/x; chmod 0711 $out/d/x; chmod 0500 $out/d; "
	return map[string]realCase{
		"tree":   {tree + "touch -d @100 $out/a; chmod 0100 $out", nil},
		"multi":  {"echo $out > $lib; echo $lib > $dev; echo $lib $dev $dev > $lib.x 2>/dev/null; " + "echo $dev | cat > $dev; mkdir $out; echo $out > $out/self", withOutputs("dev", "lib")},
		"suid":   {"mkdir $out; cp /bin/true $out/t; chmod 4755 $out/t", nil},
		"names":  {"mkdir $out; echo > \"$out/$(printf 'n\\377\\n')\"; echo > $out/B; echo > $out/a; echo > $out/a.b; mkdir $out/a-b", nil},
		"flat":   {"printf text > $out", outputs(map[string]derivation.Output{"out": address(storepath.Flat, "text")})},
		"wrong":  {"printf other > $out", outputs(map[string]derivation.Output{"out": address(storepath.Flat, "text")})},
		"wrongr": {tree, outputs(map[string]derivation.Output{"out": address(storepath.NAR, "text")})},
		"ca":     {"echo $out $out $dev > $out; echo $dev > $dev", outputs(map[string]derivation.Output{"out": derivation.FloatingOutput(storepath.NAR, nixhash.SHA256), "dev": derivation.FloatingOutput(storepath.NAR, nixhash.SHA256)})},
		"catree": {tree + "ln -s $out $out/self", outputs(map[string]derivation.Output{"out": derivation.FloatingOutput(storepath.NAR, nixhash.SHA256)})},
		"ca512":  {tree, outputs(map[string]derivation.Output{"out": derivation.FloatingOutput(storepath.NAR, nixhash.SHA512)})},
		"cagit":  {tree, outputs(map[string]derivation.Output{"out": derivation.FloatingOutput(storepath.Git, nixhash.SHA1)})},
		"caflat": {"echo flat > $out", outputs(map[string]derivation.Output{"out": derivation.FloatingOutput(storepath.Flat, nixhash.BLAKE3)})},
		"discard": {". $NIX_ATTRS_SH_FILE; echo ${outputs[out]} > ${outputs[out]}", func(d *derivation.Derivation) {
			d.Env.Set(derivation.StructuredAttrsKey, `{"unsafeDiscardReferences":{"out":true},"name":"discard"}`)
			d.Builder = "/bin/bash"
		}},
	}
}

// Real Nix 2.34.8 and this package make the same of what builders leave behind: paths, archives, references, content
// addresses and realisations. Nix accepts the store in which this package has built.
func TestRealOutputsAreEqual(t *testing.T) {
	suite := realnix.Get(t, "sid")
	const features = "nix-command ca-derivations dynamic-derivations git-hashing blake3-hashes"
	nix := realnix.Start(t, suite, &realnix.Options{Config: map[string]string{"experimental-features": features}})
	accepting := realnix.Start(t, suite, &realnix.Options{Config: map[string]string{"experimental-features": features}})
	p := sandboxedPlace(t)
	theirs := openStore(t, localstore.Options{Root: nix.HostPath("/")})
	p.store = openStore(t, localstore.Options{Root: accepting.HostPath("/")})
	p.opts.SystemFeatures = []string{"ca-derivations"}
	for name, c := range realCases(t) {
		req := p.script(name, c.script, c.change)
		if _, err := theirs.AddTextToStore(t.Context(), name+".drv", req.Derivation.String(), nil); err != nil {
			t.Fatal(err)
		}
		_, stderr, nixErr := nix.Run("nix-store", "--realise", string(req.Path))
		result, events, err := p.build(req)
		if err != nil || result.Status.Succeeded() != (nixErr == nil) {
			t.Errorf("%s: %+v, %v, %q\nNix: %v\n%s", name, result, err, linesOf(events), nixErr, stderr)
			continue
		}
		if !result.Status.Succeeded() && !strings.Contains(strings.ReplaceAll(stderr, "\n       ", "\n"), result.Message) {
			t.Errorf("%s: %q\nNix: %q", name, result.Message, stderr)
		}
		for output, r := range result.Outputs {
			theirs, err := theirs.QueryDerivationOutputMap(t.Context(), req.Path)
			if err != nil || theirs[output] != r.OutPath {
				t.Errorf("%s: output %s is %s, in Nix %s, %v", name, output, r.OutPath, theirs[output], err)
			}
			ours, err := p.store.QueryDerivationOutputMap(t.Context(), req.Path)
			if err != nil || ours[output] != r.OutPath {
				t.Errorf("%s: output %s is %s, known as %s, %v", name, output, r.OutPath, ours[output], err)
			}
		}
	}
	compareStores(t, p.store, theirs)
	_, stderr, err := accepting.Run("nix-store", "--verify", "--check-contents")
	if err != nil || strings.Contains(stderr, "error") || strings.Contains(stderr, "disappeared") || strings.Contains(stderr, "modified") {
		t.Errorf("Nix finds errors: %v\n%s", err, stderr)
	}
	text := accepting.MustRun(t, "nix", "path-info", "--json", "--all")
	known, err := store.ParsePathInfosJSON(storepath.DefaultDir, []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	for path, info := range known {
		if ours, err := p.store.QueryPathInfo(t.Context(), path); err != nil || describe(ours) != describe(info) {
			t.Errorf("%v\nNix knows %s", describe(ours), describe(info))
		}
	}
}

// describe returns what two stores must both know of a path.
func describe(info *store.PathInfo) string {
	if info == nil {
		return "not valid"
	}
	return fmt.Sprint(info.Path, info.Deriver, info.NARHash, info.NARSize, info.References, info.Ultimate, info.CA)
}

// compareStores compares what two stores know of all their paths.
func compareStores(t *testing.T, a, b *localstore.Store) {
	t.Helper()
	all := make(map[storepath.Path]bool)
	for _, s := range []*localstore.Store{a, b} {
		paths, err := s.QueryAllValidPaths(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range paths {
			all[p] = true
		}
	}
	for p := range all {
		infoA, _ := a.QueryPathInfo(t.Context(), p)
		infoB, _ := b.QueryPathInfo(t.Context(), p)
		if describe(infoA) != describe(infoB) {
			t.Errorf("%s\nNix knows %s", describe(infoA), describe(infoB))
		}
	}
}
