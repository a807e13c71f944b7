package derivation

import (
	"context"
	"sync"

	"pix/internal/parallel"
)

// A graph says which of some nodes are the inputs of each. Nodes are numbers from
// zero on. Nothing here recurses: a chain may be as long as memory is large.
type graph [][]int32

// forEachInOrder calls do for each node, on that many goroutines, after it has been
// called for all inputs of the node. It stops early if the context ends or do fails,
// with the error. Nodes that are on a cycle, or depend on one, are not reached.
func (g graph) forEachInOrder(ctx context.Context, workers int, do func(node int32) error) error {
	w := &walk{dependents: g.reversed(), waiting: make([]int32, len(g))}
	w.wake.L = &w.mu
	for node, inputs := range g {
		w.waiting[node] = int32(len(inputs))
		if len(inputs) == 0 {
			w.ready = append(w.ready, int32(node))
		}
	}
	stop := context.AfterFunc(ctx, func() { w.fail(ctx.Err()) })
	defer stop()
	guard := parallel.Guard{Stop: w.fail} // do may call a callback of the caller
	var running sync.WaitGroup
	for range workers {
		running.Go(func() { guard.Call(func() error { w.work(do); return nil }) })
	}
	running.Wait()
	guard.Repanic()
	return w.err
}

// reversed returns which nodes each node is an input of.
func (g graph) reversed() graph {
	counts := make([]int, len(g))
	total := 0
	for _, inputs := range g {
		for _, in := range inputs {
			counts[in]++
			total++
		}
	}
	all := make([]int32, total)
	r := make(graph, len(g))
	for node, n := range counts {
		r[node], all = all[:0:n], all[n:]
	}
	for node, inputs := range g {
		for _, in := range inputs {
			r[in] = append(r[in], int32(node))
		}
	}
	return r
}

// A walk is one run of [graph.forEachInOrder].
type walk struct {
	dependents graph

	mu      sync.Mutex
	wake    sync.Cond // something became ready, or the walk ended
	waiting []int32   // for how many inputs each node still waits
	ready   []int32
	busy    int // goroutines that are at a node
	err     error
}

func (w *walk) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil {
		w.err = err
	}
	w.wake.Broadcast()
}

func (w *walk) work(do func(node int32) error) {
	for {
		node, ok := w.next()
		if !ok {
			return
		}
		if err := do(node); err != nil {
			w.fail(err)
		}
		w.done(node)
	}
}

// next waits for a node that is ready. There is none to come when nobody is busy.
func (w *walk) next() (node int32, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.ready) == 0 && w.busy > 0 && w.err == nil {
		w.wake.Wait()
	}
	if len(w.ready) == 0 || w.err != nil {
		return 0, false
	}
	node = w.ready[len(w.ready)-1]
	w.ready = w.ready[:len(w.ready)-1]
	w.busy++
	return node, true
}

// done makes those ready that waited for node alone.
func (w *walk) done(node int32) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.busy--
	for _, dependent := range w.dependents[node] {
		if w.waiting[dependent]--; w.waiting[dependent] == 0 {
			w.ready = append(w.ready, dependent)
		}
	}
	if len(w.ready) > 1 || w.busy == 0 {
		w.wake.Broadcast()
	}
}

// order returns the nodes that can be reached from roots, each after its inputs and
// else in the order in which they are listed. If some are on a cycle, it returns the
// nodes of one instead.
func (g graph) order(roots []int32) (order, cycle []int32) {
	const (
		unseen = iota
		open   // on the way from a root to where we are
		closed
	)
	type step struct {
		node int32
		next int // the input to look at next
	}
	state := make([]uint8, len(g))
	var way []step
	enter := func(node int32) {
		state[node] = open
		way = append(way, step{node: node})
	}
	for _, root := range roots {
		if state[root] == unseen {
			enter(root)
		}
		for len(way) > 0 {
			here := &way[len(way)-1]
			if here.next == len(g[here.node]) {
				state[here.node] = closed
				order = append(order, here.node)
				way = way[:len(way)-1]
				continue
			}
			in := g[here.node][here.next]
			here.next++
			switch state[in] {
			case unseen:
				enter(in)
			case open:
				for i := len(way) - 1; ; i-- {
					cycle = append([]int32{way[i].node}, cycle...)
					if way[i].node == in {
						return nil, cycle
					}
				}
			}
		}
	}
	return order, nil
}
