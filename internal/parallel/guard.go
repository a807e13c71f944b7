package parallel

import (
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"
)

// A PanicError is the value of a panic that is raised again on another goroutine. It keeps the stack of
// the goroutine that panicked first, which the second panic does not show.
type PanicError struct {
	Value any    // of the first panic
	Stack []byte // of the goroutine that panicked first
}

func (e *PanicError) Error() string { return fmt.Sprintf("panic: %v\n\n%s", e.Value, e.Stack) }

// Unwrap returns the value of the first panic, if it is an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

// ErrEnded is the error of calls after [Guard.End].
var ErrEnded = errors.New("the call that this belongs to has returned")

// errExited is the error of a call that ended its goroutine. It is never returned, because that
// goroutine does not continue.
var errExited = errors.New("runtime.Goexit was called")

// A Guard runs code of a caller on other goroutines. The caller cannot recover a panic there, so the
// panic would end the program. Also, no code of the caller may run after the library function that it
// called has returned. So this function calls End and then Repanic, on the goroutine of the caller,
// before it returns.
//
// The zero value is a Guard without Stop.
type Guard struct {
	// Stop is called once, when a call panics or ends its goroutine, so that work that depends on the
	// call ends early. Nil does nothing.
	Stop func(error)

	mu       sync.Mutex
	idle     sync.Cond // running is 0
	running  int
	ended    bool
	panicked *PanicError
	exited   bool
}

// Call calls f, and returns its error, or a [*PanicError] if f panics. After End it returns [ErrEnded]
// and does not call f. f may call Call, but not End.
func (g *Guard) Call(f func() error) (err error) {
	if !g.enter() {
		return ErrEnded
	}
	returned := false
	defer func() {
		if returned {
			g.leave(nil)
			return
		}
		// If there is nothing to recover, f has called runtime.Goexit, which runs this function and
		// ends the goroutine.
		err = errExited
		if value := recover(); value != nil {
			panicked, again := value.(*PanicError)
			if !again {
				panicked = &PanicError{value, debug.Stack()}
			}
			err = panicked
		}
		g.leave(err)
	}()
	err = f()
	returned = true
	return err
}

func (g *Guard) enter() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ended {
		return false
	}
	g.running++
	return true
}

// leave records the end of a call, and the reason if the call has not returned.
func (g *Guard) leave(why error) {
	g.mu.Lock()
	first := why != nil && g.panicked == nil && !g.exited
	if first {
		g.panicked, _ = why.(*PanicError)
		g.exited = g.panicked == nil
	}
	if g.running--; g.running == 0 && g.idle.L != nil {
		g.idle.Broadcast()
	}
	g.mu.Unlock()
	if first && g.Stop != nil {
		g.Stop(why)
	}
}

// End makes later calls fail, and waits for those that are running. It may be called several times.
func (g *Guard) End() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.ended = true
	g.idle.L = &g.mu
	for g.running > 0 {
		g.idle.Wait()
	}
}

// Repanic panics with a [*PanicError] if a call has panicked, and calls runtime.Goexit if a call has
// called it.
func (g *Guard) Repanic() {
	g.mu.Lock()
	panicked, exited := g.panicked, g.exited
	g.mu.Unlock()
	if panicked != nil {
		panic(panicked)
	}
	if exited {
		runtime.Goexit()
	}
}
