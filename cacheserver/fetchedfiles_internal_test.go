package cacheserver

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"pix/nixhash"
	"pix/storepath"
)

// A file whose time is in the future, because a clock was wrong, is not kept forever: it is the first that is deleted.
func TestFileFromTheFuture(t *testing.T) {
	dir, now := t.TempDir(), time.Now()
	future, past := nixhash.Sum(nixhash.SHA256, []byte("future")), nixhash.Sum(nixhash.SHA256, []byte("past"))
	for hash, used := range map[nixhash.Hash]time.Time{future: now.AddDate(1, 0, 0), past: now.Add(-time.Hour)} {
		name := filepath.Join(dir, formatFetched(fetchedName(hash, 4000)))
		if err := os.WriteFile(name, make([]byte, 4000), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(name, used, used); err != nil {
			t.Fatal(err)
		}
	}
	c, err := openFetched(dir, storepath.DefaultDir, 6000, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	if c.files[past] == nil || c.files[future] != nil {
		t.Errorf("the files are %v", c.files)
	}
}
