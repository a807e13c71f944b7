package cacheserver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"pix/internal/compression"
	"pix/internal/parallel"
	"pix/nixhash"
)

// compressedFiles are the compressed archives in a directory. A file is written under a temporary name, and renamed when it is
// complete, so a file with a compressedName is complete, also after a crash.
type compressedFiles struct {
	dir      string
	max      int64 // bytes
	encoders *places
	running  sync.WaitGroup // archives that are being compressed

	mu      sync.Mutex
	closed  bool
	files   map[nixhash.Hash]*compressedEntry
	size    int64                         // of all files, and of the archives that are being compressed
	growing map[nixhash.Hash]*growingFile // archives that are being compressed, or will be
}

// A compressedEntry is a complete file.
type compressedEntry struct {
	name compressedName
	used time.Time
}

// A compressedName is the name of a complete file: the hash of the archive, and the hash and the size of the file.
type compressedName struct {
	archive, file nixhash.Hash
	size          int64
}

func (n compressedName) String() string {
	return fmt.Sprintf("%s-%s-%d.nar.zst", n.archive.Nix32(), n.file.Nix32(), n.size)
}

// etag returns the entity tag of the file.
func (n compressedName) etag() string { return `"` + n.file.Nix32() + `"` }

// parseCompressedName parses the result of String.
func parseCompressedName(s string) (n compressedName, ok bool) {
	parts := strings.Split(strings.TrimSuffix(s, ".nar.zst"), "-")
	if len(parts) != 3 {
		return n, false
	}
	var errs [3]error
	n.archive, errs[0] = nixhash.ParseUnprefixed(parts[0], nixhash.SHA256)
	n.file, errs[1] = nixhash.ParseUnprefixed(parts[1], nixhash.SHA256)
	n.size, errs[2] = strconv.ParseInt(parts[2], 10, 64)
	return n, errors.Join(errs[:]...) == nil && n.String() == s
}

// temporaryPrefix begins the names of files that are not complete.
const temporaryPrefix = ".compressing-"

// openCompressed opens a directory with compressed archives, or creates it. It deletes files that were not completed.
func openCompressed(dir string, size int64, encoders int) (*compressedFiles, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	c := &compressedFiles{
		dir: dir, max: size, encoders: newPlaces(encoders),
		files: make(map[nixhash.Hash]*compressedEntry), growing: make(map[nixhash.Hash]*growingFile),
	}
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

// addFound adds a file in the directory. A file whose size is not the one in its name was damaged by a power cut.
func (c *compressedFiles) addFound(e fs.DirEntry) error {
	if strings.HasPrefix(e.Name(), temporaryPrefix) {
		return os.Remove(filepath.Join(c.dir, e.Name()))
	}
	name, ok := parseCompressedName(e.Name())
	if !ok {
		return nil
	}
	info, err := e.Info()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() || info.Size() != name.size || c.files[name.archive] != nil {
		return os.Remove(filepath.Join(c.dir, e.Name()))
	}
	c.files[name.archive] = &compressedEntry{name, lastUse(info)}
	c.size += name.size
	return nil
}

// largest returns the maximum size of an archive that is compressed. If all encoders have such an archive, the directory still has
// space for one more.
func (c *compressedFiles) largest() uint64 { return uint64(c.max) / uint64(cap(c.encoders.taken)+1) }

// makeRoom deletes files until size more bytes fit. c.mu is held.
func (c *compressedFiles) makeRoom(size int64) error {
	if c.size+size <= c.max {
		return nil
	}
	entries := make([]*compressedEntry, 0, len(c.files))
	for _, e := range c.files {
		entries = append(entries, e)
	}
	slices.SortFunc(entries, func(a, b *compressedEntry) int {
		return cmp.Or(a.used.Compare(b.used), a.name.archive.Compare(b.name.archive))
	})
	for _, e := range entries {
		if c.size+size <= c.max-c.max/10 { // so that the next file needs no deletions
			break
		}
		if err := os.Remove(filepath.Join(c.dir, e.name.String())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		delete(c.files, e.name.archive)
		c.size -= e.name.size
	}
	return nil
}

// openLocked opens the compressed file of an archive. It returns nil if there is none. c.mu is held.
func (c *compressedFiles) openLocked(archive nixhash.Hash) (*compressedFile, error) {
	e := c.files[archive]
	if e == nil {
		return nil, nil
	}
	path := filepath.Join(c.dir, e.name.String())
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) { // an administrator has deleted it
		delete(c.files, archive)
		c.size -= e.name.size
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	const often = time.Minute
	if now := time.Now(); now.Sub(e.used) > often {
		e.used = now
		os.Chtimes(path, now, now) // the order after a restart; without it only other files are deleted
	}
	return &compressedFile{f, e.name}, nil
}

// close waits for the archives that are being compressed.
func (c *compressedFiles) close() error {
	c.mu.Lock()
	c.closed = true
	for _, g := range c.growing {
		g.cancel()
	}
	c.mu.Unlock()
	c.running.Wait()
	return nil
}

// errClosed is the error of requests after [Handler.Close].
var errClosed = errors.New("the handler was closed")

// get returns the compressed file of an archive, or the file into which the archive is being compressed. It starts that if no other
// request has. The caller must close the result.
func (c *compressedFiles) get(ctx context.Context, hash nixhash.Hash, a *archive) (*compressedFile, *growingFile, error) {
	if f, g, err := c.find(hash); f != nil || g != nil || err != nil {
		return f, g, err
	}
	if err := c.encoders.acquire(ctx); err != nil {
		return nil, nil, err
	}
	begun := false
	defer func() {
		if !begun { // also if the store panics
			c.encoders.release()
		}
	}()
	g, err := c.create(context.WithoutCancel(ctx), a)
	if err != nil {
		return nil, nil, err
	}
	f, other, err := c.begin(hash, a, g)
	if f != nil || other != nil || err != nil {
		g.discard()
		a.contents.Close()
		return f, other, err
	}
	begun = true
	return nil, g, nil
}

// find returns the compressed file of an archive, or the file into which the archive is being compressed, or neither.
func (c *compressedFiles) find(hash nixhash.Hash) (*compressedFile, *growingFile, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.findLocked(hash)
}

// findLocked is find with c.mu held.
func (c *compressedFiles) findLocked(hash nixhash.Hash) (*compressedFile, *growingFile, error) {
	if c.closed {
		return nil, nil, errClosed
	}
	if g := c.growing[hash]; g != nil {
		g.open()
		return nil, g, nil
	}
	f, err := c.openLocked(hash)
	return f, nil, err
}

// create opens an archive, and creates a file for the compressed archive.
func (c *compressedFiles) create(ctx context.Context, a *archive) (*growingFile, error) {
	ctx, cancel := context.WithCancel(ctx)
	if err := a.open(ctx, 0); err != nil {
		cancel()
		return nil, err
	}
	f, err := os.CreateTemp(c.dir, temporaryPrefix)
	if err != nil {
		a.contents.Close()
		cancel()
		return nil, err
	}
	return &growingFile{file: f, users: 2, cancel: cancel, changed: make(chan struct{})}, nil
}

// begin begins to compress an archive into g. If another request has done so, begin returns that file instead.
func (c *compressedFiles) begin(hash nixhash.Hash, a *archive, g *growingFile) (*compressedFile, *growingFile, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f, other, err := c.findLocked(hash); f != nil || other != nil || err != nil {
		return f, other, err
	}
	size := int64(a.info.NARSize)
	if err := c.makeRoom(size); err != nil {
		return nil, nil, err
	}
	c.growing[hash] = g
	c.size += size
	c.running.Go(func() {
		defer g.close()
		defer c.encoders.release()
		defer g.cancel()
		var name compressedName
		err := new(parallel.Guard).Call(func() (err error) { // a panic of a store ends the requests, and not the program
			name, err = g.compress(a, hash)
			return err
		})
		c.finish(hash, size, g, name, err)
	})
	return nil, nil, nil
}

// finish makes a file visible that is complete, or deletes it. size is the size of the archive.
func (c *compressedFiles) finish(hash nixhash.Hash, size int64, g *growingFile, name compressedName, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.growing, hash)
	c.size -= size
	if err == nil {
		err = os.Rename(g.file.Name(), filepath.Join(c.dir, name.String()))
	}
	if err != nil {
		os.Remove(g.file.Name())
	} else {
		c.files[hash] = &compressedEntry{name, time.Now()}
		c.size += name.size
	}
	g.end(name, err)
}

// A growingFile is a file that one goroutine writes and any number of others read.
type growingFile struct {
	file   *os.File
	cancel context.CancelFunc

	mu      sync.Mutex
	users   int         // the writer and the readers
	lonely  *time.Timer // cancels the writer; not nil if it is the only user
	written int64
	changed chan struct{} // closed and replaced when a field changes
	ended   bool
	err     error          // why the file is not complete
	name    compressedName // when it has ended without an error
}

// open adds a user.
func (g *growingFile) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.users++
	if g.lonely != nil {
		g.lonely.Stop()
		g.lonely = nil
	}
}

// maxLonely is how long an archive is compressed without a client that waits for it. A client may come back and resume, but a store
// that does not answer must not keep an encoder.
const maxLonely = 5 * time.Minute

// discard removes a file that is not used.
func (g *growingFile) discard() {
	g.cancel()
	os.Remove(g.file.Name())
	g.file.Close()
}

// close removes a user.
func (g *growingFile) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch g.users--; {
	case g.users == 0:
		g.file.Close()
	case g.users == 1 && !g.ended:
		g.lonely = time.AfterFunc(maxLonely, g.cancel)
	}
}

// compress writes the compressed archive, which has this hash, and closes the archive.
func (g *growingFile) compress(a *archive, hash nixhash.Hash) (compressedName, error) {
	defer a.contents.Close()
	hasher := nixhash.SHA256.New()
	w, err := compression.Encode("zstd", io.MultiWriter(hasher, g), 0, a.info.NARSize)
	if err != nil {
		return compressedName{}, err
	}
	err = a.send(w, byteRange{0, int64(a.info.NARSize)})
	if err != nil {
		g.fail(err) // before Close: it ends the stream, and the clients must not see a complete one
	}
	err = errors.Join(err, w.Close())
	return compressedName{hash, nixhash.FromHash(nixhash.SHA256, hasher), g.written}, err
}

// Write appends to the file.
func (g *growingFile) Write(p []byte) (int, error) {
	n, err := g.file.Write(p)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.written += int64(n)
	g.wake()
	return n, err
}

// wake wakes all waiting readers. g.mu is held.
func (g *growingFile) wake() {
	close(g.changed)
	g.changed = make(chan struct{})
}

// fail ends the file with an error for its readers.
func (g *growingFile) fail(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.err == nil {
		g.err = err
	}
	g.wake()
}

// end ends the file.
func (g *growingFile) end(name compressedName, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.ended, g.name = true, name
	if g.lonely != nil {
		g.lonely.Stop()
	}
	if g.err == nil {
		g.err = err
	}
	g.wake()
}

// readAt reads bytes at an offset, and waits for them if necessary. The error is [io.EOF] at the end of a complete file.
func (g *growingFile) readAt(ctx context.Context, p []byte, offset int64) (int, error) {
	for {
		g.mu.Lock()
		available, ended, err, changed := g.written-offset, g.ended, g.err, g.changed
		g.mu.Unlock()
		switch {
		case err != nil:
			return 0, err
		case available > 0:
			return g.file.ReadAt(p[:min(int64(len(p)), available)], offset)
		case ended:
			return 0, io.EOF
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
	}
}

// wait waits until the file is complete.
func (g *growingFile) wait(ctx context.Context) error {
	for {
		g.mu.Lock()
		ended, err, changed := g.ended, g.err, g.changed
		g.mu.Unlock()
		if ended || err != nil {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
