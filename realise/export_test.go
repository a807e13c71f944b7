package realise

import "pix/builder"

// NestedStore returns the store in which the builder of a request builds, without the restrictions of its scope.
func NestedStore(req *builder.Request) *Store { return req.Watcher.(*sharedBuild).nested.store() }

// Used returns how many slots are in use.
func (s *Slots) Used() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.used
}
