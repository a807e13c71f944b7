package narinfo_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pix/internal/testenv"
	"pix/narinfo"
	"pix/store"
)

// All of Nix's files are parsed with the values in Nix's own tests, and print as the same bytes.
func TestGoldenJSON(t *testing.T) {
	dir := testenv.NixData(t, "store/nar-info")
	want := parse(t, example, nil)
	zeros := strings.Repeat("A", 86) + "=="
	files, err := filepath.Glob(filepath.Join(dir, "json-*", "*.json"))
	if err != nil || len(files) != 7 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		n, err := narinfo.ParseJSON(foo, text)
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		form := store.PathInfoJSON{Version: int(filepath.Base(filepath.Dir(file))[len("json-")] - '0')}
		form.Pure = strings.HasPrefix(filepath.Base(file), "pure")
		if n.NARHash.SRI() != "sha256-FePFYIlMuycIXPZbWi7LGEiMmZSX9FMbaQenWBzm1Sc=" || n.NARSize != want.NARSize ||
			!slices.Equal(n.References, want.References) || n.CA != want.CA {
			t.Errorf("%s: %+v", file, n)
		}
		if !form.Pure && (n.URL != want.URL || n.Compression != "xz" || n.FileSize != 4029176 || n.FileHash != n.NARHash || n.Deriver != want.Deriver ||
			n.RegistrationTime.Unix() != 23423 || !n.Ultimate || !slices.Equal(n.Signatures, []string{"asdf:" + zeros, "qwer:" + zeros})) {
			t.Errorf("%s: %+v", file, n)
		}
		got, err := n.JSON(form)
		if err != nil {
			t.Errorf("%s: %v", file, err)
		}
		if strings.Contains(file, "noversion") { // an old format, which Nix no longer writes
			got = bytes.Replace(bytes.Replace(got, []byte(`,"version":1`), nil, 1), []byte(`,"storeDir":"/nix/store"`), nil, 1)
		}
		var pretty bytes.Buffer
		if err := json.Indent(&pretty, got, "", "  "); err != nil || pretty.String()+"\n" != string(text) {
			t.Errorf("%s prints as\n%s", file, pretty.String())
		}
	}
}

func TestJSON(t *testing.T) {
	n := parse(t, strings.Replace(example, "URL: nar", "URL: <&>nar", 1), nil)
	for version := 1; version <= 3; version++ {
		text, err := n.JSON(store.PathInfoJSON{Version: version})
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Contains(text, []byte(`"url":"<&>nar`)) {
			t.Errorf("%s has HTML escapes", text)
		}
		again, err := narinfo.ParseJSON(foo, text)
		if err != nil || !reflect.DeepEqual(again, n) {
			t.Errorf("version %d: %+v, %v", version, again, err)
		}
	}
	good, err := n.JSON(store.PathInfoJSON{Version: 2})
	if err != nil {
		t.Fatal(err)
	}
	for key, value := range map[string]string{
		"url": "1", "compression": "null", "downloadHash": `"x"`, "downloadSize": "-1", "narSize": "1.5",
	} {
		var object map[string]json.RawMessage
		if err := json.Unmarshal(good, &object); err != nil {
			t.Fatal(err)
		}
		object[key] = json.RawMessage(value)
		text, err := json.Marshal(object)
		if err != nil {
			t.Fatal(err)
		}
		_, err = narinfo.ParseJSON(foo, text)
		var bad *store.PathInfoJSONError
		if !errors.As(err, &bad) || bad.Key != key || bad.Path != foo {
			t.Errorf("%s is %s: %v, want an error for that key", key, value, err)
		}
	}
	n.URL = "\xff"
	var bad *store.PathInfoJSONError
	if _, err := n.JSON(store.PathInfoJSON{Version: 1}); !errors.As(err, &bad) || bad.Key != "url" {
		t.Errorf("a URL that is not UTF-8: %v", err)
	}
	if _, err := n.JSON(store.PathInfoJSON{Version: 4}); !errors.As(err, &bad) || bad.Key != "version" {
		t.Errorf("version 4: %v", err)
	}
}
