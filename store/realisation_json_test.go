package store_test

import (
	"strings"
	"testing"

	"pix/nixhash"
	"pix/store"
	"pix/storepath"
)

func TestRealisationJSON(t *testing.T) {
	hash := nixhash.Sum(nixhash.SHA256, []byte("abc"))
	r := store.KeyedRealisation{
		ID: store.DrvOutput{Hash: hash, Output: "out"},
		Realisation: store.Realisation{
			OutPath:    "/nix/store/g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-a",
			Signatures: []string{"b-1:eA==", "a-1:eA=="},
		},
	}
	const want = `{"dependentRealisations":{},"id":"sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad!out",` +
		`"outPath":"g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-a","signatures":["a-1:eA==","b-1:eA=="]}`
	got, err := r.JSON(storepath.DefaultDir)
	if err != nil || string(got) != want {
		t.Fatalf("%s, %v", got, err)
	}
	back, err := store.ParseRealisationJSON(storepath.DefaultDir, want)
	if err != nil {
		t.Fatal(err)
	}
	r.Signatures = []string{"a-1:eA==", "b-1:eA=="}
	if back.ID != r.ID || back.OutPath != r.OutPath || strings.Join(back.Signatures, " ") != strings.Join(r.Signatures, " ") {
		t.Errorf("%+v", back)
	}
	for _, bad := range []string{"", "{", "[]", `{"id":"x!out","outPath":"g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-a"}`,
		strings.Replace(want, "g1w7", "../w", 1), strings.Replace(want, "!out", "", 1), strings.Replace(want, "!out", "!\xff", 1)} {
		if _, err := store.ParseRealisationJSON(storepath.DefaultDir, bad); err == nil {
			t.Errorf("%s was accepted", bad)
		}
	}
	if _, err := r.JSON("/other/store"); err == nil {
		t.Error("a path of another store directory was written")
	}
	if _, err := (&store.KeyedRealisation{Realisation: r.Realisation}).JSON(storepath.DefaultDir); err == nil {
		t.Error("a realisation without a hash was written")
	}
}

// The members of a realisation are case-sensitive and unique, since a signature may cover their
// values.
func TestRealisationJSONNames(t *testing.T) {
	const (
		id    = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad!out"
		a     = "g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-a"
		b     = "g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-b"
		whole = `"id":"` + id + `","outPath":"` + a + `"`
	)
	for _, good := range []string{
		`{` + whole + `}`, `{` + whole + `,"OutPath":"` + b + `","ID":1,"Signatures":["x"],"OUTPATH":{}}`, `{` + whole + `,"signatures":[{"keyName":"k","sig":"s","KeyName":"l","SIG":"t"}]}`,
		`{"\u0069d":"` + id + `","outPath":"` + a + `"}`,
	} {
		r, err := store.ParseRealisationJSON(storepath.DefaultDir, good)
		if err != nil || r.OutPath.Base() != a || r.ID.HashID() != id || len(r.Signatures) > 0 && r.Signatures[0] != "k:s" {
			t.Errorf("%s: %+v, %v", good, r, err)
		}
	}
	for _, bad := range []string{
		`{"ID":"` + id + `","outPath":"` + a + `"}`, `{"id":"` + id + `","OUTPATH":"` + a + `"}`, `{"id":"` + id + `","outpath":"` + a + `"}`,
		`{` + whole + `,"outPath":"` + b + `"}`, `{` + whole + `,"outPath":"` + a + `"}`, `{` + whole + `,"\u006futPath":"` + b + `"}`, `{` + whole + `,"id":"` + id + `"}`,
		`{` + whole + `,"signatures":[],"signatures":["x"]}`, `{` + whole + `,"signatures":null}`, `{` + whole + `,"signatures":[null]}`, `{` + whole + `,"signatures":["a:b",1]}`,
		`{` + whole + `,"signatures":[{"KeyName":"k","Sig":"s"}]}`, `{` + whole + `,"signatures":[{"keyName":"k","sig":"s","sig":"t"}]}`, `{` + whole + `,"signatures":[{"keyName":"k"}]}`,
		`{"id":null,"outPath":"` + a + `"}`, `{"id":"` + id + `","outPath":null}`, `{` + whole + `} x`, `null`,
	} {
		if r, err := store.ParseRealisationJSON(storepath.DefaultDir, bad); err == nil {
			t.Errorf("%s was accepted: %+v", bad, r)
		}
	}
}
