package substitute_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pix/store"
	"pix/store/memstore"
	"pix/substitute"
)

// A closable store records that it was closed.
type closable struct {
	store.Store
	closed bool
}

func (c *closable) Close() error { c.closed = true; return nil }

// A store is opened once, when it is first needed. One that cannot be opened is tried again later.
func TestSources(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opened := make(map[string]int)
		var stores []*closable
		var mu sync.Mutex
		broken := true
		s := &substitute.Sources{Open: func(_ context.Context, uri string) (store.Store, error) {
			mu.Lock()
			defer mu.Unlock()
			opened[uri]++
			if uri == "b" && broken {
				return nil, errBroken
			}
			stores = append(stores, &closable{Store: memstore.New(nil)})
			return stores[len(stores)-1], nil
		}}
		get := func(uris ...string) (names, events string) {
			t.Helper()
			ctx, l := record(t)
			subs, err := s.Get(ctx, uris)
			if err != nil {
				t.Fatal(err)
			}
			for _, sub := range subs {
				names += fmt.Sprintf(" %s,%d,%t,%t", sub.URI, sub.Priority, sub.WantMassQuery, sub.Trusted)
			}
			return names, l.lines()
		}
		for range 2 {
			names, events := get("a", "b", "c?priority=7&x=%20&want-mass-query=true&trusted=1", "a")
			if names != " a,0,false,false c?x=%20,7,true,true" || events != "warning: it is broken" {
				t.Errorf("%s\n%s", names, events)
			}
		}
		broken = false
		if names, events := get("b"); names != "" || events != "warning: it is broken" {
			t.Errorf("%s\n%s", names, events)
		}
		time.Sleep(time.Minute)
		if names, events := get("b"); names != " b,0,false,false" || events != "" {
			t.Errorf("%s\n%s", names, events)
		}
		if opened["a"] != 1 || opened["b"] != 2 || opened["c?x=%20"] != 1 {
			t.Errorf("%v", opened)
		}
		for _, bad := range []string{"x?priority=low", "x?trusted=perhaps", "x?want-mass-query="} {
			if names, events := get(bad); names != "" || !strings.HasPrefix(events, "warning: invalid parameter ") {
				t.Errorf("%s: %s\n%s", bad, names, events)
			}
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		for _, c := range stores {
			if !c.closed {
				t.Error("a store is still open")
			}
		}
		if _, err := s.Get(t.Context(), []string{"a"}); err != substitute.ErrClosed {
			t.Errorf("%v", err)
		}
	})
}

// A call that waits while another call opens a store ends with its own context. If the other call's
// context ends, the waiting call opens the store itself.
func TestSourcesWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tries := 0
		s := &substitute.Sources{Open: func(ctx context.Context, _ string) (store.Store, error) {
			if tries++; tries > 1 {
				return memstore.New(nil), nil
			}
			<-ctx.Done()
			return nil, context.Cause(ctx)
		}}
		get := func(ctx context.Context, result chan error) {
			subs, err := s.Get(ctx, []string{"a"})
			if err == nil && len(subs) != 1 {
				err = errors.New("there is none")
			}
			result <- err
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		first, second := make(chan error), make(chan error)
		go get(ctx, first)
		synctest.Wait()
		go get(t.Context(), second)
		impatient, end := context.WithTimeout(t.Context(), time.Second)
		defer end()
		if _, err := s.Get(impatient, []string{"a"}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
		cancel(errBroken)
		if err := <-first; !errors.Is(err, errBroken) {
			t.Errorf("%v", err)
		}
		if err := <-second; err != nil {
			t.Errorf("%v", err)
		}
	})
}
