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
	size    int64           // of the file in bytes
	info    *store.PathInfo // nil until the file is read
}

// maxReadInfos is the maximum size in bytes of the files whose infos are in memory.
const maxReadInfos = 16 << 20

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
	if old := c.infos[hashPart]; old != nil {
		c.removeInfo(old.archive)
	}
	c.removeInfo(f.archive)
	c.infos[hashPart], c.hashParts[f.archive] = f, hashPart
	c.size += spaceOf(f.size)
}

// removeInfo deletes the info of an archive. c.mu is held.
func (c *fetchedFiles) removeInfo(archive nixhash.Hash) {
	if hashPart, ok := c.hashParts[archive]; ok {
		os.Remove(filepath.Join(c.dir, formatInfo(hashPart, archive))) // otherwise the next server deletes it
		f := c.infos[hashPart]
		c.size -= spaceOf(f.size)
		c.forgetRead(f)
		delete(c.infos, hashPart)
		delete(c.hashParts, archive)
	}
}

// forgetInfo deletes the info of a path if it is kept with the archive of this info. The archive remains, because other paths may
// have it.
func (c *fetchedFiles) forgetInfo(info *store.PathInfo) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.hashParts[info.NARHash] == info.Path.HashPart() {
		c.removeInfo(info.NARHash)
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

// forgetRead drops an info from the memory. c.mu is held.
func (c *fetchedFiles) forgetRead(f *fetchedInfo) {
	if f.info != nil {
		f.info = nil
		c.readSize -= f.size
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
	hashPart, size := strings.Clone(info.Path.HashPart()), int64(len(text))
	err = c.makeRoom(size)
	c.addInfo(hashPart, &fetchedInfo{archive: info.NARHash, size: size})
	if err != nil || os.Rename(f.Name(), filepath.Join(c.dir, formatInfo(hashPart, info.NARHash))) != nil {
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
	if f.info == nil && !c.readInfo(hashPart, f) { // a power cut has damaged it
		c.removeInfo(f.archive)
		return nil
	}
	own := *f.info
	return &own
}

// readInfo reads the info of a path, and keeps it in memory. It reports false if the file has another one. When there are too many
// infos in memory, readInfo drops the others. c.mu is held.
func (c *fetchedFiles) readInfo(hashPart string, f *fetchedInfo) bool {
	text, err := os.ReadFile(filepath.Join(c.dir, formatInfo(hashPart, f.archive)))
	if err != nil || int64(len(text)) != f.size {
		return false
	}
	n, err := narinfo.ParseBytes(text, &narinfo.Options{StoreDir: c.storeDir})
	if err != nil || n.Path.HashPart() != hashPart || n.NARHash != f.archive {
		return false
	}
	if c.readSize+f.size > c.maxRead {
		for _, other := range c.infos {
			c.forgetRead(other)
		}
	}
	f.info = &n.PathInfo
	c.readSize += f.size
	return true
}
