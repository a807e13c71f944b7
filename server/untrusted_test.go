package server_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pix/localstore"
	"pix/nar"
	"pix/nixhash"
	"pix/protocol"
	"pix/signature"
	"pix/store"
	"pix/storepath"
	"pix/wire"
)

// archiveOf encodes an archive word by word, so that it can be invalid.
func archiveOf(words string) []byte {
	var b []byte
	for word := range strings.FieldsSeq(words) {
		if word == "''" {
			word = ""
		}
		b = wire.AppendString(b, strings.ReplaceAll(word, "_", " "))
	}
	return b
}

// entry returns an encoded directory entry.
func entry(name, node string) string {
	return " entry ( name " + name + " node ( " + node + " ) )"
}

// hostileArchives would write outside the store if they were restored without care.
func hostileArchives() map[string][]byte {
	dir := func(entries ...string) []byte {
		return archiveOf("nix-archive-1 ( type directory" + strings.Join(entries, "") + " )")
	}
	file := "type regular contents outside"
	deep := strings.Repeat(" entry ( name d node ( type directory", 100)
	return map[string][]byte{
		"a file in ..":               dir(entry("..", file)),
		"a file in .":                dir(entry(".", file)),
		"a name with a slash":        dir(entry("../../outside", file)),
		"an absolute name":           dir(entry("/tmp/outside", file)),
		"an empty name":              dir(entry("''", file)),
		"a name with a zero":         dir(entry("a\x00b", file)),
		"through a symlink":          dir(entry("a", "type symlink target /"), entry("a", "type directory"+entry("outside", file))),
		"a symlink twice":            dir(entry("a", "type symlink target ../../.."), entry("a", file)),
		"names out of order":         dir(entry("b", file), entry("a", file)),
		"a symlink to nothing":       dir(entry("a", "type symlink target ''")),
		"a directory without end":    archiveOf("nix-archive-1 ( type directory" + deep),
		"a deep directory":           archiveOf("nix-archive-1 ( type directory" + deep + strings.Repeat(" ) )", 100) + " )"),
		"a device":                   archiveOf("nix-archive-1 ( type device )"),
		"a tag where a name belongs": dir(" entry ( node ( " + file + " ) name a )"),
	}
}

// tree lists the files in a directory, without the files of the store.
func tree(t *testing.T, dir string) (names []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(name string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(dir, name)
		if rel == "root/nix" {
			return fs.SkipDir
		}
		names = append(names, rel)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// An untrusted client changes no files outside the store, and adds only objects that a trusted
// key has signed.
func TestUntrustedOnDisk(t *testing.T) {
	dir := t.TempDir()
	key, err := signature.GenerateKey("test-1")
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := signature.GenerateKey("test-1")
	if err != nil {
		t.Fatal(err)
	}
	s, err := localstore.Open(t.Context(), &localstore.Options{
		Root: filepath.Join(dir, "root"), TrustedKeys: signature.NewKeySet(key.Public()), NoSync: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	before := tree(t, dir)
	c := dial(t, s, nil)
	valid := func() []storepath.Path {
		return must[*protocol.PathsReply](c, &protocol.QueryAllValidPathsRequest{}, nil).Paths
	}
	for name, archive := range hostileArchives() {
		for _, req := range []protocol.Request{
			&protocol.AddToStoreRequest{Name: "hostile", Method: storepath.NAR, Algorithm: nixhash.SHA256},
			&protocol.AddToStoreNarRequest{Info: *signedInfo(t, key, archive)},
		} {
			// The signature is valid, so only the archive can be refused.
			if _, err := c.ask(req, archive); err == nil {
				t.Errorf("%s: %s was accepted", name, req.Op())
			}
		}
	}
	for _, name := range []string{"", ".", "..", "../x", "a/b", "/tmp/x", "a b", strings.Repeat("x", 212)} {
		if _, err := c.ask(&protocol.AddToStoreRequest{Name: name, Method: storepath.Flat, Algorithm: nixhash.SHA256}, []byte("x")); err == nil {
			t.Errorf("the name %q was accepted", name)
		}
	}
	good := fileNAR("good")
	for name, change := range map[string]func(*store.PathInfo){
		"nobody has signed it":           func(i *store.PathInfo) { i.Signatures = nil },
		"a stranger has signed it":       func(i *store.PathInfo) { i.Signatures = nil; sign(t, stranger, i) },
		"it was changed afterwards":      func(i *store.PathInfo) { i.NARSize++ },
		"it says to be made by us":       func(i *store.PathInfo) { i.Signatures, i.Ultimate = nil, true },
		"it claims to be addressed so":   func(i *store.PathInfo) { i.Signatures = nil; i.CA = addressOf(t, "other") },
		"it refers to what is not there": func(i *store.PathInfo) { i.References = []storepath.Path{absent}; sign(t, key, i) },
	} {
		info := signedInfo(t, key, good)
		change(info)
		if _, err := c.ask(&protocol.AddToStoreNarRequest{Info: *info, DontCheckSigs: true, Repair: true}, good); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
	if got := valid(); len(got) > 0 {
		t.Errorf("%v are valid", got)
	}
	info := signedInfo(t, key, good)
	must[*protocol.None](c, &protocol.AddToStoreNarRequest{Info: *info}, good)
	if got := valid(); !slices.Equal(got, []storepath.Path{info.Path}) {
		t.Errorf("%v are valid, want only signed objects", got)
	}
	if after := tree(t, dir); !slices.Equal(before, after) {
		t.Errorf("files outside the store: %q, before: %q", after, before)
	}
	if entries, _ := os.ReadDir(filepath.Join(dir, "root/nix/store")); len(entries) != 2 { // the object and .links
		t.Errorf("the store directory has %v", entries)
	}
}

// signedInfo returns the info of an object with an archive, at a path that does not depend on
// the archive.
func signedInfo(t *testing.T, key signature.SecretKey, archive []byte) *store.PathInfo {
	t.Helper()
	path, err := storepath.DefaultDir.MakePath("output:out", nixhash.Sum(nixhash.SHA256, archive), "hostile")
	if err != nil {
		t.Fatal(err)
	}
	h := nar.NewHasher(nixhash.SHA256)
	h.Write(archive)
	info := &store.PathInfo{Path: path, NARHash: h.Hash(), NARSize: uint64(len(archive))}
	sign(t, key, info)
	return info
}

func sign(t *testing.T, key signature.SecretKey, info *store.PathInfo) {
	t.Helper()
	if err := info.Sign(key); err != nil {
		t.Fatal(err)
	}
}

func addressOf(t *testing.T, text string) storepath.ContentAddress {
	t.Helper()
	ca, err := storepath.NewContentAddress(storepath.NAR, nixhash.Sum(nixhash.SHA256, fileNAR(text)))
	if err != nil {
		t.Fatal(err)
	}
	return ca
}
