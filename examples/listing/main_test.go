package main

import (
	"bytes"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"pix"
	"pix/daemontest"
	"pix/internal/testenv"
	"pix/store"
)

const want = `           ./
           bin/
         9 bin/run
           link -> bin/run
`

// The listing is the same from a daemon, from a store in a directory, and from caches with and without listings.
func TestList(t *testing.T) {
	dir := t.TempDir()
	testenv.RemoveStore(t, dir)
	d := daemontest.New(t, nil)
	files := fstest.MapFS{
		"bin/run": {Data: []byte("#!/bin/sh"), Mode: 0o755},
		"link":    {Data: []byte("bin/run"), Mode: 0o777 | fs.ModeSymlink},
	}
	for _, uri := range []string{
		"unix://" + d.Socket(),
		filepath.Join(dir, "root"),
		"file://" + dir + "/cache",
		"file://" + dir + "/listed?write-nar-listing=true",
	} {
		s, err := pix.Open(t.Context(), uri, &pix.Options{NoEnvironment: true})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		path, err := add(t, s, files)
		if err != nil {
			t.Fatalf("%s: %v", uri, err)
		}
		var out bytes.Buffer
		if err := list(t.Context(), s, path, &out); err != nil || out.String() != want {
			t.Errorf("%s: %v, %s", uri, err, out.String())
		}
		out.Reset()
		if err := list(t.Context(), s, path+"/link", &out); err != nil || !strings.Contains(out.String(), ". -> bin/run") {
			t.Errorf("%s: a file inside: %v, %s", uri, err, out.String())
		}
		if err := list(t.Context(), s, path+"/missing", &out); err == nil {
			t.Errorf("%s: a missing file was listed", uri)
		}
	}
}

// add adds files and returns their path.
func add(t *testing.T, s store.Store, files fstest.MapFS) (string, error) {
	t.Helper()
	if _, ok := store.As[store.Adder](s); !ok {
		return "", nil
	}
	info, err := store.AddFS(t.Context(), s, "files", files, ".", nil, nil)
	if err != nil {
		return "", err
	}
	return string(info.Path), nil
}
