package store_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pix/internal/testenv"
	"pix/nixhash"
	"pix/store"
	"pix/storepath"
)

const (
	jsonFoo storepath.Path = "/nix/store/n5wkd9frr45pa74if5gpz9j7mifg27fh-foo"
	jsonBar storepath.Path = "/nix/store/g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-bar"
)

func ExamplePathInfoJSON() {
	info := &store.PathInfo{
		Path:       "/nix/store/n5wkd9frr45pa74if5gpz9j7mifg27fh-foo",
		NARHash:    nixhash.Sum(nixhash.SHA256, []byte("abc")),
		NARSize:    3,
		References: []storepath.Path{"/nix/store/g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-bar"},
	}
	text, err := store.PathInfoJSON{Version: 2, Pure: true}.Marshal(info)
	if err != nil {
		panic(err)
	}
	var pretty bytes.Buffer
	json.Indent(&pretty, text, "", "  ")
	fmt.Println(pretty.String())
	// Output:
	// {
	//   "ca": null,
	//   "narHash": "sha256-ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=",
	//   "narSize": 3,
	//   "references": [
	//     "g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-bar"
	//   ],
	//   "storeDir": "/nix/store",
	//   "version": 2
	// }
}

// jsonInfo returns the path info of Nix's own tests (src/libstore-tests/path-info.cc).
func jsonInfo(t testing.TB) *store.PathInfo {
	t.Helper()
	narHash, err1 := nixhash.ParseSRI("sha256-FePFYIlMuycIXPZbWi7LGEiMmZSX9FMbaQenWBzm1Sc=")
	ca, err2 := storepath.NewContentAddress(storepath.NAR, nixhash.Sum(nixhash.SHA256, []byte("(...)")))
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	zeros := strings.Repeat("A", 86) + "=="
	return &store.PathInfo{
		Path:             jsonFoo,
		Deriver:          jsonBar + ".drv",
		NARHash:          narHash,
		NARSize:          34878,
		References:       []storepath.Path{jsonBar, jsonFoo},
		RegistrationTime: time.Unix(23423, 0).UTC(),
		Ultimate:         true,
		Signatures:       []string{"asdf:" + zeros, "qwer:" + zeros},
		CA:               ca,
	}
}

// All files of Nix are read with the values of Nix's own tests, and written again byte for
// byte.
func TestGoldenPathInfoJSON(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(testenv.NixData(t, "store/path-info"), "json-*", "*.json"))
	if err != nil || len(files) != 13 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		name := filepath.Base(file)
		form := store.PathInfoJSON{
			Version: int(filepath.Base(filepath.Dir(file))[len("json-")] - '0'),
			Pure:    strings.Contains(name, "pure") && !strings.Contains(name, "impure"),
		}
		want := jsonInfo(t)
		if !want.IsContentAddressed() {
			t.Errorf("the path %s does not follow from its contents", want.Path)
		}
		if strings.HasPrefix(name, "empty") {
			want = &store.PathInfo{Path: jsonFoo, NARHash: want.NARHash}
		}
		if form.Pure {
			want.Deriver, want.RegistrationTime, want.Ultimate, want.Signatures = "", time.Time{}, false, nil
		}

		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		info, err := store.ParsePathInfoJSON(jsonFoo, text)
		if err != nil || !reflect.DeepEqual(info, want) {
			t.Errorf("%s: %+v, %v, want %+v", file, info, err, want)
		}
		got, err := form.Marshal(want)
		if err != nil {
			t.Errorf("%s: %v", file, err)
		}
		if strings.Contains(name, "noversion") { // Nix no longer writes this form
			got = bytes.Replace(bytes.Replace(got, []byte(`,"version":1`), nil, 1), []byte(`,"storeDir":"/nix/store"`), nil, 1)
		}
		var pretty bytes.Buffer
		if err := json.Indent(&pretty, got, "", "  "); err != nil || pretty.String()+"\n" != string(text) {
			t.Errorf("%s: it is written as\n%s", file, pretty.String())
		}
	}
}

// changed returns the JSON of the test's path info with one member changed. The value ""
// removes it.
func changed(t *testing.T, version int, key, value string) []byte {
	t.Helper()
	text, err := store.PathInfoJSON{Version: version}.Marshal(jsonInfo(t))
	if err != nil {
		t.Fatal(err)
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(text, &members); err != nil {
		t.Fatal(err)
	}
	members[key] = json.RawMessage(value)
	if value == "" {
		delete(members, key)
	}
	text, err = json.Marshal(members)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestPathInfoJSONTaken(t *testing.T) {
	for _, c := range []struct {
		version    int
		key, value string
		check      func(info *store.PathInfo) bool
	}{
		{1, "storeDir", "", func(i *store.PathInfo) bool { return i.References[0] == jsonBar }},
		{1, "version", "", func(i *store.PathInfo) bool { return i.References[0] == jsonBar }},
		{1, "references", `["/nix//store/./` + jsonFoo.Base() + `/"]`, func(i *store.PathInfo) bool { return slices.Equal(i.References, []storepath.Path{jsonFoo}) }},
		{2, "references", `["` + jsonFoo.Base() + `","` + jsonBar.Base() + `","` + jsonFoo.Base() + `"]`, func(i *store.PathInfo) bool {
			return slices.Equal(i.References, []storepath.Path{jsonBar, jsonFoo})
		}},
		{2, "deriver", "null", func(i *store.PathInfo) bool { return i.Deriver == "" }},
		{2, "deriver", "", func(i *store.PathInfo) bool { return i.Deriver == "" }},
		{2, "ultimate", "", func(i *store.PathInfo) bool { return !i.Ultimate }},
		{2, "registrationTime", "0", func(i *store.PathInfo) bool { return i.RegistrationTime.IsZero() }},
		{2, "registrationTime", "-1", func(i *store.PathInfo) bool { return i.RegistrationTime.Unix() == -1 }},
		{2, "narSize", "18446744073709551615", func(i *store.PathInfo) bool { return i.NARSize == 1<<64-1 }},
		{2, "signatures", `[{"keyName":"b","sig":"AAAA"},"a:AAA","a:AAA="]`, func(i *store.PathInfo) bool {
			return slices.Equal(i.Signatures, []string{"a:AAA=", "b:AAAA"})
		}},
		{2, "unknown", `{"a":[1]}`, func(i *store.PathInfo) bool { return true }},
		{2, "NarSize", `"x"`, func(i *store.PathInfo) bool { return i.NARSize == 34878 }},
		{2, "ca", `{"method":"text","hash":"sha256-ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0="}`, func(i *store.PathInfo) bool {
			return i.CA.String() == "text:sha256:1b8m03r63zqhnjf7l5wnldhh7c134ap5vpj0850ymkq1iyzicy5s"
		}},
	} {
		info, err := store.ParsePathInfoJSON(jsonFoo, changed(t, c.version, c.key, c.value))
		if err != nil || !c.check(info) {
			t.Errorf("version %d, %s is %s: %+v, %v", c.version, c.key, c.value, info, err)
		}
	}
}

func TestPathInfoJSONRefused(t *testing.T) {
	for _, c := range []struct {
		version    int
		key, value string
	}{
		{1, "version", "0"}, {1, "version", "4"}, {1, "version", "null"}, {1, "version", `"1"`}, {1, "version", "1.0"},
		{1, "storeDir", `"/gnu/store"`}, {2, "storeDir", `"/gnu/store"`}, {2, "storeDir", ""}, {2, "storeDir", "null"},
		{1, "narHash", ""}, {1, "narHash", "null"}, {1, "narHash", `"x"`},
		{1, "narHash", `"sha256:1b8m03r63zqhnjf7l5wnldhh7c134ap5vpj0850ymkq1iyzicy5s"`},
		{2, "narHash", `{"algorithm":"sha256"}`},
		{2, "narSize", ""}, {2, "narSize", "-1"}, {2, "narSize", "1.0"}, {2, "narSize", "1e3"}, {2, "narSize", "18446744073709551616"}, {2, "narSize", `"1"`}, {2, "narSize", "null"},
		{2, "references", ""}, {2, "references", "null"}, {2, "references", "{}"}, {2, "references", "[null]"}, {2, "references", `["x"]`},
		{1, "references", `["` + jsonBar.Base() + `"]`}, {2, "references", `["` + string(jsonBar) + `"]`}, {1, "references", `["/gnu/store/` + jsonBar.Base() + `"]`},
		{1, "ca", ""}, {2, "ca", ""}, {1, "ca", `""`}, {1, "ca", `{"method":"text"}`}, {2, "ca", `"text:sha256:1b8m03r63zqhnjf7l5wnldhh7c134ap5vpj0850ymkq1iyzicy5s"`},
		{2, "ca", `{}`}, {2, "ca", `{"method":"nar"}`}, {2, "ca", `{"hash":"sha256-ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0="}`},
		{2, "ca", `{"method":"recursive","hash":"sha256-ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0="}`},
		{2, "deriver", `""`}, {2, "deriver", "1"}, {1, "deriver", `"` + jsonBar.Base() + `.drv"`},
		{2, "registrationTime", "1.5"}, {2, "registrationTime", `"1"`}, {2, "registrationTime", "9223372036854775808"},
		{2, "ultimate", "null"}, {2, "ultimate", "1"},
		{2, "signatures", "null"}, {2, "signatures", `["x"]`}, {2, "signatures", `[null]`}, {3, "signatures", `[{"keyName":"x"}]`},
	} {
		info, err := store.ParsePathInfoJSON(jsonFoo, changed(t, c.version, c.key, c.value))
		var bad *store.PathInfoJSONError
		if !errors.As(err, &bad) || info != nil || bad.Key != c.key || bad.Path != jsonFoo {
			t.Errorf("version %d, %s is %s: %+v, %v, want an error of that key", c.version, c.key, c.value, info, err)
		}
	}
	for _, text := range []string{"", "null", "1", "{", "{}", "{} x", "\xff", `{"ca":"\xff"}`} {
		if info, err := store.ParsePathInfoJSON(jsonFoo, []byte(text)); err == nil {
			t.Errorf("%q was accepted: %+v", text, info)
		}
	}
	if _, err := store.ParsePathInfoJSON("/nix/store/x", changed(t, 1, "x", "")); err == nil {
		t.Error("the info of an invalid path was accepted")
	}
}

func TestPathInfoJSONNotWritten(t *testing.T) {
	for key, spoil := range map[string]func(info *store.PathInfo){
		"":        func(i *store.PathInfo) { i.Path = "" },
		"narHash": func(i *store.PathInfo) { i.NARHash = nixhash.Hash{} },
		"references": func(i *store.PathInfo) {
			i.References = []storepath.Path{"/gnu/store/" + storepath.Path(jsonBar.Base())}
		},
		"deriver":    func(i *store.PathInfo) { i.Deriver = "/gnu/store/" + storepath.Path(jsonBar.Base()) },
		"signatures": func(i *store.PathInfo) { i.Signatures = []string{"\xff:AAAA"} },
	} {
		info := jsonInfo(t)
		spoil(info)
		text, err := store.PathInfoJSON{Version: 3}.Marshal(info)
		var bad *store.PathInfoJSONError
		if !errors.As(err, &bad) || bad.Key != key || text != nil {
			t.Errorf("%s: %s, %v, want an error of that key", key, text, err)
		}
	}
	odd := &store.PathInfo{Path: "/\xff/" + storepath.Path(jsonFoo.Base()), NARHash: jsonInfo(t).NARHash}
	form := store.PathInfoJSON{Version: 1}
	var bad *store.PathInfoJSONError
	if _, err := form.Marshal(odd); !errors.As(err, &bad) || bad.Key != "storeDir" || !strings.Contains(err.Error(), "storeDir") {
		t.Errorf("a store directory that is not UTF-8: %v", err)
	}
	if _, err := form.MarshalAll(odd.Path.Dir(), nil); !errors.As(err, &bad) || bad.Key != "storeDir" {
		t.Errorf("a store directory that is not UTF-8: %v", err)
	}
	for _, version := range []int{-1, 0, 4} {
		if text, err := (store.PathInfoJSON{Version: version}).Marshal(jsonInfo(t)); err == nil {
			t.Errorf("version %d was written: %s", version, text)
		}
	}
}

func TestPathInfosJSON(t *testing.T) {
	info := jsonInfo(t)
	infos := map[storepath.Path]*store.PathInfo{jsonFoo: info, jsonBar: nil}
	for version, begin := range []string{
		1: `{"` + string(jsonBar) + `":null,"` + string(jsonFoo) + `":{"ca":"fixed:`,
		2: `{"info":{"` + jsonBar.Base() + `":null,"` + jsonFoo.Base() + `":{"ca":{"hash":`,
		3: `{"info":{"` + jsonBar.Base() + `":null,"` + jsonFoo.Base() + `":{"ca":{"hash":`,
	} {
		if version == 0 {
			continue
		}
		text, err := store.PathInfoJSON{Version: version}.MarshalAll("/nix/store", infos)
		if err != nil || !strings.HasPrefix(string(text), begin) {
			t.Errorf("version %d: %s, %v, want %s", version, text, err, begin)
		}
		if end := fmt.Sprintf(`},"storeDir":"/nix/store","version":%d}`, version); version > 1 && !strings.HasSuffix(string(text), end) {
			t.Errorf("version %d: %s, want %s at the end", version, text, end)
		}
		again, err := store.ParsePathInfosJSON("/nix/store", text)
		if err != nil || !reflect.DeepEqual(again, infos) {
			t.Errorf("version %d: %+v, %v", version, again, err)
		}
		if _, err := store.ParsePathInfosJSON("/gnu/store", text); err == nil {
			t.Errorf("version %d: the infos of another store directory were accepted", version)
		}
	}
	for _, text := range []string{"null", `{"info":1}`, `{"x":null}`, `{"info":{"x":null}}`, `{"` + string(jsonFoo) + `":1}`} {
		if infos, err := store.ParsePathInfosJSON("/nix/store", []byte(text)); err == nil {
			t.Errorf("%s was accepted: %v", text, infos)
		}
	}
	form := store.PathInfoJSON{Version: 1}
	for what, infos := range map[string]map[storepath.Path]*store.PathInfo{
		"a foreign path":         {"/gnu/store/" + storepath.Path(jsonFoo.Base()): nil},
		"the info of another":    {jsonBar: info},
		"an info without a hash": {jsonBar: {Path: jsonBar}},
	} {
		if text, err := form.MarshalAll("/nix/store", infos); err == nil {
			t.Errorf("%s was written: %s", what, text)
		}
	}
}

func FuzzParsePathInfoJSON(f *testing.F) {
	for version := 1; version <= 3; version++ {
		text, err := store.PathInfoJSON{Version: version}.Marshal(jsonInfo(f))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte(`{"ca":null,"narHash":"md5-AAAA","narSize":0,"references":[]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		info, err := store.ParsePathInfoJSON(jsonFoo, text)
		if err != nil {
			var bad *store.PathInfoJSONError
			if !errors.As(err, &bad) || info != nil {
				t.Fatalf("%+v, %v", info, err)
			}
			return
		}
		for version := 1; version <= 3; version++ {
			written, err := store.PathInfoJSON{Version: version}.Marshal(info)
			if err != nil {
				t.Fatalf("%s is read but not written: %v", text, err)
			}
			again, err := store.ParsePathInfoJSON(jsonFoo, written)
			if err != nil || !reflect.DeepEqual(again, info) {
				t.Fatalf("%s is\n%+v, written as %s, which is\n%+v, %v", text, info, written, again, err)
			}
		}
	})
}

// Nix up to 2.18 and Lix print an array.
func TestPathInfosJSONArray(t *testing.T) {
	const (
		a = "/nix/store/g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-a"
		b = "/nix/store/ffffffffffffffffffffffffffffffff-b"
		// The forms of Nix 2.3, 2.8 and 2.18.
		old   = `{"path":"` + a + `","narHash":"sha256:0mdqa9w1p6cmli6976v4wi0sw9r4p5prkj7lzfd1877wk11c9c73","narSize":120,"references":["` + a + `"],"registrationTime":1700000000,"ultimate":true,"signatures":["k-1:eA=="]}`
		sri   = `{"path":"` + a + `","narHash":"sha256-FePFYIlMuycIXPZbWi7LGEiMmZSX9FMbaQenWBzm1Sc=","narSize":120,"references":[],"ca":"text:sha256:0mdqa9w1p6cmli6976v4wi0sw9r4p5prkj7lzfd1877wk11c9c73","closureSize":1}`
		other = `{"path":"` + b + `","valid":false}`
	)
	infos, err := store.ParsePathInfosJSON(storepath.DefaultDir, []byte("\n ["+old+","+other+"]"))
	info := infos[a]
	if err != nil || len(infos) != 2 || infos[b] != nil || info == nil || info.NARSize != 120 || !info.Ultimate || len(info.References) != 1 || len(info.Signatures) != 1 ||
		info.NARHash.WithNix32() != "sha256:0mdqa9w1p6cmli6976v4wi0sw9r4p5prkj7lzfd1877wk11c9c73" || info.RegistrationTime.Unix() != 1700000000 {
		t.Errorf("%+v, %v", infos, err)
	}
	if infos, err = store.ParsePathInfosJSON(storepath.DefaultDir, []byte("["+sri+"]")); err != nil || infos[a] == nil || infos[a].CA.IsZero() {
		t.Errorf("%+v, %v", infos, err)
	}
	if infos, err = store.ParsePathInfosJSON(storepath.DefaultDir, []byte("[]")); err != nil || len(infos) != 0 {
		t.Errorf("%+v, %v", infos, err)
	}
	for _, bad := range []string{"[", "[1]", "[null]", "[{}]", `[{"path":"/gnu/store/x"}]`, "[" + strings.Replace(old, "120", "-1", 1) + "]", "[" + old + "] x", "[" + strings.Replace(old, "narHash", "hash", 1) + "]"} {
		if infos, err := store.ParsePathInfosJSON(storepath.DefaultDir, []byte(bad)); err == nil {
			t.Errorf("%s was accepted: %v", bad, infos)
		}
	}
}
