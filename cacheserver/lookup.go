package cacheserver

import (
	"context"
	"sync"

	"pix/store"
	"pix/storepath"
)

// lookUp returns the info of the path with a hash part, and the first store that has it. The error is [store.ErrNotFound] if
// no store has it.
func (h *Handler) lookUp(ctx context.Context, hashPart string) (store.Store, *store.PathInfo, error) {
	for _, s := range h.stores {
		info, err := h.queryHashPart(ctx, s, hashPart)
		if err == nil || !isAbsent(err) {
			return s, info, err
		}
	}
	return nil, nil, &store.NotFoundError{}
}

// queryHashPart returns the info of the path of one store with a hash part. If a path with the hash part was found before, it is
// queried first. It may have been deleted since.
func (h *Handler) queryHashPart(ctx context.Context, s store.Store, hashPart string) (*store.PathInfo, error) {
	if path := h.found.path(hashPart); path != "" {
		if info, err := s.QueryPathInfo(ctx, path); err == nil || !isAbsent(err) {
			return info, err
		}
	}
	path, err := store.PathFromHashPart(ctx, s, hashPart)
	if err != nil {
		return nil, err
	}
	info, err := s.QueryPathInfo(ctx, path)
	if err == nil {
		h.found.add(path)
	}
	return info, err
}

// maxFound is the maximum number of paths that are remembered. They need about 200 bytes each.
const maxFound = 1 << 15

// foundPaths remembers paths by their hash parts. For a store in a directory, finding a path takes several times as long as
// querying its info.
type foundPaths struct {
	mu     sync.RWMutex
	byHash map[string]storepath.Path
}

// path returns the remembered path with a hash part, or "".
func (f *foundPaths) path(hashPart string) storepath.Path {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.byHash[hashPart]
}

func (f *foundPaths) add(path storepath.Path) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.byHash == nil || len(f.byHash) >= maxFound {
		f.byHash = make(map[string]storepath.Path)
	}
	path = path.Clone()
	f.byHash[path.HashPart()] = path
}
