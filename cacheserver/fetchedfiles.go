package cacheserver

import (
	"context"
	"io"
	"io/fs"
	"strings"

	"pix/nixhash"
	"pix/store"
	"pix/storepath"
)

// fetchedFiles are archives in a directory, under the names of their hashes. A file is complete when its hash was verified.
type fetchedFiles struct {
	keptFiles
	places    *places // for fetches
	storeDir  storepath.Dir
	infos     map[string]*fetchedInfo // by hash part; keptFiles.mu protects it
	hashParts map[nixhash.Hash]string // of the path whose info is kept, by archive
	readSize  int64                   // of the infos in memory, as files
	maxRead   int64                   // the maximum of readSize
}

// openFetched opens a directory with fetched archives, or creates it. It deletes files that were not completed.
func openFetched(dir string, storeDir storepath.Dir, size int64, fetches int) (*fetchedFiles, error) {
	c := &fetchedFiles{
		keptFiles: keptFiles{dir: dir, max: size, writers: fetches, temporary: ".fetching-", format: formatFetched},
		places:    newPlaces(fetches),
		storeDir:  storeDir, infos: make(map[string]*fetchedInfo), hashParts: make(map[nixhash.Hash]string), maxRead: maxReadInfos,
	}
	c.deleted = func(f *keptFile) { c.removeInfo(f.archive) }
	if err := c.load(c.addFound); err != nil {
		return nil, err
	}
	c.removeOrphans()
	return c, nil
}

// fetchedExtension ends the names of complete files.
const fetchedExtension = ".nar"

func formatFetched(n keptName) string { return n.archive.Nix32() + fetchedExtension }

// fetchedName returns the name of the file of an archive. The file has the archive as it is, so it has the same hash.
func fetchedName(archive nixhash.Hash, size int64) keptName { return keptName{archive, archive, size} }

// addFound adds a file in the directory.
func (c *fetchedFiles) addFound(e fs.DirEntry) error {
	if hashPart, archive, ok := parseInfo(e.Name()); ok && e.Type().IsRegular() {
		info, err := e.Info()
		if err == nil {
			c.addInfo(hashPart, &fetchedInfo{archive: archive, size: info.Size()})
		}
		return err
	}
	base, ok := strings.CutSuffix(e.Name(), fetchedExtension)
	hash, err := nixhash.ParseUnprefixed(base, nixhash.SHA256)
	if !ok || err != nil || formatFetched(fetchedName(hash, 0)) != e.Name() || !e.Type().IsRegular() {
		return nil
	}
	info, err := e.Info()
	if err != nil {
		return err
	}
	c.add(fetchedName(hash, info.Size()), lastUse(info))
	return nil
}

// An openFunc returns the store from which archives are fetched.
type openFunc func(context.Context) (store.Store, error)

// get opens the file of an archive, or the file into which it is being fetched. It begins to fetch the archive if no other
// request has. The caller must close the result.
func (c *fetchedFiles) get(ctx context.Context, src openFunc, info *store.PathInfo) (*openFile, *growingFile, error) {
	if f, g, err := c.findWhole(info); f != nil || g != nil || err != nil {
		return f, g, err
	}
	if err := c.places.acquire(ctx); err != nil {
		return nil, nil, err
	}
	f, g, begun, err := c.begin(src, info)
	if !begun {
		c.places.release()
	}
	return f, g, err
}

// findWhole is find for the archive of an info.
func (c *fetchedFiles) findWhole(info *store.PathInfo) (*openFile, *growingFile, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.findWholeLocked(info)
}

// findWholeLocked is findWhole with c.mu held. A file with a wrong size was damaged by a power cut.
func (c *fetchedFiles) findWholeLocked(info *store.PathInfo) (*openFile, *growingFile, error) {
	if known := c.files[info.NARHash]; known != nil && uint64(known.size) != info.NARSize {
		c.forget(known)
	}
	return c.findLocked(info.NARHash)
}

// begin begins to fetch an archive, unless another request has. The caller has acquired a place, which the fetch releases if it
// has begun.
func (c *fetchedFiles) begin(src openFunc, info *store.PathInfo) (f *openFile, g *growingFile, begun bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f, g, err := c.findWholeLocked(info); f != nil || g != nil || err != nil {
		return f, g, false, err
	}
	size := int64(info.NARSize)
	if err := c.makeRoom(size); err != nil {
		return nil, nil, false, err
	}
	ctx, cancel := context.WithCancel(context.Background()) // the request may end before the fetch
	if g, err = c.createTemp(size, cancel); err != nil {
		cancel()
		return nil, nil, false, err
	}
	c.start(info.NARHash, size, g, c.places, func() (keptName, error) {
		if err := g.fetch(ctx, src, info); err != nil {
			return keptName{}, upstreamError(err)
		}
		c.saveInfo(info)
		return fetchedName(info.NARHash, size), nil
	})
	return nil, g, true, nil
}

// fetch writes the archive of an info to the file.
func (g *growingFile) fetch(ctx context.Context, open openFunc, info *store.PathInfo) error {
	src, err := open(ctx)
	if err != nil {
		return err
	}
	archive, err := openSource(ctx, src, info)
	if err != nil {
		return err
	}
	if mayHaveAddress(info) && !isArchiveAddress(info) { // otherwise a wrong info would be kept with the archive
		archive = newAddressReader(ctx, archive, info, nil)
	}
	defer archive.Close()
	_, err = io.Copy(g, archive)
	return err
}
