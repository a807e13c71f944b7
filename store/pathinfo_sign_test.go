package store_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"pix/nixhash"
	"pix/signature"
	"pix/store"
	"pix/storepath"
)

func ExamplePathInfo_Sign() {
	info := &store.PathInfo{
		Path:    "/nix/store/n5wkd9frr45pa74if5gpz9j7mifg27fh-foo",
		NARHash: nixhash.Sum(nixhash.SHA256, []byte("abc")),
		NARSize: 3,
	}
	key, err := signature.GenerateKey("cache.example.org-1")
	if err != nil {
		panic(err)
	}
	if err := info.Sign(key); err != nil {
		panic(err)
	}
	good, err := info.CheckSignatures(signature.NewKeySet(key.Public()))
	fmt.Println(len(good), good[0].KeyName(), err)
	// Output: 1 cache.example.org-1 <nil>
}

func TestSignPathInfo(t *testing.T) {
	a, err1 := signature.GenerateKey("a")
	b, err2 := signature.GenerateKey("b")
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	trusted := signature.NewKeySet(a.Public())

	info := jsonInfo(t) // has two invalid signatures
	shared := info.Signatures
	for range 2 { // the second time adds nothing
		if err := info.Sign(b, a); err != nil {
			t.Fatal(err)
		}
	}
	if len(info.Signatures) != 4 || !slices.IsSorted(info.Signatures) || len(shared) != 2 {
		t.Errorf("%q", info.Signatures)
	}
	good, err := info.CheckSignatures(trusted)
	if err != nil || len(good) != 1 || good[0].KeyName() != "a" {
		t.Errorf("%v, %v", good, err)
	}

	// A change of any part of the fingerprint, and of nothing else, invalidates the signature.
	for what, c := range map[string]struct {
		change func(info *store.PathInfo)
		want   int
	}{
		"path":       {func(i *store.PathInfo) { i.Path += "x" }, 0},
		"hash":       {func(i *store.PathInfo) { i.NARHash = nixhash.Sum(nixhash.SHA256, nil) }, 0},
		"size":       {func(i *store.PathInfo) { i.NARSize++ }, 0},
		"references": {func(i *store.PathInfo) { i.References = i.References[:1] }, 0},
		"deriver":    {func(i *store.PathInfo) { i.Deriver = "" }, 1},
		"CA":         {func(i *store.PathInfo) { i.CA = storepath.ContentAddress{} }, 1},
		"ultimate":   {func(i *store.PathInfo) { i.Ultimate = false }, 1},
	} {
		other := *info
		c.change(&other)
		if good, err := other.CheckSignatures(trusted); err != nil || len(good) != c.want {
			t.Errorf("with another %s: %v, %v, want %d", what, good, err, c.want)
		}
	}

	other := *info
	other.Signatures = append([]string{"a:AAAA", "x"}, info.Signatures...)
	var bad *signature.Error
	if good, err := other.CheckSignatures(trusted); !errors.As(err, &bad) || len(good) != 1 {
		t.Errorf("with malformed signatures: %v, %v", good, err)
	}
	other.NARSize = 0
	var none *signature.FingerprintError
	if good, err := other.CheckSignatures(trusted); !errors.As(err, &none) || good != nil {
		t.Errorf("without a size: %v, %v", good, err)
	}
	if err := other.Sign(a); !errors.As(err, &none) {
		t.Errorf("signing without a size: %v", err)
	}
}

func TestIsContentAddressed(t *testing.T) {
	for what, c := range map[string]struct {
		change func(info *store.PathInfo)
		want   bool
	}{
		"as it is":             {func(i *store.PathInfo) {}, true},
		"in another order":     {func(i *store.PathInfo) { i.References = []storepath.Path{jsonFoo, jsonBar} }, true},
		"no content address":   {func(i *store.PathInfo) { i.CA = storepath.ContentAddress{} }, false},
		"not its own":          {func(i *store.PathInfo) { i.References = i.References[:1] }, false},
		"another path":         {func(i *store.PathInfo) { i.Path = jsonBar }, false},
		"no path":              {func(i *store.PathInfo) { i.Path = "" }, false},
		"a foreign reference":  {func(i *store.PathInfo) { i.References = []storepath.Path{"/gnu/store/x"} }, false},
		"another store's path": {func(i *store.PathInfo) { i.Path = "/gnu/store/" + storepath.Path(jsonFoo.Base()) }, false},
	} {
		info := jsonInfo(t)
		c.change(info)
		if got := info.IsContentAddressed(); got != c.want {
			t.Errorf("%s: %v, want %v", what, got, c.want)
		}
	}
}
