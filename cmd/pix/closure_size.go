package main

import (
	"context"

	"pix/store"
	"pix/storepath"
)

// closureSizes returns for each of the infos the size of the archives of its path and of all
// that it refers to, and so on, together, in bytes.
func closureSizes(ctx context.Context, s store.Store, infos []*store.PathInfo) (map[storepath.Path]uint64, error) {
	roots := make([]storepath.Path, len(infos))
	for i, info := range infos {
		roots[i] = info.Path
	}
	known, err := loadClosure(ctx, s, roots...)
	if err != nil {
		return nil, err
	}
	sizes := make(map[storepath.Path]uint64, len(roots))
	for _, root := range roots {
		sizes[root] = closureSize(known, root)
	}
	return sizes, nil
}

func closureSize(known map[storepath.Path]*store.PathInfo, root storepath.Path) (size uint64) {
	seen := map[storepath.Path]bool{root: true}
	for todo := []storepath.Path{root}; len(todo) > 0; {
		info := known[todo[len(todo)-1]]
		todo = todo[:len(todo)-1]
		size += info.NARSize
		for _, p := range info.References {
			if !seen[p] {
				seen[p] = true
				todo = append(todo, p)
			}
		}
	}
	return size
}
