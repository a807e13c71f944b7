package cacheserver

import (
	"os"
	"path/filepath"
	"strings"

	"pix/narinfo"
	"pix/nixhash"
	"pix/store"
)

// A fetchedInfo is the info of the last path for which an archive was fetched. It is in a file beside the archive, and is deleted
// with it. So the path is served without a query to the upstream cache, also while that cache is down. The file is not trusted: the
// reader checks the signatures of the info, as if it came from the upstream cache.
type fetchedInfo struct {
	archive nixhash.Hash
	info    *store.PathInfo // nil until the file is read
}

// infoExtension ends the names of files with infos. Such a name has the hash part of the path and the hash of the archive.
const infoExtension = ".narinfo"

func formatInfo(hashPart string, archive nixhash.Hash) string {
	return hashPart + "-" + archive.Nix32() + infoExtension
}

// parseInfo parses the result of formatInfo.
func parseInfo(s string) (hashPart string, archive nixhash.Hash, ok bool) {
	base, ok := strings.CutSuffix(s, infoExtension)
	if !ok {
		return "", archive, false
	}
	hashPart, digest, _ := strings.Cut(base, "-")
	archive, err := nixhash.ParseUnprefixed(digest, nixhash.SHA256)
	return hashPart, archive, err == nil && isHashPart(hashPart) && formatInfo(hashPart, archive) == s
}

// addInfo notes that the info of a path is in a file. Another path with the same archive loses its info. c.mu is held.
func (c *fetchedFiles) addInfo(hashPart string, f *fetchedInfo) {
	if old, ok := c.infos[hashPart]; ok && old.archive != f.archive {
		c.removeInfo(old.archive)
	}
	if c.hashParts[f.archive] != hashPart {
		c.removeInfo(f.archive)
	}
	c.infos[hashPart], c.hashParts[f.archive] = f, hashPart
}

// removeInfo deletes the info of an archive. c.mu is held.
func (c *fetchedFiles) removeInfo(archive nixhash.Hash) {
	if hashPart, ok := c.hashParts[archive]; ok {
		os.Remove(filepath.Join(c.dir, formatInfo(hashPart, archive))) // otherwise the next server deletes it
		delete(c.infos, hashPart)
		delete(c.hashParts, archive)
	}
}

// removeOrphans deletes the infos of archives that are not there.
func (c *fetchedFiles) removeOrphans() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for archive := range c.hashParts {
		if c.files[archive] == nil {
			c.removeInfo(archive)
		}
	}
}

// saveInfo writes the info of a path whose archive was fetched. Without it, the path is queried again. So errors, for example of a
// full disk, do not matter.
func (c *fetchedFiles) saveInfo(info *store.PathInfo) {
	text, err := narinfo.New(info, "none", info.NARHash, info.NARSize).AppendText(nil)
	if err != nil {
		return
	}
	f, err := os.CreateTemp(c.dir, c.temporary)
	if err != nil {
		return
	}
	_, err = f.Write(text)
	f.Close()
	if err != nil {
		os.Remove(f.Name())
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	hashPart := strings.Clone(info.Path.HashPart())
	c.addInfo(hashPart, &fetchedInfo{archive: info.NARHash})
	if os.Rename(f.Name(), filepath.Join(c.dir, formatInfo(hashPart, info.NARHash))) != nil {
		os.Remove(f.Name())
		c.removeInfo(info.NARHash)
	}
}

// keptInfo returns the info of a path whose archive is kept, or nil. The caller must not change its slices.
func (c *fetchedFiles) keptInfo(hashPart string) *store.PathInfo {
	c.mu.Lock()
	defer c.mu.Unlock()
	f := c.infos[hashPart]
	if f == nil || c.files[f.archive] == nil {
		return nil
	}
	if f.info == nil {
		if f.info = c.readInfo(hashPart, f.archive); f.info == nil { // a power cut has damaged it
			c.removeInfo(f.archive)
			return nil
		}
	}
	own := *f.info
	return &own
}

// readInfo reads the info of a path, or returns nil if the file has another one.
func (c *fetchedFiles) readInfo(hashPart string, archive nixhash.Hash) *store.PathInfo {
	text, err := os.ReadFile(filepath.Join(c.dir, formatInfo(hashPart, archive)))
	if err != nil {
		return nil
	}
	n, err := narinfo.ParseBytes(text, &narinfo.Options{StoreDir: c.storeDir})
	if err != nil || n.Path.HashPart() != hashPart || n.NARHash != archive {
		return nil
	}
	return &n.PathInfo
}
