package derivation_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pix/derivation"
	"pix/storepath"
)

// The answers of Nix 2.34.8 for each case.
func TestFeatureAnswers(t *testing.T) {
	dir := corpus(t, "nix-features")
	var answers map[string]struct {
		DrvPath storepath.Path    `json:"drvPath"`
		Outputs map[string]string `json:"outputs"`
	}
	if err := json.Unmarshal([]byte(read(t, dir, "answers-2.34.8.json")), &answers); err != nil {
		t.Fatal(err)
	}
	compared := 0
	for name, answer := range answers {
		if answer.DrvPath == "" || len(answer.Outputs) == 0 {
			continue // Nix rejected it
		}
		c, err := derivation.LoadClosure(t.Context(), derivation.Directory(filepath.Join(dir, "drvs")), []storepath.Path{answer.DrvPath}, nil)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		paths, err := c.OutputPaths(answer.DrvPath)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for output, want := range answer.Outputs {
			path, known := paths.Get(output)
			got := string(path)
			if !known {
				placeholder, err := storepath.OutputPlaceholder(answer.DrvPath, output)
				if err != nil {
					t.Fatal(err)
				}
				got = string(placeholder)
			}
			if got != want {
				t.Errorf("%s: output %s is %s, want %s", name, output, got, want)
			}
			compared++
		}
	}
	if compared < 500 {
		t.Errorf("only %d outputs were compared", compared)
	}
}

// Nix 2.8.0 writes these files and 2.34.8 does not. 2.34.8 rejects output names like "." and
// "..", and accepts the rest.
func TestFeaturesOfOldNix(t *testing.T) {
	dir := filepath.Join(corpus(t, "nix-features"), "drvs-2.8.0-differs")
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	good := 0
	for _, entry := range entries {
		text := read(t, dir, entry.Name())
		d, err := derivation.ParseCanonical(text)
		name := entry.Name()[33:]
		if dots := name[0] == '.'; dots != (err != nil) {
			t.Errorf("%s: %v", entry.Name(), err)
		}
		if err != nil {
			continue
		}
		good++
		if d.String() != text {
			t.Errorf("%s prints differently", entry.Name())
		}
		d.Name, d.Dir = strings.TrimSuffix(name, ".drv"), storepath.DefaultDir
		if path, err := d.Path(); err != nil || path.Base() != entry.Name() {
			t.Errorf("%s has path %s, %v", entry.Name(), path, err)
		}
		if err := d.CheckOutputPaths(nil, nil); err != nil {
			t.Errorf("%s: %v", entry.Name(), err)
		}
	}
	if good < 8 {
		t.Errorf("only %d were accepted", good)
	}
}

func TestFeaturesUnparseable(t *testing.T) {
	dir := filepath.Join(corpus(t, "nix-features"), "drvs-unparseable")
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) == 0 {
		t.Fatal(entries, err)
	}
	for _, entry := range entries {
		if _, err := derivation.Parse(read(t, dir, entry.Name())); err == nil {
			t.Errorf("%s was accepted", entry.Name())
		}
	}
}

// sameJSON reports whether two texts are the same JSON. It compares strings that are not UTF-8
// as encoding/json reads them; TestJSONKeepsBytes checks their bytes.
func sameJSON(t *testing.T, a, b string) bool {
	t.Helper()
	var values [2]any
	for i, text := range []string{a, b} {
		decoder := json.NewDecoder(bytes.NewReader([]byte(text)))
		decoder.UseNumber()
		if err := decoder.Decode(&values[i]); err != nil {
			t.Fatalf("%v in %s", err, text)
		}
	}
	return jsonEqual(values[0], values[1])
}

func jsonEqual(a, b any) bool {
	x, err1 := json.Marshal(a)
	y, err2 := json.Marshal(b)
	return err1 == nil && err2 == nil && bytes.Equal(x, y)
}

// The JSON equals the output of "nix derivation show", and parsing it returns the same
// derivation.
func TestFeatureJSON(t *testing.T) {
	dir := corpus(t, "nix-features")
	for _, c := range []struct {
		drvs, shown string
		version     derivation.JSONVersion
	}{
		{"drvs", "show-2.34.8", derivation.JSONVersion4},
		{"built/drvs", "built/show-2.34.8", derivation.JSONVersion4},
		{"drvs", "show-2.8.0", derivation.JSONVersion1},
		{"drvs", "show-2.8.0-of-2.34.8", derivation.JSONVersion1},
		{"drvs-2.8.0-differs", "show-2.8.0", derivation.JSONVersion1},
	} {
		compared, rejected := 0, 0
		for file, text := range files(t, filepath.Join(dir, c.drvs)) {
			if strings.HasPrefix(file[33:], ".") && c.drvs == "drvs-2.8.0-differs" {
				continue // Nix 2.34.8 rejects the name, see TestFeaturesOfOldNix
			}
			path := pathOf(t, file, text)
			d, err := derivation.ParseAt(path, text)
			if err != nil {
				t.Fatal(err)
			}
			document := derivation.MapOf(derivation.Entry[storepath.Path, *derivation.Derivation]{Key: path, Value: d})
			got, err := derivation.AppendJSONDocument(nil, document, c.version, "")
			want, notShown := os.ReadFile(filepath.Join(dir, c.shown, file+".json"))
			_, notRefused := os.Stat(filepath.Join(dir, c.shown, file+".err"))
			if notRefused == nil && c.version >= derivation.JSONVersion3 {
				rejected++
				if err == nil {
					t.Errorf("%s: %s rejects it", file, c.shown)
				}
				continue
			}
			if err != nil {
				t.Errorf("%s: %v", file, err)
				continue
			}
			if notShown != nil {
				continue
			}
			compared++
			if !sameJSON(t, string(got), string(want)) {
				t.Errorf("%s in version %d is\n%s\nwant\n%s", file, c.version, got, want)
			}
			again, err := derivation.ParseJSON(string(want), nil)
			if err != nil {
				t.Errorf("%s parsed again: %v", file, err)
				continue
			}
			if p, err := again.Path(); err != nil || p != path {
				t.Errorf("%s is parsed as %s, %v:\n%s\n%s", path, p, err, text, again)
			}
		}
		if compared < 8 {
			t.Errorf("only %d of %s were compared", compared, c.shown)
		}
		t.Logf("%s: %d compared, %d rejected by both", c.shown, compared, rejected)
	}
}

// A builtAnswers has the answers of Nix for derivations that it has built.
type builtAnswers struct {
	Resolved     map[storepath.Path]storepath.Path `json:"resolved"`
	Realisations []struct {
		ID     string         `json:"id"`
		Output string         `json:"output"`
		Path   storepath.Path `json:"path"`
	} `json:"db_realisations"`
	Built map[string][]storepath.Path `json:"builtOutputs"`
}

// resolver returns the resolver for the outputs that Nix has built. load loads the closure of a derivation.
func (a *builtAnswers) resolver(t *testing.T, load func(storepath.Path) *derivation.Closure) derivation.Resolver {
	built := map[string]storepath.Path{} // by hash and output
	for _, r := range a.Realisations {
		built[r.ID+"!"+r.Output] = r.Path
	}
	var resolver derivation.Resolver
	resolver = func(drv derivation.SingleDerivedPath, output string) (storepath.Path, bool) {
		path := drv.Base()
		if inner, ok := drv.(derivation.SingleBuilt); ok {
			if path, ok = resolver(inner.Drv, inner.Output); !ok {
				return "", false
			}
		}
		c := load(path)
		if paths, err := c.OutputPaths(path); err == nil && paths.Has(output) {
			return paths.Get(output)
		}
		hash, err := c.HashModulo(path, derivation.ForOutputs)
		if err != nil {
			t.Fatal(err)
		}
		got, ok := built[hash.Hash.WithBase16()+"!"+output]
		if !ok && strings.HasSuffix(string(path), "-bimp.drv") {
			return a.Built["impure"][0], true // Nix does not store realisations of impure outputs
		}
		return got, ok
	}
	return resolver
}

// Nix has resolved these derivations and written the results.
func TestFeatureResolve(t *testing.T) {
	dir := filepath.Join(corpus(t, "nix-features"), "built")
	var answers builtAnswers
	if err := json.Unmarshal([]byte(read(t, dir, "answers-built-2.34.8.json")), &answers); err != nil {
		t.Fatal(err)
	}
	drvs := derivation.Directory(filepath.Join(dir, "drvs"))
	load := func(path storepath.Path) *derivation.Closure {
		c, err := derivation.LoadClosure(t.Context(), drvs, []storepath.Path{path}, nil)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	resolver := answers.resolver(t, load)
	for path, want := range answers.Resolved {
		d, _ := load(path).Get(path)
		resolved, err := d.Resolve(resolver)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		if got, err := resolved.Path(); err != nil || got != want {
			t.Errorf("%s is resolved to %s, %v, want %s:\n%s\n%s", path, got, err, want, resolved, read(t, string(drvs), want.Base()))
		}
		if err := resolved.CheckOutputPaths(nil, nil); err != nil {
			t.Errorf("%s resolved: %v", path, err)
		}
	}
	if len(answers.Resolved) < 16 {
		t.Errorf("only %d were resolved", len(answers.Resolved))
	}
}
