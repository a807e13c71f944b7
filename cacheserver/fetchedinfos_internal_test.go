package cacheserver

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"pix/nixhash"
	"pix/store"
	"pix/storepath"
)

// infoWith returns the info of a path with many references.
func infoWith(i, references int) *store.PathInfo {
	info := &store.PathInfo{
		Path:    storepath.Path(fmt.Sprintf("/nix/store/%032d-x", i)),
		NARHash: nixhash.Sum(nixhash.SHA256, fmt.Append(nil, i)), NARSize: 100,
	}
	for r := range references {
		info.References = append(info.References, storepath.Path(fmt.Sprintf("/nix/store/%032d-reference", r)))
	}
	return info
}

// keep adds an archive and its info.
func (c *fetchedFiles) keep(t *testing.T, info *store.PathInfo) {
	t.Helper()
	name := fetchedName(info.NARHash, int64(info.NARSize))
	if err := os.WriteFile(c.path(name), make([]byte, info.NARSize), 0o600); err != nil {
		t.Fatal(err)
	}
	c.saveInfo(info)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.add(name, time.Now())
}

// usedBlocks returns the disk space of the files in a directory.
func usedBlocks(t *testing.T, dir string) (size int64) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		size += spaceOf(info.Size())
	}
	return size
}

// Infos count as a part of the files in the directory, so an upstream cache cannot fill the disk with long infos of small archives.
func TestInfosHaveSizes(t *testing.T) {
	const size = 1 << 20
	dir := t.TempDir()
	open := func() *fetchedFiles {
		c, err := openFetched(dir, storepath.DefaultDir, size, 1)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.close)
		return c
	}
	c := open()
	for i := range 40 {
		c.keep(t, infoWith(i, 1000))
		c.saveInfo(infoWith(i, 900)) // it replaces the first one
	}
	for range 2 {
		if used := usedBlocks(t, dir); used > size+100_000 || used < size/2 || c.size != used {
			t.Errorf("%d bytes are used, and %d counted", used, c.size)
		}
		if len(c.infos) != len(c.files) || len(c.hashParts) != len(c.files) {
			t.Errorf("there are %d infos of %d files", len(c.infos), len(c.files))
		}
		c = open()
	}
	for archive := range c.files {
		c.remove(archive)
	}
	if entries, err := filepath.Glob(filepath.Join(dir, "*")); err != nil || len(entries) != 0 || c.size != 0 {
		t.Errorf("%v remain, and %d bytes, %v", entries, c.size, err)
	}
}

// The infos in memory have a limit.
func TestInfosInMemory(t *testing.T) {
	c, err := openFetched(t.TempDir(), storepath.DefaultDir, 1<<30, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	c.maxRead = 1 << 20
	const references = 1000 // 40 kB
	var read int
	for i := range 45 {
		info := infoWith(i, references)
		c.keep(t, info)
		if got := c.keptInfo(info.Path.HashPart()); got == nil || len(got.References) != references {
			t.Fatalf("info %d: %v", i, got)
		}
	}
	var size int64
	for _, f := range c.infos {
		if f.info != nil {
			size += f.size
			read++
		}
	}
	if size != c.readSize || size > c.maxRead || read == 0 {
		t.Errorf("%d infos with %d bytes are in memory, %d counted", read, size, c.readSize)
	}
	if got := c.keptInfo(infoWith(0, 0).Path.HashPart()); got == nil || len(got.References) != references {
		t.Errorf("an info that was dropped from the memory: %v", got)
	}
}
