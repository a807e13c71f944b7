package cacheserver

import (
	"cmp"
	"context"
	"errors"
	"sync"

	"pix/store"
	"pix/storepath"
)

// lookUp returns the info of the path with a hash part, and the first store that has it. The error is [store.ErrNotFound] if
// no store has it.
func (h *Handler) lookUp(ctx context.Context, hashPart string) (s store.Store, info *store.PathInfo, err error) {
	err = h.firstStore(&store.NotFoundError{}, func(candidate store.Store) (err error) {
		s = candidate
		info, err = h.queryHashPart(ctx, s, hashPart)
		return err
	})
	return s, info, err
}

// firstStore calls query for one store after the other until one has what the query asks for. An upstream cache that fails does not
// keep the query from the next stores. If no store has it, the error is the one of the first such upstream cache, or absent: a
// client must not take a failure for an absence, which it may remember for an hour.
func (h *Handler) firstStore(absent error, query func(store.Store) error) error {
	var failed error
	for _, s := range h.stores {
		err := query(s)
		switch {
		case err != nil && isAbsent(err):
		case errors.As(err, new(*UpstreamError)):
			failed = cmp.Or(failed, err)
		default:
			return err
		}
	}
	return cmp.Or(failed, absent)
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
