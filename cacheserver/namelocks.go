package cacheserver

import (
	"context"
	"sync"
)

// nameLocks lock the names of files that are added. Two uploaders may send different files under one name at the same time. Without
// a lock, both find that the store has no such file, and the second file replaces the first one. The zero value is ready to use.
type nameLocks struct {
	mu    sync.Mutex
	names map[string]*nameLock
}

// A nameLock is the lock of one name.
type nameLock struct {
	held  chan struct{} // has an element while the name is locked
	users int           // the holder and the calls that wait
}

// lock locks a name until unlock is called. The error is the cause of the end of ctx.
func (l *nameLocks) lock(ctx context.Context, name string) (unlock func(), err error) {
	n := l.use(name)
	select {
	case n.held <- struct{}{}:
	case <-ctx.Done():
		l.leave(name, n)
		return nil, context.Cause(ctx)
	}
	return func() {
		<-n.held
		l.leave(name, n)
	}, nil
}

// use returns the lock of a name, with one more user.
func (l *nameLocks) use(name string) *nameLock {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := l.names[name]
	if n == nil {
		if l.names == nil {
			l.names = make(map[string]*nameLock)
		}
		n = &nameLock{held: make(chan struct{}, 1)}
		l.names[name] = n
	}
	n.users++
	return n
}

// leave removes a user of a lock, and the lock after the last one.
func (l *nameLocks) leave(name string, n *nameLock) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n.users--; n.users == 0 {
		delete(l.names, name)
	}
}
