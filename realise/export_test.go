package realise

import "pix/builder"

// NestedStore returns the store in which the builder of a request builds, without the restrictions of its scope.
func NestedStore(req *builder.Request) *Store { return req.Watcher.(*sharedBuild).nested.store() }

// Calls returns how many calls share the build of a request.
func Calls(req *builder.Request) int {
	b := req.Watcher.(*sharedBuild)
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.claims)
}

// Waiting returns how many builds of a client wait for a slot.
func (s *Slots) Waiting(client string) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, w := range s.waiting {
		if w.client == client {
			n++
		}
	}
	return n
}

// Used returns how many slots are in use.
func (s *Slots) Used() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.used
}
