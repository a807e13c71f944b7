package derivation

import (
	"context"
	"sync"

	"pix/internal/parallel"
)

// A graph has the inputs of each node. Nodes are numbers from zero on. Its methods do not recurse, so
// the length of a chain is limited only by memory.
type graph [][]int32

// forEachInOrder calls do for each node on several goroutines, after it was called for all inputs of
// the node. It returns early if the context ends or do fails. It does not reach nodes that are on a
// cycle or depend on one.
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
	w.mu.Lock() // the end of ctx sets the error from a goroutine of its own
	defer w.mu.Unlock()
	return w.err
}

// reversed returns the graph of dependents: for each node, the nodes that have it as an input.
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
	wake    sync.Cond // a node has become ready, or the walk has ended
	waiting []int32   // number of inputs that each node still waits for
	ready   []int32
	busy    int // number of goroutines that process a node
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

// next waits for a ready node. If no goroutine is busy, no node can become ready any more.
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

// done marks node as done and adds the nodes that waited only for it to ready.
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

// order returns the nodes that are reachable from roots, each after its inputs and otherwise in the
// order in which they are listed. If there is a cycle, it returns the nodes of the cycle instead.
func (g graph) order(roots []int32) (order, cycle []int32) {
	order = g.orderAll(roots, func(found []int32) bool {
		cycle = found
		return false
	})
	if cycle != nil {
		return nil, cycle
	}
	return order, nil
}

// orderAll is like order, but calls found with the nodes of each cycle. If found returns true, orderAll removes the inputs of
// these nodes from the graph and continues. So its time does not grow with the number of cycles.
func (g graph) orderAll(roots []int32, found func(cycle []int32) bool) (order []int32) {
	const (
		unseen = iota
		open   // on the stack
		closed
	)
	type frame struct {
		node int32
		next int // index of the next input to visit
	}
	state := make([]uint8, len(g))
	var stack []frame
	enter := func(node int32) {
		state[node] = open
		stack = append(stack, frame{node: node})
	}
	for _, root := range roots {
		if state[root] == unseen {
			enter(root)
		}
		for len(stack) > 0 {
			here := &stack[len(stack)-1]
			if here.next == len(g[here.node]) {
				state[here.node] = closed
				order = append(order, here.node)
				stack = stack[:len(stack)-1]
				continue
			}
			in := g[here.node][here.next]
			here.next++
			switch state[in] {
			case unseen:
				enter(in)
			case open: // the stack from in on is a cycle
				start := len(stack) - 1
				for stack[start].node != in {
					start--
				}
				var cycle []int32
				for _, f := range stack[start:] {
					cycle = append(cycle, f.node)
				}
				if !found(cycle) {
					return nil
				}
				for _, node := range cycle {
					g[node], state[node] = nil, unseen
				}
				stack = stack[:start]
				enter(in)
			}
		}
	}
	return order
}
