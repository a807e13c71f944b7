package cacheserver

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"pix/nixhash"
	"pix/store"
	"pix/storepath"
)

// fullInfo returns an info in which every field has a value.
func fullInfo(t *testing.T) *store.PathInfo {
	t.Helper()
	parse := func(name string) storepath.Path {
		path, err := storepath.DefaultDir.ParseBase(strings.Repeat("0", storepath.HashPartLen) + "-" + name)
		if err != nil {
			t.Fatal(err)
		}
		return path
	}
	hash := nixhash.Sum(nixhash.SHA256, []byte("x"))
	ca, err := storepath.ParseContentAddress("fixed:r:" + hash.WithNix32())
	if err != nil {
		t.Fatal(err)
	}
	return &store.PathInfo{
		Path: parse("x"), Deriver: parse("x.drv"), NARHash: hash, NARSize: 120, References: []storepath.Path{parse("y")},
		RegistrationTime: time.Unix(1, 0), Ultimate: true, Signatures: []string{"a:c2ln"}, CA: ca,
	}
}

// A change of any field of an info, except the time of the registration, makes another narinfo necessary. Fields that are added to
// path infos need a decision, too.
func TestHaveSameNarInfo(t *testing.T) {
	info := fullInfo(t)
	typ := reflect.TypeFor[store.PathInfo]()
	for i := range typ.NumField() {
		if reflect.ValueOf(info).Elem().Field(i).IsZero() {
			t.Errorf("the field %s has no value", typ.Field(i).Name)
		}
		other := *info
		reflect.ValueOf(&other).Elem().Field(i).SetZero()
		if same := haveSameNarInfo(info, &other); same != (typ.Field(i).Name == "RegistrationTime") {
			t.Errorf("with another %s: %t", typ.Field(i).Name, same)
		}
	}
	if !haveSameNarInfo(info, fullInfo(t)) {
		t.Error("equal infos differ")
	}
}

// The kept narinfos have a limited size.
func TestNarInfoTextsSize(t *testing.T) {
	texts := new(narInfoTexts)
	add := func(i, size int) *store.PathInfo {
		info := fullInfo(t)
		info.Path = storepath.Path(fmt.Sprint(info.Path, i))
		texts.add(&narInfoText{info: info, body: make([]byte, size)})
		sum := 0
		for _, text := range texts.byPath {
			sum += len(text.body)
		}
		if sum != texts.size || sum > maxNarInfoTexts {
			t.Fatalf("%d bytes are kept, and %d are counted", sum, texts.size)
		}
		return info
	}
	for i := range 2*maxNarInfoTexts/maxNarInfoText + 1 {
		if info := add(i, maxNarInfoText); texts.find(info, false) == nil {
			t.Fatal("the last narinfo is not kept")
		}
	}
	if info := add(-1, maxNarInfoText+1); texts.find(info, false) != nil {
		t.Error("a large narinfo is kept")
	}
	add(7, 10)
	if info := add(7, 20); texts.find(info, false) == nil || len(texts.find(info, false).body) != 20 {
		t.Error("a narinfo did not replace the one of the same path")
	}
}
