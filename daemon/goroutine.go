package daemon

import (
	"runtime"
	"slices"
	"strings"
	"sync"
)

// goroutines is a set of goroutines.
type goroutines struct {
	mu  sync.Mutex
	ids []string
}

func (g *goroutines) add() {
	id := goroutine()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.ids = append(g.ids, id)
}

// here reports whether the goroutine that calls it is in the set.
func (g *goroutines) here() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.ids) > 0 && slices.Contains(g.ids, goroutine())
}

func (g *goroutines) clear() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.ids = nil
}

// goroutine returns the number of the goroutine that calls it, from the beginning of its stack
// trace ("goroutine 7 [running]:"). There is no other way to detect that a call would wait for itself:
// a handler gets no context that shows it, and calls of other goroutines must wait. It takes 10 to 100
// microseconds, depending on the depth of the stack, so it is called once for each call that runs
// callbacks, and by calls that have to wait.
func goroutine() string {
	var trace [40]byte
	n := runtime.Stack(trace[:], false)
	id, _, _ := strings.Cut(strings.TrimPrefix(string(trace[:n]), "goroutine "), " ")
	return id
}
