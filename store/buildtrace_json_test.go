package store_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"pix/internal/testenv"
	"pix/store"
	"pix/storepath"
)

// compact returns JSON without spaces.
func compact(t testing.TB, text []byte) string {
	t.Helper()
	var b bytes.Buffer
	if err := json.Compact(&b, text); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestGoldenBuildTraceJSON(t *testing.T) {
	folder := testenv.NixData(t, "store/realisation")
	read := func(name string) string {
		text, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil {
			t.Fatal(err)
		}
		return compact(t, text)
	}
	for name, as := range map[string]string{"simple.json": "simple.json", "with-signature.json": "with-signature.json", "with-signature-unstructured.json": "with-signature.json"} {
		r, err := store.ParseTraceJSON(storepath.DefaultDir, read(name))
		if err != nil || r.ID.PathID() != "g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-bar.drv^foo" {
			t.Errorf("%s: %+v, %v", name, r, err)
			continue
		}
		if got, err := r.TraceJSON(storepath.DefaultDir); err != nil || string(got) != read(as) {
			t.Errorf("%s: %s, %v", name, got, err)
		}
	}
	for _, name := range []string{"unkeyed-simple.json", "unkeyed-with-signature.json"} {
		r, err := store.ParseValueJSON(storepath.DefaultDir, read(name))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got, err := r.ValueJSON(storepath.DefaultDir); err != nil || string(got) != read(name) {
			t.Errorf("%s: %s, %v", name, got, err)
		}
	}
}

func TestBuildTraceJSON(t *testing.T) {
	r := store.KeyedRealisation{
		ID: store.DrvOutput{Path: "/nix/store/g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-a.drv", Output: "out"},
		Realisation: store.Realisation{
			OutPath:    "/nix/store/g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-a",
			Signatures: []string{"b-1:eA==", "a-1:/A==", "a-1:eA==", "b-1:eA=="}, // "/" is the larger byte, but the smaller character
		},
	}
	const want = `{"key":{"drvPath":"g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-a.drv","outputName":"out"},"value":{"outPath":"g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-a",` +
		`"signatures":[{"keyName":"a-1","sig":"eA=="},{"keyName":"a-1","sig":"/A=="},{"keyName":"b-1","sig":"eA=="}]}}`
	got, err := r.TraceJSON(storepath.DefaultDir)
	if err != nil || string(got) != want {
		t.Fatalf("%s, %v", got, err)
	}
	back, err := store.ParseTraceJSON(storepath.DefaultDir, want)
	r.Signatures = []string{"a-1:/A==", "a-1:eA==", "b-1:eA=="}
	if err != nil || !reflect.DeepEqual(back, r) {
		t.Errorf("%+v, %v", back, err)
	}
	for _, bad := range []string{
		"", "{", "[]", `{"key":{}}`, `{"value":{}}`, strings.Replace(want, "g1w7", "../w", 1), strings.Replace(want, `"outPath"`, `"OutPath"`, 1),
		strings.Replace(want, `"out"`, `"../out"`, 1), strings.Replace(want, `"key":`, `"key":1,"key":`, 1), strings.Replace(want, `"a-1","sig"`, `"a-1","SIG"`, 1),
		strings.Replace(want, `"outputName":"out"`, `"outputName":"out","outputName":"dev"`, 1),
	} {
		if r, err := store.ParseTraceJSON(storepath.DefaultDir, bad); err == nil {
			t.Errorf("%s was accepted: %+v", bad, r)
		}
	}
	if _, err := r.TraceJSON("/other/store"); err == nil {
		t.Error("a path of another store directory was written")
	}
	r.Signatures = []string{"no signature"}
	if _, err := r.ValueJSON(storepath.DefaultDir); err == nil {
		t.Error("a signature without a key was written")
	}
	r.ID.Path = ""
	if _, err := r.TraceJSON(storepath.DefaultDir); err == nil {
		t.Error("a realisation without a derivation was written")
	}
}
