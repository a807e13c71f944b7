package store_test

import (
	"bytes"
	"slices"
	"testing"

	"pix/nar"
	"pix/nixhash"
	"pix/store"
	"pix/store/memstore"
	"pix/storepath"
)

// A directory, a symlink and a malformed archive do not have the address of a file, whose contents may be empty.
func TestVerifyOtherThanFile(t *testing.T) {
	for _, contents := range []string{"", "the text"} {
		s := &spoiltStore{Store: memstore.New(nil), infos: map[storepath.Path]*store.PathInfo{}, archives: map[storepath.Path]string{}}
		path, err := store.AddText(t.Context(), s.Store, "text", contents, nil)
		if err != nil {
			t.Fatal(err)
		}
		right := fileArchive(t, contents)
		for name, archive := range map[string]string{
			"a file":                right,
			"a directory":           archiveOf(t, nar.Directory),
			"a symlink":             archiveOf(t, nar.Symlink),
			"a malformed archive":   "not an archive",
			"a truncated archive":   right[:len(right)-8],
			"more after a file":     right + right,
			"another last word":     right[:len(right)-16] + "\x01\x00\x00\x00\x00\x00\x00\x00]\x00\x00\x00\x00\x00\x00\x00",
			"an archive of no byte": "",
		} {
			s.archives[path] = archive
			s.change(t, path, func(info *store.PathInfo) {
				info.NARHash, info.NARSize = nixhash.Sum(nixhash.SHA256, []byte(archive)), uint64(len(archive))
			})
			want := []string{"text modified(*store.MismatchError)"}
			if archive == right {
				want = []string{"text"}
			}
			if got := verdicts(t, s, []storepath.Path{path}, &store.VerifyOptions{NoTrust: true}); !slices.Equal(got, want) {
				t.Errorf("%s for the text %q: %q, want %q", name, contents, got, want)
			}
		}
	}
}

// archiveOf returns the archive of an empty directory or a symlink.
func archiveOf(t *testing.T, kind nar.Kind) string {
	t.Helper()
	var b bytes.Buffer
	w := nar.NewWriter(&b)
	entry := nar.Entry{Kind: kind}
	if kind == nar.Symlink {
		entry.Target = "/target"
	}
	if err := w.WriteEntry(entry); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}
