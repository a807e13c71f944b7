package store_test

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"pix/nar"
	"pix/nixhash"
	"pix/store"
	"pix/store/memstore"
	"pix/storepath"
)

// addObject adds a file as an input-addressed object. SELF in the text is replaced by its path.
func addObject(t *testing.T, s store.Store, name, text string, references ...storepath.Path) storepath.Path {
	t.Helper()
	path, err := storepath.DefaultDir.MakePath("output:out", nixhash.Sum(nixhash.SHA256, []byte(name)), name)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(text, "SELF") {
		references = append(references, path)
	}
	text = strings.ReplaceAll(text, "SELF", string(path))
	var archive bytes.Buffer
	h := nar.NewHasher(nixhash.SHA256)
	w := nar.NewWriter(io.MultiWriter(&archive, h))
	w.WriteEntry(nar.Entry{Kind: nar.Regular, Size: uint64(len(text))})
	io.WriteString(w, text)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	info := &store.PathInfo{Path: path, References: references, NARHash: h.Hash(), NARSize: h.Size()}
	if err := store.AddNAR(t.Context(), s, info, &archive, &store.AddOptions{NoSignatures: true}); err != nil {
		t.Fatal(err)
	}
	return path
}

// readText returns the contents of a file object.
func readText(t *testing.T, s store.Store, path storepath.Path) string {
	t.Helper()
	archive, err := store.ReadNAR(t.Context(), s, path)
	if err != nil {
		t.Fatal(err)
	}
	defer archive.Close()
	r := nar.NewReader(archive)
	if _, err := r.Next(); err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// The new paths follow from the contents, which contain only new paths.
func TestMakeContentAddressed(t *testing.T) {
	src := memstore.New(nil)
	base := addObject(t, src, "base", "base")
	padding := strings.Repeat("/nix/store/", 10<<10) // replaced paths cross the ends of buffers
	tool := addObject(t, src, "tool", "SELF"+padding+string(base)+padding+"SELF"+base.HashPart(), base)
	top := addObject(t, src, "top", string(tool)+"/bin"+string(base)+"x", tool, base)

	paths := make(map[store.Rules]storepath.Path)
	for _, rules := range []store.Rules{store.Rules234, store.Rules236} {
		dst := memstore.New(nil)
		made, err := store.MakeContentAddressed(t.Context(), dst, src, []storepath.Path{top}, rules)
		if err != nil || len(made) != 3 {
			t.Fatal(made, err)
		}
		for old, path := range made {
			info, err := dst.QueryPathInfo(t.Context(), path)
			if err != nil || !info.IsContentAddressed() || path == old || path.Name() != old.Name() {
				t.Errorf("'%s' became '%s': %+v, %v", old, path, info, err)
			}
		}
		want := string(made[tool]) + padding + string(made[base]) + padding + string(made[tool]) + base.HashPart()
		if got := readText(t, dst, made[tool]); got != want {
			t.Errorf("rules %s: wrong contents of the tool", rules)
		}
		if got, want := readText(t, dst, made[top]), string(made[tool])+"/bin"+string(made[base])+"x"; got != want {
			t.Errorf("rules %s: %s, want %s", rules, got, want)
		}
		paths[rules] = made[tool]
		// An object that is already content-addressed by the same rules is unchanged.
		again, err := store.MakeContentAddressed(t.Context(), memstore.New(nil), dst, []storepath.Path{made[top]}, rules)
		if err != nil || again[made[tool]] != made[tool] || again[made[top]] != made[top] {
			t.Errorf("rules %s: again %v, %v; want %v", rules, again, err, made)
		}
	}
	if paths[store.Rules234] == paths[store.Rules236] {
		t.Error("both rules have the same result")
	}
	if _, err := store.MakeContentAddressed(t.Context(), memstore.New(&memstore.Options{Dir: "/other"}), src, nil, 0); err == nil {
		t.Error("a store in another directory is accepted")
	}
}

func TestRules(t *testing.T) {
	for text, want := range map[string]store.Rules{"2.34": store.Rules234, "2.36": store.Rules236} {
		if got, err := store.ParseRules(text); err != nil || got != want || got.String() != text {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	for _, bad := range []string{"", "2.35", "2.34.8"} {
		if r, err := store.ParseRules(bad); err == nil {
			t.Errorf("%q was read as %v", bad, r)
		}
	}
	if r := store.RulesOf(memstore.New(nil)); r != store.Rules234 {
		t.Error(r)
	}
}
