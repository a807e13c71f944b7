package store

import (
	"context"

	"pix/storepath"
)

// maxBatched is the maximum size in bytes of an archive that is read together with others. A batch of a closure has 64 archives, and
// all their texts are in memory.
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
	infos, numbers := l.smallOnes(ctx, paths)
	i := 0
	for archive, err := range l.many.NARsFromPaths(ctx, infos) {
		if err != nil {
			break
		}
		if texts[numbers[i]], err = fileIn(archive, infos[i].Path); err != nil {
			texts[numbers[i]] = ""
			break
		}
		i++
	}
	return texts
}

// smallOnes returns the infos of small archives, with the numbers of their paths. An invalid path ends the queries.
func (l *batchLoader) smallOnes(ctx context.Context, paths []storepath.Path) (infos []*PathInfo, numbers []int) {
	i := 0
	for info, err := range l.many.QueryPathInfos(ctx, paths) {
		if err != nil {
			break
		}
		if 0 < info.NARSize && info.NARSize <= maxBatched {
			infos, numbers = append(infos, info), append(numbers, i)
		}
		i++
	}
	return infos, numbers
}
