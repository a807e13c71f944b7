package cacheserver

import (
	"cmp"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"pix/internal/parallel"
	"pix/nixhash"
	"pix/store"
)

// fetchedFiles are archives in a directory, under the names of their hashes. A file is written under a temporary name, and
// renamed when its hash was verified.
type fetchedFiles struct {
	dir     string
	max     int64 // bytes
	fetches *places
	running sync.WaitGroup // fetches
	ctx     context.Context
	cancel  context.CancelFunc

	mu      sync.Mutex
	files   map[nixhash.Hash]*fetchedFile
	size    int64                         // of all files, and of the archives that are being fetched
	growing map[nixhash.Hash]*growingFile // archives that are being fetched
}

// A fetchedFile is a complete archive.
type fetchedFile struct {
	hash nixhash.Hash
	size int64
	used time.Time
}

const (
	fetchingPrefix = ".fetching-" // of the names of files that are not complete
	fetchedSuffix  = ".nar"
)

// openFetched opens a directory with fetched archives, or creates it. It deletes files that were not completed.
func openFetched(dir string, size int64, fetches int) (*fetchedFiles, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	c := &fetchedFiles{
		dir: dir, max: size, fetches: newPlaces(fetches),
		files: make(map[nixhash.Hash]*fetchedFile), growing: make(map[nixhash.Hash]*growingFile),
	}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if err := c.addFound(e); err != nil {
			return nil, err
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c, c.makeRoom(0)
}

// addFound adds a file in the directory.
func (c *fetchedFiles) addFound(e fs.DirEntry) error {
	if strings.HasPrefix(e.Name(), fetchingPrefix) {
		return os.Remove(filepath.Join(c.dir, e.Name()))
	}
	base, ok := strings.CutSuffix(e.Name(), fetchedSuffix)
	hash, err := nixhash.ParseUnprefixed(base, nixhash.SHA256)
	if !ok || err != nil || c.path(hash) != filepath.Join(c.dir, e.Name()) || !e.Type().IsRegular() {
		return nil
	}
	info, err := e.Info()
	if err != nil {
		return err
	}
	c.files[hash] = &fetchedFile{hash, info.Size(), lastUse(info)}
	c.size += info.Size()
	return nil
}

// lastUse returns the time at which a file was last used. A time in the future comes from a clock that was wrong, and would keep the
// file forever.
func lastUse(info fs.FileInfo) time.Time {
	if used, now := info.ModTime(), time.Now(); used.Before(now) {
		return used
	}
	return time.Time{}
}

// path returns the name of the file of an archive.
func (c *fetchedFiles) path(hash nixhash.Hash) string {
	return filepath.Join(c.dir, hash.Nix32()+fetchedSuffix)
}

// largest returns the maximum size of an archive that is kept. If such archives are fetched in all places, the directory still has
// space for one more.
func (c *fetchedFiles) largest() uint64 { return uint64(c.max) / uint64(cap(c.fetches.taken)+1) }

// makeRoom deletes files that were not used for the longest time, until size more bytes fit. c.mu is held.
func (c *fetchedFiles) makeRoom(size int64) error {
	if c.size+size <= c.max {
		return nil
	}
	files := make([]*fetchedFile, 0, len(c.files))
	for _, f := range c.files {
		files = append(files, f)
	}
	slices.SortFunc(files, func(a, b *fetchedFile) int { return cmp.Or(a.used.Compare(b.used), a.hash.Compare(b.hash)) })
	for _, f := range files {
		if c.size+size <= c.max-c.max/10 { // so that the next file needs no deletions
			break
		}
		if err := os.Remove(c.path(f.hash)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		c.forget(f)
	}
	return nil
}

// forget subtracts a file that was deleted. c.mu is held.
func (c *fetchedFiles) forget(f *fetchedFile) {
	delete(c.files, f.hash)
	c.size -= f.size
}

// remove deletes a file that is damaged.
func (c *fetchedFiles) remove(hash nixhash.Hash) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f := c.files[hash]; f != nil {
		os.Remove(c.path(hash)) // otherwise the next fetch replaces it
		c.forget(f)
	}
}

// close ends all fetches, and waits for them.
func (c *fetchedFiles) close() {
	c.mu.Lock()
	c.cancel() // no fetch begins after this
	c.mu.Unlock()
	c.running.Wait()
}

// get opens the file of an archive, or the file into which it is being fetched. It begins to fetch the archive if no other
// request has. The caller must close the result.
func (c *fetchedFiles) get(ctx context.Context, src store.Store, info *store.PathInfo) (*os.File, *growingFile, error) {
	if f, g, err := c.find(info); f != nil || g != nil || err != nil {
		return f, g, err
	}
	if err := c.fetches.acquire(ctx); err != nil {
		return nil, nil, err
	}
	f, g, begun, err := c.begin(src, info)
	if !begun {
		c.fetches.release()
	}
	return f, g, err
}

// find opens the file of an archive, or the file into which it is being fetched, or returns neither.
func (c *fetchedFiles) find(info *store.PathInfo) (*os.File, *growingFile, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.findLocked(info)
}

// findLocked is find with c.mu held.
func (c *fetchedFiles) findLocked(info *store.PathInfo) (*os.File, *growingFile, error) {
	if c.ctx.Err() != nil {
		return nil, nil, errClosed
	}
	if g := c.growing[info.NARHash]; g != nil {
		g.open()
		return nil, g, nil
	}
	known := c.files[info.NARHash]
	if known == nil {
		return nil, nil, nil
	}
	f, err := os.Open(c.path(known.hash))
	if errors.Is(err, fs.ErrNotExist) || err == nil && uint64(known.size) != info.NARSize { // deleted, or damaged by a power cut
		if f != nil {
			f.Close()
		}
		c.forget(known)
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	const often = time.Minute
	if now := time.Now(); now.Sub(known.used) > often {
		known.used = now
		os.Chtimes(c.path(known.hash), now, now) // the order after a restart; without it only other files are deleted
	}
	return f, nil, nil
}

// begin begins to fetch an archive, unless another request has. The caller has acquired a place, which the fetch releases if it
// has begun.
func (c *fetchedFiles) begin(src store.Store, info *store.PathInfo) (f *os.File, g *growingFile, begun bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f, g, err := c.findLocked(info); f != nil || g != nil || err != nil {
		return f, g, false, err
	}
	size := int64(info.NARSize)
	if err := c.makeRoom(size); err != nil {
		return nil, nil, false, err
	}
	temporary, err := os.CreateTemp(c.dir, fetchingPrefix)
	if err != nil {
		return nil, nil, false, err
	}
	ctx, cancel := context.WithCancel(c.ctx) // the end of one fetch must not end the others
	g = &growingFile{file: temporary, users: 2, cancel: cancel, changed: make(chan struct{})}
	c.growing[info.NARHash] = g
	c.size += size
	c.running.Go(func() {
		defer g.close()
		defer c.fetches.release()
		defer cancel()
		var guard parallel.Guard
		err := guard.Call(func() error { return c.fetch(ctx, g, src, info) }) // a panic of the store ends this fetch, and not the server
		c.finish(g, info, err)
	})
	return nil, g, true, nil
}

// fetch writes the archive to a file. The requests that wait for it may end meanwhile.
func (c *fetchedFiles) fetch(ctx context.Context, g *growingFile, src store.Store, info *store.PathInfo) error {
	archive, err := openSource(ctx, src, info, 0)
	if err != nil {
		return err
	}
	defer archive.Close()
	_, err = io.Copy(g, archive)
	return err
}

// finish makes a file visible that is complete, or deletes it.
func (c *fetchedFiles) finish(g *growingFile, info *store.PathInfo, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.growing, info.NARHash)
	c.size -= int64(info.NARSize)
	if err == nil {
		err = os.Rename(g.file.Name(), c.path(info.NARHash))
	}
	if err != nil {
		os.Remove(g.file.Name())
		err = upstreamError(err)
	} else {
		c.files[info.NARHash] = &fetchedFile{info.NARHash, int64(info.NARSize), time.Now()}
		c.size += int64(info.NARSize)
	}
	g.end(compressedName{}, err)
}
