package cacheserver

import (
	"context"
	"io"
	"os"
	"sync"

	"pix/store"
	"pix/storepath"
)

// partFiles keeps the archives whose parts clients request, if no directory for archives was given. Without the files, each part
// would need the whole archive from the upstream store. The first such request creates a temporary directory for them.
type partFiles struct {
	storeDir storepath.Dir
	size     int64
	fetches  int

	mu     sync.Mutex
	closed bool
	files  *fetchedFiles // nil before the first request
}

// open returns the files, or nil if the directory cannot be created. Then archives are sent without files.
func (p *partFiles) open() *fetchedFiles {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.files != nil || p.closed {
		return p.files
	}
	dir, err := os.MkdirTemp("", "pix-upstream-*")
	if err != nil {
		return nil
	}
	if p.files, err = openFetched(dir, p.storeDir, p.size, p.fetches); err != nil {
		os.RemoveAll(dir) // it may already have a lock file
		return nil
	}
	return p.files
}

// largest returns the maximum size of an archive whose parts are sent. It does not create the directory.
func (p *partFiles) largest() uint64 { return largestFile(p.size, p.fetches) }

// openFound opens a whole archive if there is a file with it. Otherwise the result is nil.
func (p *partFiles) openFound(ctx context.Context, info *store.PathInfo) (io.ReadCloser, error) {
	p.mu.Lock()
	files := p.files
	p.mu.Unlock()
	if files == nil {
		return nil, nil
	}
	f, g, err := files.findWhole(info)
	if err != nil || f == nil && g == nil {
		return nil, err
	}
	return files.newReader(ctx, f, g, info, 0, true)
}

// close deletes the files.
func (p *partFiles) close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	if p.files == nil {
		return nil
	}
	p.files.close()
	return os.RemoveAll(p.files.dir)
}
