package store

import (
	"context"

	"pix/storepath"
)

// maxBatched is the maximum size in bytes of an archive that is read together with others. A batch of a closure has 64 archives,
// and all their texts are in memory.
const maxBatched = 64 << 10

// A manyReader has the capabilities that a batchLoader needs.
type manyReader interface {
	ManyNARReader
	InfosQuerier
}

// A batchLoader loads several derivations at once. One by one, each takes two round trips to a daemon.
type batchLoader struct {
	storeLoader
	many manyReader
}

// LoadDerivations implements [derivation.BatchLoader].
func (l *batchLoader) LoadDerivations(ctx context.Context, paths []storepath.Path) []string {
	texts := make([]string, len(paths))
	infos, indexes := l.smallInfos(ctx, paths)
	i := 0
	for archive, err := range l.many.NARsFromPaths(ctx, infos) {
		if err != nil {
			break
		}
		text, err := fileIn(archive, infos[i].Path)
		if err != nil {
			break
		}
		texts[indexes[i]] = text
		i++
	}
	return texts
}

// smallInfos returns the infos of the paths with small archives, and the indexes of these paths. The first error, such as an
// invalid path, ends the queries.
func (l *batchLoader) smallInfos(ctx context.Context, paths []storepath.Path) (infos []*PathInfo, indexes []int) {
	i := 0
	for info, err := range l.many.QueryPathInfos(ctx, paths) {
		if err != nil {
			break
		}
		if 0 < info.NARSize && info.NARSize <= maxBatched {
			infos, indexes = append(infos, info), append(indexes, i)
		}
		i++
	}
	return infos, indexes
}
