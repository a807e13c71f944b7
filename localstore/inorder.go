package localstore

import (
	"runtime"
	"sync"

	"pix/internal/parallel"
)

// inOrder calls work for each item, on several goroutines, and use with each result, on the goroutine of
// the caller and in the order of the items. It returns the first error of use, and raises a panic of
// work again. No work runs any more when it returns.
func inOrder[T, R any](items []T, work func(T) (R, error), use func(T, R, error) error) error {
	type result struct {
		r   R
		err error
	}
	workers := runtime.GOMAXPROCS(0)
	started := make(chan chan result, workers)
	running := make(chan struct{}, workers)
	var guard parallel.Guard
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
				var res result
				defer func() { done <- res; <-running }() // also after runtime.Goexit
				guard.Call(func() error {
					res.r, res.err = work(item)
					return nil
				})
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
		guard.Repanic() // before use gets the result of work that has panicked
		if err := use(item, res.r, res.err); err != nil {
			return err
		}
	}
	return nil
}
