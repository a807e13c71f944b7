package daemon_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"pix/daemon"
	"pix/nixhash"
	"pix/protocol"
	"pix/store"
	"pix/storepath"
)

// graph returns a closure with the given number of levels and of paths in each. Each path
// refers to two paths of the next level.
func graph(levels, width int) (root storepath.Path, references map[storepath.Path][]storepath.Path) {
	path := func(level, i int) storepath.Path {
		name := fmt.Sprintf("p-%d-%d", level, i%width)
		p, err := storepath.DefaultDir.TextPath(name, nixhash.Sum(nixhash.SHA256, []byte(name)), nil)
		if err != nil {
			panic(err)
		}
		return p
	}
	references = make(map[storepath.Path][]storepath.Path)
	root = path(0, 0)
	for i := range width {
		references[root] = append(references[root], path(1, i))
	}
	for level := 1; level < levels; level++ {
		for i := range width {
			refs := []storepath.Path{path(level, i)}
			if level+1 < levels {
				refs = append(refs, path(level+1, i), path(level+1, i+1))
			}
			references[path(level, i)] = refs
		}
	}
	for p := range references {
		slices.Sort(references[p])
		references[p] = slices.Compact(references[p])
	}
	return root, references
}

// With round trips of 20 ms, a closure of 10,000 paths takes about as many of them as it has
// levels, and the path infos of known paths even fewer. The test uses the clock of synctest.
func TestClosureOverLatency(t *testing.T) {
	const levels, width, trip = 11, 1000, 20 * time.Millisecond
	root, references := graph(levels, width)
	m := &memory{delay: trip / 2, serve: func(p *peer, _ int) {
		for {
			req, ok := p.next().(*protocol.QueryPathInfoRequest)
			if !ok {
				return
			}
			p.answer(req.Op(), &protocol.QueryPathInfoReply{Info: &store.PathInfo{NARHash: zeroHash, References: references[req.Path]}})
		}
	}}
	pooled(t, m, nil, func(ctx context.Context, p *daemon.Pool) {
		start := time.Now()
		var paths []storepath.Path
		for info, err := range p.QueryClosure(ctx, root) {
			if err != nil {
				t.Fatal(err)
			}
			paths = append(paths, info.Path)
		}
		if took := time.Since(start); took > levels*trip {
			t.Errorf("the closure took %v, %d round trips", took, took/trip)
		}
		if len(paths) != len(references) || paths[0] != root || !slices.IsSorted(paths[1:1+width]) {
			t.Errorf("%d paths instead of %d, or not in order", len(paths), len(references))
		}
		start = time.Now()
		i := 0
		for info, err := range p.QueryPathInfos(ctx, paths) {
			if err != nil || info.Path != paths[i] || !slices.Equal(info.References, references[info.Path]) {
				t.Fatalf("%d: %+v, %v", i, info, err)
			}
			i++
		}
		if took := time.Since(start); i != len(paths) || took > 5*trip {
			t.Errorf("%d path infos took %v", i, took)
		}
	})
}

// A loop that is left early, one whose context ends, and one over an invalid path leave nothing
// behind.
func TestLoopsThatEnd(t *testing.T) {
	m := &memory{serve: func(p *peer, _ int) {
		for req := p.next(); req != nil; req = p.next() {
			time.Sleep(time.Millisecond)
			if info, ok := req.(*protocol.QueryPathInfoRequest); ok && info.Path == absent {
				p.answer(req.Op(), &protocol.QueryPathInfoReply{})
				continue
			}
			p.do(req)
		}
	}}
	many := slices.Repeat([]storepath.Path{helloPath}, 100)
	pooled(t, m, nil, func(ctx context.Context, p *daemon.Pool) {
		for range p.QueryPathInfos(ctx, many) {
			break
		}
		short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
		defer cancel()
		if err := readInfos(p.QueryPathInfos(short, many), 100); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
		var last error
		n := 0
		for _, err := range p.QueryPathInfos(ctx, append(many[:10:10], absent, helloPath)) {
			if last = err; err == nil {
				n++
			}
		}
		if !errors.Is(last, store.ErrNotFound) || n != 10 {
			t.Errorf("%d path infos, and %v", n, last)
		}
		var bad *storepath.Error
		for _, err := range p.QueryPathInfos(ctx, append(many[:10:10], "/nix/store/x")) {
			last = err
		}
		if !errors.As(last, &bad) {
			t.Errorf("%v", last)
		}
		oneByOne(t, ctx, p)
		if n := m.dials.Load(); n != 1 {
			t.Errorf("%d connections were made", n)
		}
	})
}
