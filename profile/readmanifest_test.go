package profile

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pix/nar"
	"pix/nixhash"
	"pix/store"
	"pix/storepath"
)

// add adds a file, or a directory with files, symlinks ("-> TARGET") and directories ("/").
func (w *world) add(entries map[string]string) storepath.Path {
	w.t.Helper()
	object := filepath.Join(w.t.TempDir(), "object")
	for name, text := range entries {
		file := filepath.Join(object, name)
		err := os.MkdirAll(filepath.Dir(file), 0o777)
		switch target, isLink := strings.CutPrefix(text, "-> "); {
		case err != nil:
		case isLink:
			err = os.Symlink(target, file)
		case text == "/":
			err = os.Mkdir(file, 0o777)
		default:
			err = os.WriteFile(file, []byte(text), 0o666)
		}
		if err != nil {
			w.t.Fatal(err)
		}
	}
	var archive bytes.Buffer
	if err := nar.Dump(w.t.Context(), &archive, object, nil); err != nil {
		w.t.Fatal(err)
	}
	info, err := w.store.AddToStore(w.t.Context(), "object", storepath.NAR, nixhash.SHA256, nil, &archive, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	return info.Path
}

func TestReadManifest(t *testing.T) {
	defer func(n int) { maxManifest = n }(maxManifest)
	maxManifest = 4096
	w := newWorld(t)
	packageNix := `[ { name = "hello"; outPath = "` + helloPath + `"; } ]`
	packageJSON := `{"version":3,"elements":{"hello":{"active":true,"storePaths":["` + helloPath + `"]}}}`
	file, err := store.AddText(t.Context(), w.store, "env-manifest.nix", packageNix, nil)
	if err != nil {
		t.Fatal(err)
	}
	inner := w.add(map[string]string{"manifest": packageNix})
	for what, test := range map[string]struct {
		entries map[string]string
		want    string // the name of the package, or a part of the error
	}{
		"nix profile":     {map[string]string{"a/b": "x", "manifest.json": packageJSON, "z": "x"}, "hello"},
		"nix-env":         {map[string]string{"bin": "-> /nix/store/x", "manifest.nix": "-> " + string(file)}, "hello"},
		"a file":          {map[string]string{"manifest.nix": packageNix}, "hello"},
		"both":            {map[string]string{"manifest.json": packageJSON, "manifest.nix": "-> /etc/passwd"}, "hello"},
		"none":            {map[string]string{"bin/x": "x", "n": "x"}, ErrNoManifest.Error()},
		"below":           {map[string]string{"a/manifest.json": packageJSON}, ErrNoManifest.Error()},
		"no directory":    {map[string]string{"": packageJSON}, ErrNoManifest.Error()},
		"outside":         {map[string]string{"manifest.nix": "-> /etc/passwd"}, "/manifest.nix': "},
		"relative":        {map[string]string{"manifest.nix": "-> ../" + file.Base()}, "/manifest.nix': "},
		"in an object":    {map[string]string{"manifest.nix": "-> " + string(inner) + "/manifest"}, "it points into the object"},
		"to a directory":  {map[string]string{"manifest.nix": "-> " + string(inner)}, "it is a directory"},
		"absent":          {map[string]string{"manifest.nix": "-> /nix/store/00000000000000000000000000000000-absent"}, "is not valid"},
		"is a directory":  {map[string]string{"manifest.json": "/"}, "it is a directory"},
		"too long":        {map[string]string{"manifest.json": strings.Repeat(" ", maxManifest+1)}, "it has more than 4096 bytes"},
		"not JSON":        {map[string]string{"manifest.json": "x"}, "/manifest.json': "},
		"not the version": {map[string]string{"manifest.json": `{"version":9}`}, "it has version 9"},
	} {
		path := w.add(test.entries)
		m, err := ReadManifest(t.Context(), w.store, path)
		var manifestErr *ManifestError
		switch {
		case err == nil && (len(m.Packages) != 1 || m.Packages[0].Name != test.want):
			t.Errorf("%s: %+v", what, m)
		case err != nil && (!errors.As(err, &manifestErr) || manifestErr.Path != path || !strings.Contains(err.Error(), test.want)):
			t.Errorf("%s: %v, want %s", what, err, test.want)
		}
	}
}
