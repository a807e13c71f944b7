package localstore

import (
	"runtime"
	"sync"
)

// inOrder calls work for each item, several at once, and use with each result in the order of the
// items, on the goroutine of the caller. An error of use ends it.
func inOrder[T, R any](items []T, work func(T) (R, error), use func(T, R, error) error) error {
	type result struct {
		r   R
		err error
	}
	workers := runtime.GOMAXPROCS(0)
	started := make(chan chan result, workers)
	running := make(chan struct{}, workers)
	var all sync.WaitGroup
	defer all.Wait()
	stop := make(chan struct{})
	defer close(stop)
	all.Go(func() {
		for _, item := range items {
			select {
			case running <- struct{}{}:
			case <-stop:
				return
			}
			done := make(chan result, 1)
			all.Go(func() {
				r, err := work(item)
				done <- result{r, err}
				<-running
			})
			select {
			case started <- done:
			case <-stop:
				return
			}
		}
	})
	for _, item := range items {
		res := <-<-started
		if err := use(item, res.r, res.err); err != nil {
			return err
		}
	}
	return nil
}
